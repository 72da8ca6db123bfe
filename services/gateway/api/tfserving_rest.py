"""TensorFlow Serving's REST form of the chain: /v1/models/digits:predict, its status and its metadata."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from flask import Blueprint, Response, abort, g, request

from services.gateway.api.bodies import parse_json
from services.gateway.api.offered_models import CHAIN, CHAIN_VERSION, DIGIT, IMAGES, PROBABILITIES, ChainModel
from services.gateway.api.tfserving_messages import SIGNATURE, read_predict_request
from services.gateway.limits import Limits
from services.gateway.reading.reader import ReaderLike

METHOD = "tensorflow/serving/predict"

_DTYPES = {"FP32": "DT_FLOAT", "INT64": "DT_INT64"}
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
