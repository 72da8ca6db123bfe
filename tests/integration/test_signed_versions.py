"""A new version without its publisher's signature never replaces the one that is served."""

import numpy as np
import pytest

from deploy.stack.chain import wait_until
from services.pb import tfserving_pb2 as pb
from tests.support.model_server import model_server, write_scale_model
from tests.support.signing import write_keys
from training.release.signing import Signer

WAIT_S = 30.0


@pytest.fixture
def published(tmp_path):
    """(folder of versions, with version 1 signed; who signs; the public key)."""
    private, public = write_keys(tmp_path / "keys")
    signer = Signer.open(private)
    signer.sign(write_scale_model(tmp_path / "scale", 1))
    return tmp_path / "scale", signer, public


def status(running, version):
    request = pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name="scale"))
    answer = running.call("GetModelStatus", request, pb.GetModelStatusResponse)
    return next((each for each in answer.model_version_status if each.version == version), None)


def wait_for(running, version, state):
    def reached():
        return (found := status(running, version)) is not None and found.state == state

    assert wait_until(reached, timeout_s=WAIT_S), status(running, version)
    return status(running, version)


def test_the_old_version_stays_until_the_new_one_is_signed(published):
    base, signer, public = published
    flags = {"model_name": "scale", "model_base_path": str(base), "verify_signatures": str(public)}
    one = np.ones((1, 2), np.float32)
    State = pb.ModelVersionStatus.State
    with model_server(**flags) as running:
        folder = write_scale_model(base, 2, factor=5.0)

        refused = wait_for(running, 2, State.END)
        assert "2 is not signed" in refused.status.error_message
        assert status(running, 1).state == State.AVAILABLE
        assert running.predict("scale", x=one)["y"].tolist() == [[2.0, 2.0]]

        signer.sign(folder)

        wait_for(running, 2, State.AVAILABLE)
        assert running.predict("scale", x=one)["y"].tolist() == [[5.0, 5.0]]
