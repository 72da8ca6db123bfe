"""TensorFlow Serving's REST form of the chain: /v1/models/digits:predict, its status and its metadata."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import orjson
from flask import Blueprint, Response, abort, g, request

from services.core import pixels
from services.core.errors import InvalidInputError, TooLargeError
from services.gateway.api.bodies import parse_json
from services.gateway.api.offered_models import CHAIN, CHAIN_VERSION, DIGIT, IMAGES, PROBABILITIES, ChainModel
from services.gateway.limits import Limits
from services.gateway.reading.reader import ReaderLike

SIGNATURE = "serving_default"
METHOD = "tensorflow/serving/predict"

_DTYPES = {"FP32": "DT_FLOAT", "INT64": "DT_INT64"}
_KEYS = {"signature_name", "instances", "inputs"}
_OUTPUTS = (PROBABILITIES["name"], DIGIT["name"])


def tfserving_rest_blueprint(reader: ReaderLike, limits: Limits) -> Blueprint:
    """The routes of /v1/models over a reader of digits."""
    chain = ChainModel(reader)
    tfserving = Blueprint("tfserving_rest", __name__, url_prefix="/v1/models")

    @tfserving.get("/digits")
    @tfserving.get("/digits/versions/<version>")
    def status(version: str | None = None) -> Response:
        _check_version(version)
        state = "AVAILABLE" if chain.versions() else "LOADING"
        return _json(
            {
                "model_version_status": [
                    {"version": CHAIN_VERSION, "state": state, "status": {"error_code": "OK", "error_message": ""}}
                ]
            }
        )

    @tfserving.get("/digits/metadata")
    @tfserving.get("/digits/versions/<version>/metadata")
    def metadata(version: str | None = None) -> Response:
        _check_version(version)
        return _json(_METADATA)

    @tfserving.post("/digits:predict")
    @tfserving.post("/digits/versions/<version>:predict")
    def predict(version: str | None = None) -> Response:
        _check_version(version)
        body = parse_json(request.get_data(), max_depth=limits.max_json_depth)
        images, by_row = read_predict_request(body, max_images=limits.max_images)
        g.images = len(images)
        outputs = chain.infer(images, {}, deadline=g.deadline, metadata=g.metadata).outputs
        columns = {name: outputs[name] for name in _OUTPUTS}
        if not by_row:
            return _json({"outputs": columns})
        rows = zip(columns["probabilities"], columns["digit"].tolist(), strict=True)
        return _json({"predictions": [dict(zip(_OUTPUTS, row, strict=True)) for row in rows]})

    return tfserving


def read_predict_request(body: object, *, max_images: int) -> tuple[np.ndarray, bool]:
    """The images (n, 28, 28, 1) of a predict request, and whether it came by row ("instances") or column ("inputs")."""
    if not isinstance(body, dict):
        raise InvalidInputError("a predict request is a JSON object")
    if unknown := body.keys() - _KEYS:
        raise InvalidInputError(f"no key is called {min(unknown)!r:.60}; there are {', '.join(sorted(_KEYS))}")
    if body.get("signature_name", SIGNATURE) not in (SIGNATURE, ""):
        raise InvalidInputError(f'Serving signature name: "{body["signature_name"]!s:.60}" not found in signature def')
    if ("instances" in body) == ("inputs" in body):
        raise InvalidInputError('a predict request has either "instances" or "inputs"')
    by_row = "instances" in body
    values = body["instances"] if by_row else _named(body["inputs"])
    if not isinstance(values, list) or not values:
        raise InvalidInputError(f'"{"instances" if by_row else "inputs"}" is a list of at least one picture')
    if len(values) > max_images:
        raise TooLargeError(f"{len(values)} images; at most {max_images} in one request")
    pictures = pixels.from_lists([_named(value) for value in values] if by_row else values, scale=1)
    return pictures[..., np.newaxis], by_row


def _named(value: object) -> object:
    """The value itself, or the one under the input's name."""
    if not isinstance(value, dict):
        return value
    if value.keys() != {IMAGES["name"]}:
        raise InvalidInputError(f'an object holds the one input, "{IMAGES["name"]}", and nothing else')
    return value[IMAGES["name"]]


def _check_version(version: str | None) -> None:
    if version not in (None, CHAIN_VERSION):
        abort(404, f"Could not find version {version} of model {CHAIN}")


def _tensor_info(tensor: Mapping[str, object]) -> dict:
    sizes = [{"size": str(size), "name": ""} for size in tensor["shape"]]
    return {
        "dtype": _DTYPES[tensor["datatype"]],
        "tensor_shape": {"dim": sizes, "unknown_rank": False},
        "name": tensor["name"],
    }


def _json(value: object) -> Response:
    return Response(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), mimetype="application/json")


_METADATA = {
    "model_spec": {"name": CHAIN, "signature_name": "", "version": CHAIN_VERSION},
    "metadata": {
        "signature_def": {
            "signature_def": {
                SIGNATURE: {
                    "inputs": {IMAGES["name"]: _tensor_info(IMAGES)},
                    "outputs": {tensor["name"]: _tensor_info(tensor) for tensor in (PROBABILITIES, DIGIT)},
                    "method_name": METHOD,
                }
            }
        }
    },
}
