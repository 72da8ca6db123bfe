"""What the images are: packages as they were published, labels, an ordinary user."""

import json
import subprocess

import pytest

from tests.support.containers import USER, docker

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
IMAGES = ["gateway", "model_server"]


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
    assert config["Entrypoint"][:2] == ["python", "-m"]
