"""The Open Inference Protocol under /v2: the chain as model `digits`, and the two models behind it, one by one."""

from __future__ import annotations

import gzip
from collections.abc import Callable

from flask import Blueprint, Response, abort, g, request

from services import __version__
from services.core.errors import InvalidInputError, ModelUnavailableError, TooLargeError
from services.gateway.api.offered_models import IMAGES, ServedModel, served_models
from services.gateway.api.oip_messages import LENGTH_HEADER, read_infer_request, write_infer_response
from services.gateway.api.readiness import Readiness
from services.gateway.limits import Limits
from services.gateway.reading.reader import ReaderLike

GZIP_FROM_BYTES = 1024
GZIP_LEVEL = 1  # float tensors hardly shrink further


def oip_blueprint(reader: ReaderLike, limits: Limits, readiness: Callable[[], Readiness]) -> Blueprint:
    """The routes of /v2 over a reader of digits."""
    models = served_models(reader)
    oip = Blueprint("oip", __name__, url_prefix="/v2")

    def find(name: str, version: str | None) -> ServedModel:
        if name not in models:
            abort(404, f"no model is called {name}; there are {', '.join(models)}")
        if version is not None and version not in (versions := models[name].versions()):
            abort(404, f"model {name} has no version {version}; there is {', '.join(versions) or 'none available'}")
        return models[name]

    @oip.get("")
    def server() -> dict:
        return {"name": "cleardigits", "version": __version__, "extensions": ["binary_tensor_data"]}

    @oip.get("/health/live")
    def live() -> dict:
        return {"live": True}

    @oip.get("/health/ready")
    def ready() -> dict:
        found = readiness()
        if not found.ready:
            wrong = [f"{role}: {state}" for role, state in found.models.items() if state != "available"]
            raise ModelUnavailableError("; ".join(wrong) or "the gateway is shutting down")
        return {"ready": True}

    @oip.get("/models/<name>")
    @oip.get("/models/<name>/versions/<version>")
    def metadata(name: str, version: str | None = None) -> dict:
        model = find(name, version)
        return {
            "name": name,
            "versions": model.versions(),
            "platform": model.platform,
            "inputs": [IMAGES],
            "outputs": list(model.outputs),
        }

    @oip.get("/models/<name>/ready")
    @oip.get("/models/<name>/versions/<version>/ready")
    def model_ready(name: str, version: str | None = None) -> dict:
        _require_available(find(name, version), name)
        return {"name": name, "ready": True}

    @oip.post("/models/<name>/infer")
    @oip.post("/models/<name>/versions/<version>/infer")
    def infer(name: str, version: str | None = None) -> Response:
        model = find(name, version)
        length = request.headers.get(LENGTH_HEADER)
        asked = read_infer_request(request.get_data(), length, max_depth=limits.max_json_depth)
        g.images = len(asked.images)
        if len(asked.images) > limits.max_images:
            raise TooLargeError(f"{len(asked.images)} images; at most {limits.max_images} in one request")
        names = [output["name"] for output in model.outputs]
        for output in asked.outputs or ():
            if output not in names:
                raise InvalidInputError(f"no output is called {output[:60]!r}; there are {', '.join(names)}")
        made = model.infer(asked.images, asked.parameters, deadline=g.deadline, metadata=g.metadata)
        if version is not None and made.version != version:  # a roll-out between the question and the answer
            abort(404, f"model {name} has no version {version} any more; {made.version} has taken its place")
        body, header_length = write_infer_response(
            asked, made.outputs, model=name, version=made.version, parameters=made.parameters
        )
        response = Response(body, mimetype="application/json")
        if header_length is not None:
            response.mimetype = "application/octet-stream"
            response.headers[LENGTH_HEADER] = str(header_length)
        return _compressed(response)

    return oip


def _require_available(model: ServedModel, name: str) -> None:
    if not model.versions():
        raise ModelUnavailableError(f"no version of {name} is available")


def _compressed(response: Response) -> Response:
    """gzip where the client asks for it and it pays."""
    body = response.get_data()
    if len(body) >= GZIP_FROM_BYTES and request.accept_encodings["gzip"] > 0:
        response.set_data(gzip.compress(body, GZIP_LEVEL))
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    return response
