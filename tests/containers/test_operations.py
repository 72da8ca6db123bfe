"""What operators build besides the stack: the models image of Kubernetes, bills of materials of real images."""

import json

import pytest

from deploy import sbom
from tests.support import kubernetes
from tests.support.containers import USER, base_image, docker
from tests.support.stack import MODELS, ROOT

IMAGE = "cleardigits/models:test"


@pytest.fixture(scope="module")
def models_image(containers):
    """Built as its Dockerfile says, on the base image that is here; `containers` sees to a running engine."""
    dockerfile = str(ROOT / "deploy/kubernetes/models-image/Dockerfile")
    docker("build", f"--build-arg=BASE_IMAGE={base_image()}", "--file", dockerfile, "--tag", IMAGE, str(MODELS))
    yield IMAGE
    docker("rmi", "--force", IMAGE)


@pytest.mark.parametrize("model", ["denoiser", "classifier"])
def test_the_init_container_copies_its_model_as_an_ordinary_user(models_image, model, tmp_path):
    (init,) = kubernetes.pod("production", model).spec["initContainers"]
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    target = tmp_path / "srv"
    target.mkdir()
    target.chmod(0o777)
    walls = [
        "--network=none",
        "--read-only",
        "--cap-drop=ALL",
        f"--volume={target}:{init['volumeMounts'][0]['mountPath']}",
    ]
    program, *arguments = init["command"]

    docker("run", "--rm", *walls, f"--entrypoint={program}", models_image, *arguments)

    def files(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert files(target / model) == files(MODELS / model)
    assert (target / model).stat().st_uid == USER


def test_a_bill_of_materials_names_what_debian_brought(containers, tmp_path):
    assert sbom.main(["gateway", f"--out={tmp_path}"]) == 0

    bill = json.loads((tmp_path / "gateway.cdx.json").read_text())
    kinds = {component["purl"].split("/")[0] for component in bill["components"]}
    assert kinds == {"pkg:pypi", "pkg:deb"}
    assert "libc6" in {component["name"] for component in bill["components"]}
