"""The REST bodies of classify and regress: JSON objects <-> tf.Examples and their results. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

from services.core.errors import InvalidInputError
from services.model_server.interfaces.json_tensors import decode_base64
from services.model_server.interfaces.json_text import decimal, results_body, shown, type_name
from services.pb import tfserving_pb2 as pb

_MAX_INT64 = 2**63 - 1


def read_examples(document: Mapping[str, Any]) -> pb.Input:
    """`{"examples": [{...}], "context": {...}}` as the message gRPC clients send."""
    context = _example(document["context"]) if "context" in document else None
    what = f"JSON Value: {shown(document)}"
    if "examples" not in document:
        raise InvalidInputError(f"{what} When method is classify, key 'examples' is expected and was not found")
    entries = document["examples"]
    if not isinstance(entries, list):
        raise InvalidInputError(f"{what} Expecting 'examples' value to be an list/array")
    if not entries:
        raise InvalidInputError(f"{what} 'examples' value is an empty array")
    examples = [_example(entry) for entry in entries]
    if context is None:
        return pb.Input(example_list=pb.Input.ExampleList(examples=examples))
    return pb.Input(example_list_with_context=pb.Input.ExampleListWithContext(examples=examples, context=context))


def classification_results(result: pb.ClassificationResult) -> bytes:
    """For each example its [label, score] pairs."""
    rows = ([f"[{_text(one.label)}, {decimal(one.score)}]" for one in row.classes] for row in result.classifications)
    return results_body([f"[{', '.join(pairs)}]" for pairs in rows])


def regression_results(result: pb.RegressionResult) -> bytes:
    """For each example its value."""
    return results_body([decimal(entry.value) for entry in result.regressions])


def _text(label: str) -> str:
    return orjson.dumps(label).decode()


def _example(entry: Any) -> bytes:
    if not isinstance(entry, dict):
        raise InvalidInputError(f"Example must be JSON object but got JSON {type_name(entry)}")
    example = pb.Example(features=pb.Example.Features())
    for name, content in entry.items():
        values = content if isinstance(content, list) else [content]
        example.features.feature[name].CopyFrom(_feature(name, values))
    return example.SerializeToString()


def _feature(name: str, values: list[Any]) -> pb.Example.Feature:
    feature = pb.Example.Feature()
    for value in values:
        kind, plain = _typed(name, value)
        found = feature.WhichOneof("kind")
        if found not in (None, kind):
            raise InvalidInputError(
                f"Unexpected element type in feature: {name} expecting type: {str(found).removesuffix('_list')}"
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
            return "bytes_list", value.encode(errors="surrogatepass")
        case {"b64": str(text)} if len(value) == 1:
            return "bytes_list", decode_base64(text)
    raise InvalidInputError(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
