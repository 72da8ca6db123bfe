"""The signatures in a saved_model.pb, read without TensorFlow and without decoding its graph."""

from pathlib import Path

from google.protobuf.message import DecodeError

from services.model_server.engines.base import LoadError
from services.pb import tfserving_pb2 as pb

SERVE = frozenset({"serve"})
FILE_NAME = "saved_model.pb"


def read_definitions(folder: Path, tags: frozenset[str] = SERVE) -> dict[str, pb.SignatureDef] | None:
    """Every signature of the graph with exactly these tags; None when the folder has no saved_model.pb."""
    path = folder / FILE_NAME
    try:
        saved_model = pb.SavedModel.FromString(path.read_bytes())
    except FileNotFoundError:
        return None
    except DecodeError as exc:
        raise LoadError(f"{path} is not a SavedModel: {exc}") from exc
    for graph in saved_model.meta_graphs:
        if set(graph.meta_info_def.tags) == tags:
            return dict(graph.signature_def)
    wanted = ", ".join(sorted(tags))
    found = "; ".join(", ".join(graph.meta_info_def.tags) for graph in saved_model.meta_graphs)
    raise LoadError(f"{path} has no graph with the tags {{ {wanted} }}: its graphs are tagged {found or 'not at all'}")
