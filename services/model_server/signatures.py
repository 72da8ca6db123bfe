"""Does this request fit this signature? Pure: messages in, arrays or TensorFlow Serving's own complaint out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from services.core.errors import InvalidInputError
from services.core.tensors import MAX_TENSOR_BYTES, dtype_name, dtype_number, from_proto
from services.model_server.statuses import Code, StatusError
from services.pb import tfserving_pb2 as pb

DEFAULT_KEY = "serving_default"
PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
EXAMPLES = "inputs"  # the input that takes tf.Examples
_METHODS = (PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a signature says of one tensor; `shape` is None for unknown rank, -1 for an unknown size."""

    feed: str  # the tensor's name inside the graph
    dtype: pb.DataType
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """One entry of a model's signature map, ready to check requests against."""

    key: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method_name: str
    defaults: Mapping[str, np.ndarray]


def from_definition(key: str, definition: pb.SignatureDef) -> Signature:
    """A SignatureDef message, made ready."""
    return Signature(
        key=key,
        inputs={alias: _spec(info) for alias, info in sorted(definition.inputs.items())},
        outputs={alias: _spec(info) for alias, info in sorted(definition.outputs.items())},
        method_name=definition.method_name,
        defaults={alias: from_proto(tensor) for alias, tensor in definition.defaults.items()},
    )


def pick(signatures: Mapping[str, Signature], key: str) -> Signature:
    """The signature a request names, `serving_default` when it names none."""
    try:
        return signatures[key or DEFAULT_KEY]
    except KeyError:
        raise StatusError(
            Code.FAILED_PRECONDITION, f'Serving signature key "{key or DEFAULT_KEY}" not found.'
        ) from None


def check_method(signature: Signature) -> None:
    """What --enable_signature_method_name_check asks of a signature before Predict."""
    if signature.method_name not in _METHODS:
        raise StatusError(
            Code.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{', '.join(_METHODS)}}}. "
            f"Was: {signature.method_name}",
        )


def read_inputs(signature: Signature, inputs: Mapping[str, pb.TensorProto]) -> dict[str, np.ndarray]:
    """The request's tensors as arrays of the signature's types. Whether a shape fits is the engine's to say."""
    _check_count(signature, inputs)
    arrays: dict[str, np.ndarray] = {}
    for alias, spec in signature.inputs.items():
        if alias in inputs:  # a protobuf map adds what it is asked for: look before reading
            try:
                arrays[alias] = from_proto(inputs[alias], as_tensorflow=True)
            except InvalidInputError as exc:
                raise InvalidInputError(f"tensor parsing error: {alias}") from exc
        elif alias in signature.defaults:
            arrays[alias] = signature.defaults[alias]
        else:
            raise InvalidInputError(
                f"Signature input alias: {alias}(feed name: {spec.feed}) not found in request "
                f"and no default value provided. Inputs expected to be in the request {{{','.join(sorted(inputs))}}}, "
                f"or default input alias set: {{{','.join(sorted(signature.defaults))}}}"
            )
    check_types(signature, arrays)
    return arrays


def check_types(signature: Signature, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise unless every array has its signature's type."""
    for position, (alias, spec) in enumerate(signature.inputs.items()):
        number = dtype_number(arrays[alias].dtype)
        if number != spec.dtype:
            expected, provided = (dtype_name(n).removeprefix("DT_").lower() for n in (spec.dtype, number))
            raise InvalidInputError(f"Expects arg[{position}] to be {expected} but {provided} is provided")


def serialized_examples(sent: pb.Input) -> np.ndarray:
    """The examples as bytes, each with the shared context put before it: protobuf merges what is joined so."""
    match sent.WhichOneof("kind"):
        case "example_list":
            examples = list(sent.example_list.examples)
        case "example_list_with_context":
            shared = sent.example_list_with_context
            size = len(shared.context) * len(shared.examples) + sum(map(len, shared.examples))
            if size > MAX_TENSOR_BYTES:
                raise InvalidInputError(f"examples with their context are {size} bytes: at most {MAX_TENSOR_BYTES}")
            examples = [shared.context + example for example in shared.examples]
        case _:
            examples = []
    if not examples:
        raise InvalidInputError("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = examples
    return array


def read_filter(signature: Signature, wanted: Iterable[str]) -> list[str]:
    """The outputs to return: those asked for, in that order, or all."""
    names: list[str] = []
    for alias in wanted:
        if alias not in signature.outputs:
            raise InvalidInputError(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {{{','.join(signature.outputs)}}}."
            )
        if alias in names:
            raise InvalidInputError(f"duplicate output tensor alias: {alias}")
        names.append(alias)
    return names or list(signature.outputs)


def breaking_change(old: Mapping[str, Signature], new: Mapping[str, Signature]) -> str | None:
    """What a client of the old signatures would miss in the new ones; None when it can go on as before.

    Inputs may take more shapes, outputs may be added, sizes may become unknown: none of that stops a client.
    """
    for key, before in old.items():
        if not before.outputs or any(":" not in spec.feed for spec in before.outputs.values()):
            continue  # nothing that can be called
        after = new.get(key)
        if after is None:
            return f"signature {key} is gone"
        if missing := sorted(set(before.outputs) - set(after.outputs)):
            return f"{key} has no output {missing[0]}"
        if set(before.inputs) != set(after.inputs):
            return f"{key} takes {sorted(after.inputs)} in place of {sorted(before.inputs)}"
        pairs = [(f"input {name}", spec, after.inputs[name]) for name, spec in before.inputs.items()]
        pairs += [(f"output {name}", spec, after.outputs[name]) for name, spec in before.outputs.items()]
        for name, was, now in pairs:
            if was.dtype != now.dtype:
                return f"{key}'s {name} is {dtype_name(now.dtype)}, not {dtype_name(was.dtype)}"
            if not _as_wide(was.shape, now.shape):
                return f"{key}'s {name} has shape {_show(now.shape)}, not {_show(was.shape)}"
    return None


def _as_wide(was: tuple[int, ...] | None, now: tuple[int, ...] | None) -> bool:
    """An unknown size says nothing of the other: an exporter may have known more, or less."""
    if was is None or now is None:
        return True
    return len(was) == len(now) and all(a == b or -1 in (a, b) for a, b in zip(was, now, strict=True))


def _show(shape: tuple[int, ...] | None) -> str:
    return "unknown" if shape is None else f"[{','.join('?' if size < 0 else str(size) for size in shape)}]"


def _check_count(signature: Signature, inputs: Mapping[str, object]) -> None:
    sent, expected = len(inputs), len(signature.inputs)
    if sent > expected or (sent < expected and not signature.defaults):
        extra = sorted(set(inputs) - set(signature.inputs))
        missing = sorted(set(signature.inputs) - set(inputs))
        raise InvalidInputError(
            f"input size does not match signature: {sent}!={expected} "
            f"len({{{','.join(sorted(inputs))}}}) != len({{{','.join(signature.inputs)}}}). "
            f"Sent extra: {{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}."
        )


def _spec(info: pb.TensorInfo) -> TensorSpec:
    shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(feed=info.name, dtype=info.dtype, shape=shape)
