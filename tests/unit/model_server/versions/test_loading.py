"""A version folder becomes a servable, or one LoadError that says what is wrong with it."""

import json
from dataclasses import replace

import pytest

from services.core.model_digest import file_digests
from services.model_server.engines.base import LoadError
from services.model_server.metrics import ServerMetrics
from services.model_server.versions.loading import ServableLoader
from services.model_server.versions.storage import find_versions
from services.pb import tfserving_pb2 as pb
from tests.support.model_server import write_scale_model


@pytest.fixture
def load():
    return ServableLoader(metrics=ServerMetrics())


def saved_model(folder, **definitions):
    graph = pb.MetaGraphDef(meta_info_def=pb.MetaGraphDef.MetaInfoDef(tags=["serve"]), signature_def=definitions)
    (folder / "saved_model.pb").write_bytes(pb.SavedModel(meta_graphs=[graph]).SerializeToString())


def definition(inputs, outputs):
    float_ = pb.TensorInfo(dtype=pb.DT_FLOAT)
    return pb.SignatureDef(inputs=dict.fromkeys(inputs, float_), outputs=dict.fromkeys(outputs, float_))


def test_an_onnx_file_alone_gives_its_own_signature(load, tmp_path):
    servable = load("scale", 1, write_scale_model(tmp_path / "scale", 1))

    signature = servable.signatures["serving_default"]
    assert signature.inputs["x"].shape == (-1, 2)
    assert list(signature.outputs) == ["sum", "y"]


def test_the_saved_models_signatures_win_and_those_the_graph_cannot_compute_are_known(load, tmp_path):
    folder = write_scale_model(tmp_path / "scale", 1)
    saved_model(folder, serving_default=definition(["x"], ["y"]), other=definition(["z"], ["y"]))

    servable = load("scale", 1, folder)

    assert set(servable.signatures) == {"serving_default", "other"}
    assert servable.engine.signature_keys == {"serving_default"}


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "model.onnx").unlink(), r"has neither model\.onnx nor saved_model\.pb"),
        (lambda folder: (folder / "model.onnx").write_bytes(b""), r"model\.onnx"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"not a model"), r"model\.onnx"),
        (lambda folder: (folder / "saved_model.pb").write_bytes(b"\xff"), r"saved_model\.pb is not a SavedModel"),
        (
            lambda folder: (folder / "saved_model.pb").write_bytes(b""),
            r"has no graph with the tags \{ serve \}: its graphs are tagged not at all",
        ),
        (lambda folder: saved_model(folder, serving_default=definition(["z"], ["y"])), r"takes \['x'\]"),
        (lambda folder: (folder / "saved_model.pb").mkdir(), "IsADirectoryError"),
    ],
)
def test_a_folder_that_cannot_be_served_says_why(load, tmp_path, spoil, complaint):
    folder = write_scale_model(tmp_path / "scale", 1)
    spoil(folder)

    with pytest.raises(LoadError, match=complaint):
        load("scale", 1, folder)

    assert load.metrics.value("/tensorflow/cc/saved_model/load_attempt_count") == 1


def test_a_number_too_large_for_the_wire_is_not_a_version(tmp_path):
    for name in ("1", str(2**63 - 1), str(2**63)):
        (tmp_path / name).mkdir()

    assert list(find_versions(tmp_path)) == [1, 2**63 - 1]


def _with_card(folder, **changes):
    card = {"name": "scale", "files_sha256": {**file_digests(folder), **changes}}
    (folder / "model_card.json").write_text(json.dumps(card))


def test_files_are_those_of_the_model_card(load, tmp_path):
    folder = write_scale_model(tmp_path / "scale", 1)
    _with_card(folder)

    assert load("scale", 1, folder).version == 1


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: _flip_a_bit(folder / "model.onnx"), r"model\.onnx differs"),
        (lambda folder: (folder / "more.bin").touch(), r"more\.bin is not listed"),
        (lambda folder: _with_card(folder, gone="00"), "gone is missing"),
        (lambda folder: (folder / "model_card.json").write_text("{"), r"model_card\.json cannot be read"),
    ],
)
def test_a_version_whose_files_differ_from_its_card_fails_before_it_is_served(load, tmp_path, spoil, complaint):
    """Issue 15.12: 50 flipped weight bits loaded and answered wrongly."""
    folder = write_scale_model(tmp_path / "scale", 1)
    _with_card(folder)
    spoil(folder)

    with pytest.raises(LoadError, match=complaint):
        load("scale", 1, folder)


def test_digests_are_not_checked_when_told_so_nor_where_there_are_none(load, tmp_path):
    folder = write_scale_model(tmp_path / "scale", 1)
    (folder / "model_card.json").write_text('{"name": "scale"}')
    assert load("scale", 1, folder).version == 1
    _with_card(folder, gone="00")

    assert replace(load, verify_digests=False)("scale", 1, folder).version == 1


def _flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
