"""What runs in a decoder process, by name: bodies of requests -> arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from services.core.compression import inflate, is_encoded
from services.gateway.api.bodies import parse_json, read_request
from services.gateway.api.oip_messages import read_infer_request
from services.gateway.api.tfserving_messages import read_predict_request
from services.gateway.decoding.frames import Frame, Part
from services.gateway.limits import Limits


def _body(parts: list[Part], arguments: Mapping[str, Any], limits: Limits) -> bytes:
    encoding = arguments["encoding"]
    if is_encoded(encoding):
        return inflate(bytes(parts[0]), encoding, max_bytes=limits.max_body_bytes)
    return bytes(parts[0])


def _recognize(parts: list[Part], arguments: Mapping[str, Any], until_s: float) -> Frame:
    limits = Limits(**arguments["limits"])
    images, options = read_request(
        _body(parts, arguments, limits),
        arguments["content_type"],
        query=arguments["query"],
        limits=limits,
        budget=limits.budget(until_s),
    )
    return Frame({"options": asdict(options) | {"include": sorted(options.include)}}, [images])


def _infer(parts: list[Part], arguments: Mapping[str, Any], until_s: float) -> Frame:
    limits = Limits(**arguments["limits"])
    asked = read_infer_request(
        _body(parts, arguments, limits), arguments["header_length"], max_depth=limits.max_json_depth
    )
    fields = {
        "id": asked.id,
        "parameters": asked.parameters,
        "outputs": asked.outputs,
        "binary": asked.binary,
        "binary_by_default": asked.binary_by_default,
    }
    return Frame(fields, [asked.images])


def _predict(parts: list[Part], arguments: Mapping[str, Any], until_s: float) -> Frame:
    limits = Limits(**arguments["limits"])
    value = parse_json(_body(parts, arguments, limits), max_depth=limits.max_json_depth)
    images, by_row = read_predict_request(value, max_images=limits.max_images)
    return Frame({"by_row": by_row}, [images])


TASKS = {"recognize": _recognize, "infer": _infer, "predict": _predict}
