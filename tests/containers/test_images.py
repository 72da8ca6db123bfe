"""What the images are: packages as they were published, labels, an ordinary user."""

import json
import subprocess

import pytest

from deploy.stack.chain import answers, wait_until
from tests.support.containers import USER, docker
from tests.support.stack import free_port

CHANGED_FILES = """
import base64, hashlib
from importlib.metadata import distributions

for distribution in distributions():
    for file in distribution.files or []:
        path = file.locate()
        if not path.is_file():
            print(distribution.name, file, "is missing")
        elif file.hash:
            digest = hashlib.new(file.hash.mode, path.read_bytes()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
                print(distribution.name, file, "was changed")
print(sum(1 for _ in distributions()), "packages")
"""
ENTRYPOINTS = {"gateway": ["python", "-m", "services.gateway"], "model_server": ["tf_serving_entrypoint.sh"]}
IMAGES = list(ENTRYPOINTS)


@pytest.mark.parametrize("image", IMAGES)
def test_packages_are_installed_as_they_were_published(containers, image):
    """A gateway without numpy/ma answered 500 to every picture that is not 28x28: no file of a package is left out."""
    looked = subprocess.run(
        ["docker", "run", "--rm", "-i", "--network=none", "--entrypoint=python", f"cleardigits/{image}:local", "-"],
        input=CHANGED_FILES, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    *complaints, count = looked.stdout.splitlines()

    assert complaints == []
    assert int(count.split()[0]) > 5


@pytest.mark.parametrize("image", IMAGES)
def test_image_says_what_it_is(containers, image):
    config = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", f"cleardigits/{image}:local"))

    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["Labels"]["org.opencontainers.image.title"].startswith("ClearDigits")
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ENTRYPOINTS[image]


def test_model_server_image_starts_as_tensorflow_servings_does(containers):
    """`docker run -e MODEL_NAME=... -v models:/models -p 8501:8501`, as TensorFlow Serving's documents have it."""
    port = free_port()
    container = docker(
        "run", "--detach", "--env=MODEL_NAME=denoiser", f"--volume={containers.models}:/models:ro",
        f"--publish=127.0.0.1:{port}:8501", "cleardigits/model_server:local",
    )  # fmt: skip
    try:
        assert wait_until(lambda: answers(f"http://127.0.0.1:{port}/v1/models/denoiser/metadata"), timeout_s=30)
    finally:
        docker("rm", "--force", container)
