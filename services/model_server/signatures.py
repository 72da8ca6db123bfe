"""Does this request fit this signature? Pure: messages in, arrays or TensorFlow Serving's own complaint out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from services.core.errors import InvalidInputError
from services.core.tensors import dtype_name, dtype_number, from_proto
from services.model_server.statuses import Code, StatusError
from services.pb import tfserving_pb2 as pb

DEFAULT_KEY = "serving_default"
PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a signature says of one tensor; `shape` is None for unknown rank, -1 for an unknown size."""

    feed: str  # the tensor's name inside the graph
    dtype: int
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


def read_inputs(signature: Signature, inputs: Mapping[str, pb.TensorProto]) -> dict[str, np.ndarray]:
    """The request's tensors as arrays, each known to be of the signature's type and shape."""
    _check_count(signature, inputs)
    arrays: dict[str, np.ndarray] = {}
    for alias, spec in signature.inputs.items():
        if alias in inputs:  # a protobuf map adds what it is asked for: look before reading
            proto = inputs[alias]
            _check_dtype(proto.dtype, spec, position=len(arrays))
            try:
                arrays[alias] = from_proto(proto)
            except InvalidInputError as exc:
                raise InvalidInputError(f"tensor parsing error: {alias} ({exc})") from exc
        elif alias in signature.defaults:
            arrays[alias] = signature.defaults[alias]
        else:
            raise InvalidInputError(
                f"Signature input alias: {alias}(feed name: {spec.feed}) not found in request "
                f"and no default value provided. Inputs expected to be in the set {{{','.join(signature.inputs)}}}."
            )
    check_arrays(signature, arrays)
    return arrays


def check_arrays(signature: Signature, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise unless every array has its signature's type and a shape that fits."""
    for position, (alias, spec) in enumerate(signature.inputs.items()):
        array = arrays[alias]
        _check_dtype(dtype_number(array.dtype), spec, position=position)
        if not _fits(array.shape, spec.shape):
            raise InvalidInputError(
                f"input {alias} of shape {_show(array.shape)} does not fit the signature's {_show(spec.shape or ())}"
            )


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


def _check_dtype(number: int, spec: TensorSpec, *, position: int) -> None:
    if number != spec.dtype:
        expected, provided = (dtype_name(n).removeprefix("DT_").lower() for n in (spec.dtype, number))
        raise InvalidInputError(f"Expects arg[{position}] to be {expected} but {provided} is provided")


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...] | None) -> bool:
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(want in (-1, size) for size, want in zip(shape, wanted, strict=True))


def _show(shape: tuple[int, ...]) -> str:
    return f"[{','.join('?' if size < 0 else str(size) for size in shape)}]"


def _spec(info: pb.TensorInfo) -> TensorSpec:
    shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
    return TensorSpec(feed=info.name, dtype=info.dtype, shape=shape)
