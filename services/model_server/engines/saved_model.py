"""The signatures in a saved_model.pb, read without TensorFlow and without decoding its graph."""

from pathlib import Path

from google.protobuf.message import DecodeError

from services.model_server.engines.base import LoadError
from services.pb import tfserving_pb2 as pb

SERVE_TAG = "serve"
FILE_NAME = "saved_model.pb"


def read_definitions(folder: Path) -> dict[str, pb.SignatureDef] | None:
    """Every signature of the graph tagged `serve`; None when the folder has no saved_model.pb."""
    path = folder / FILE_NAME
    try:
        saved_model = pb.SavedModel.FromString(path.read_bytes())
    except FileNotFoundError:
        return None
    except DecodeError as exc:
        raise LoadError(f"{path} is not a SavedModel: {exc}") from exc
    for graph in saved_model.meta_graphs:
        if SERVE_TAG in graph.meta_info_def.tags:
            return dict(graph.signature_def)
    raise LoadError(f"{path} has no graph tagged {SERVE_TAG!r}")
