"""The REST bodies of classify and regress: JSON objects <-> tf.Examples and their results. Pure."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from services.core.errors import InvalidInputError
from services.pb import tfserving_pb2 as pb

_MAX_INT64 = 2**63 - 1


def read_examples(document: Mapping[str, Any]) -> pb.Input:
    """`{"examples": [{...}], "context": {...}}` as the message gRPC clients send."""
    if "examples" not in document:
        raise InvalidInputError("When method is classify, key 'examples' is expected and was not found")
    entries = document["examples"]
    if not isinstance(entries, list):
        raise InvalidInputError("Expecting 'examples' value to be an list/array")
    if not entries:
        raise InvalidInputError("'examples' value is an empty array")
    examples = [_example(entry) for entry in entries]
    if "context" not in document:
        return pb.Input(example_list=pb.Input.ExampleList(examples=examples))
    return pb.Input(
        example_list_with_context=pb.Input.ExampleListWithContext(
            examples=examples, context=_example(document["context"])
        )
    )


def classification_results(result: pb.ClassificationResult) -> list[list[tuple[str, float]]]:
    """For each example its (label, score) pairs."""
    return [[(one.label, one.score) for one in entry.classes] for entry in result.classifications]


def regression_results(result: pb.RegressionResult) -> list[float]:
    """For each example its value."""
    return [entry.value for entry in result.regressions]


def _example(entry: Any) -> bytes:
    if not isinstance(entry, dict):
        raise InvalidInputError(f"Example must be JSON object but got JSON {type(entry).__name__}")
    example = pb.Example(features=pb.Example.Features())
    for name, content in entry.items():
        values = content if isinstance(content, list) else [content]
        example.features.feature[name].CopyFrom(_feature(name, values))
    return example.SerializeToString()


def _feature(name: str, values: list[Any]) -> pb.Example.Feature:
    feature = pb.Example.Feature()
    for value in values:
        kind, plain = _typed(name, value)
        if feature.WhichOneof("kind") not in (None, kind):
            raise InvalidInputError(
                f"Unexpected element type in feature: {name} expecting type: "
                f"{feature.WhichOneof('kind').removesuffix('_list')}"
            )
        getattr(feature, kind).value.append(plain)
    return feature


def _typed(name: str, value: Any) -> tuple[str, Any]:
    match value:
        case bool() | int():
            if abs(value) > _MAX_INT64:
                raise InvalidInputError(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
            return "int64_list", int(value)
        case float():
            return "float_list", value
        case str():
            return "bytes_list", value.encode()
        case {"b64": str(text)} if len(value) == 1:
            try:
                return "bytes_list", base64.b64decode(text, validate=True)
            except binascii.Error as exc:
                raise InvalidInputError("Unable to base64 decode") from exc
    raise InvalidInputError(f"Feature: {name} has element with unexpected JSON type: {type(value).__name__}")
