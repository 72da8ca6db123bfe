"""What is locked is what is audited and what the bills of materials say."""

import json
import re
import shutil
from importlib import metadata

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy import model_bill, sbom
from services.core.model_digest import file_digests, pair

LOCKED = re.compile(r"^([a-z0-9][\w.-]*)(?:\[[\w,-]+\])?==(\S+)", re.MULTILINE)
REQUIREMENTS = sbom.ROOT / "requirements"
ROLES = sorted(path.stem for path in REQUIREMENTS.glob("*.in"))
DEBIAN = "zlib1g\t1:1.2.13.dfsg-1\tamd64\nlibstdc++6\t12.2.0-14+deb12u1\tamd64\n"


def locked(role: str) -> set[tuple[str, str]]:
    return set(LOCKED.findall((REQUIREMENTS / f"{role}.txt").read_text()))


@pytest.fixture(scope="module")
def bill():
    packages = sbom.python_packages(REQUIREMENTS / "gateway.txt")
    debian = sbom.debian_components(DEBIAN)
    return sbom.image_bill(packages, image="cleardigits/gateway", version="1.2.3", debian=debian)


def test_a_bill_is_valid_cyclonedx(bill):
    errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))

    assert errors is None


def test_a_bill_names_every_locked_package_of_its_image_and_debians(bill):
    named = {(part["name"], part["version"]) for part in bill["components"]}

    assert named == locked("gateway") | {("zlib1g", "1:1.2.13.dfsg-1"), ("libstdc++6", "12.2.0-14+deb12u1")}
    assert bill["metadata"]["component"]["name"] == "cleardigits/gateway"
    assert bill["metadata"]["lifecycles"] == [{"phase": "post-build"}]


def test_a_bill_made_without_the_image_says_so(bill):
    early = sbom.image_bill(bill, image="cleardigits/gateway", version="1.2.3", debian=None)

    assert early["metadata"]["lifecycles"] == [{"phase": "pre-build"}]


def test_debian_packages_have_package_urls():
    libz, libstdcxx = sbom.debian_components(DEBIAN)

    assert libz["purl"] == "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1?arch=amd64"
    assert libstdcxx["purl"] == "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64"


def test_every_image_with_a_dockerfile_has_a_bill():
    dockerfiles = [*sbom.ROOT.glob("services/*/Dockerfile"), *sbom.ROOT.glob("training/Dockerfile")]

    assert sorted(path.parent.name for path in dockerfiles) == sorted(sbom.IMAGES)


@pytest.fixture(scope="module")
def models_bill():
    return model_bill.pair_bill(sbom.ROOT / "models", version="1.2.3")


def test_the_models_bill_is_valid_cyclonedx(models_bill):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(models_bill)) is None


def test_the_models_bill_names_every_file_of_the_shipped_pair(models_bill):
    shipped = pair(sbom.ROOT / "models")
    for model, number in (("denoiser", shipped.denoiser), ("classifier", shipped.classifier)):
        (component,) = [each for each in models_bill["components"] if each["name"] == model]
        listed = {file["name"]: file["hashes"][0]["content"] for file in component["components"]}
        card = listed.pop("model_card.json")

        assert (component["type"], component["version"]) == ("machine-learning-model", str(number))
        assert listed == file_digests(sbom.ROOT / "models" / model / str(number))
        assert re.fullmatch("[0-9a-f]{64}", card)
    assert {"name": "cleardigits:pair", "value": str(shipped)} in models_bill["metadata"]["properties"]


def test_a_signature_is_listed_beside_the_card(tmp_path):
    shipped = pair(sbom.ROOT / "models")
    for model, number in (("denoiser", shipped.denoiser), ("classifier", shipped.classifier)):
        shutil.copytree(sbom.ROOT / "models" / model / str(number), tmp_path / model / str(number))
        (tmp_path / model / str(number) / "model.sig").write_text("{}")

    bill = model_bill.pair_bill(tmp_path, version="1.2.3")

    assert all(
        {"model.sig", "model_card.json"} <= {file["name"] for file in each["components"]} for each in bill["components"]
    )
    assert {"name": "cleardigits:pair", "value": str(shipped)} in bill["metadata"]["properties"]  # it changes no digest


def test_the_models_bill_says_what_the_cards_say(models_bill):
    denoiser, classifier = models_bill["components"]
    folder = sbom.ROOT / "models/classifier" / classifier["version"]
    card = json.loads((folder / "model_card.json").read_text())
    metrics = {
        (metric["type"], metric.get("slice")): float(metric["value"])
        for metric in classifier["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    }
    datasets = {each["name"] for each in classifier["modelCard"]["modelParameters"]["datasets"]}

    assert metrics["clean", None] == card["results"]["clean"]
    assert metrics["chain", "gaussian 0.5"] == card["results"]["chain"]["gaussian"]["0.5"]
    assert len(datasets) == len(card["training"]["data_sha256"]) > 0
    assert denoiser["modelCard"]["modelParameters"]["task"] == "image denoising"


@pytest.mark.parametrize("role", ROLES)
def test_every_locked_package_carries_hashes_and_no_index(role):
    text = (REQUIREMENTS / f"{role}.txt").read_text()
    entries = [entry for entry in re.split(r"\n(?=\S)", text) if LOCKED.match(entry)]

    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_extras_are_locked_with_the_package_they_belong_to():
    """pip, held to hashes, looks for `name[extra]` beside `name`, and takes a newer version, which has no hash here."""
    lines = [
        Requirement(line) for line in re.findall(r"^[a-z0-9]\S*==\S+", (REQUIREMENTS / "dev.txt").read_text(), re.M)
    ]
    extras = {line.name: line.extras for line in lines}
    asked = {
        (name, needed.name, extra)
        for name in extras.keys() & {canonicalize_name(each.name) for each in metadata.distributions()}
        for needed in map(Requirement, metadata.requires(name) or [])
        if needed.marker is None or needed.marker.evaluate({"extra": ""})
        for extra in needed.extras
    }

    assert {("sigstore-rekor-types", "pydantic", "email")} <= asked
    assert {each for each in asked if each[2] not in extras[canonicalize_name(each[1])]} == set()
    assert {line.name for line in lines if line.extras} <= {line.name for line in lines if not line.extras}


@pytest.mark.parametrize("role", ROLES)
def test_auditing_the_developers_lock_audits_every_image(role):
    """`make audit` reads dev.txt alone: the others must hold nothing else."""
    assert locked(role) <= locked("dev")
