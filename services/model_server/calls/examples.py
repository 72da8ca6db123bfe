"""Classify, Regress and MultiInference: calls that send tf.Examples to signatures which parse them themselves."""

from collections.abc import Sequence

import numpy as np

from services.core.errors import InvalidInputError
from services.core.tensors import dtype_name, dtype_number
from services.model_server.calls.prediction import PredictionCalls, require_spec, resolved_spec
from services.model_server.signatures import (
    CLASSIFY_METHOD,
    DEFAULT_KEY,
    EXAMPLES,
    REGRESS_METHOD,
    Signature,
    serialized_examples,
)
from services.model_server.statuses import Code, StatusError
from services.model_server.versions.servable import Servable
from services.pb import tfserving_pb2 as pb

CLASSES, SCORES, OUTPUTS = "classes", "scores", "outputs"


class Examples:
    """The three calls, on top of `PredictionCalls`."""

    def __init__(self, prediction: PredictionCalls, *, check_method: bool = False) -> None:
        self._prediction = prediction
        self._check_method = check_method

    def classify(self, request: pb.ClassificationRequest, *, deadline: float | None) -> pb.ClassificationResponse:
        """PredictionService.Classify."""
        require_spec(request)
        with self._prediction.models.acquire(request.model_spec) as servable:
            signature = _named(servable, request.model_spec.signature_name, "No signature was found with the name: ")
            result = self._classification(servable, signature, request.input, deadline)
            return pb.ClassificationResponse(result=result, model_spec=resolved_spec(servable, signature.key))

    def regress(self, request: pb.RegressionRequest, *, deadline: float | None) -> pb.RegressionResponse:
        """PredictionService.Regress."""
        require_spec(request)
        with self._prediction.models.acquire(request.model_spec) as servable:
            signature = _named(servable, request.model_spec.signature_name, "No signature was found with the name: ")
            result = self._regression(servable, signature, request.input, deadline)
            return pb.RegressionResponse(result=result, model_spec=resolved_spec(servable, signature.key))

    def multi_inference(
        self, request: pb.MultiInferenceRequest, *, deadline: float | None
    ) -> pb.MultiInferenceResponse:
        """PredictionService.MultiInference: several signatures of one model on the same examples."""
        first = request.tasks[0].model_spec if request.tasks else pb.ModelSpec()
        with self._prediction.models.acquire(first) as servable:
            signatures = [self._task_signature(servable, task, first.name) for task in request.tasks]
            keys = [signature.key for signature in signatures]
            for key in keys:
                if keys.count(key) > 1:
                    raise InvalidInputError(f"Duplicate evaluation of signature: {key}")
            response = pb.MultiInferenceResponse()
            for task, signature in zip(request.tasks, signatures, strict=True):
                result = response.results.add(model_spec=resolved_spec(servable, signature.key))
                if task.method_name == CLASSIFY_METHOD:
                    classified = self._classification(servable, signature, request.input, deadline)
                    result.classification_result.CopyFrom(classified)
                else:
                    regressed = self._regression(servable, signature, request.input, deadline)
                    result.regression_result.CopyFrom(regressed)
        return response

    def _task_signature(
        self, servable: Servable, task: pb.MultiInferenceRequest.InferenceTask, model_name: str
    ) -> Signature:
        if not task.model_spec.name:
            raise InvalidInputError("Found ModelSpec with an empty model name.")
        if task.model_spec.name != model_name:
            raise InvalidInputError("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if task.method_name not in (CLASSIFY_METHOD, REGRESS_METHOD):
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        return _named(servable, task.model_spec.signature_name, "Requested signature not found in model graph: ")

    def _classification(
        self, servable: Servable, signature: Signature, sent: pb.Input, deadline: float | None
    ) -> pb.ClassificationResult:
        self._check(servable, signature, "classification", CLASSIFY_METHOD)
        if len(signature.outputs) not in (1, 2):
            raise InvalidInputError(f"Expected one or two output Tensors, found {len(signature.outputs)}")
        names = [name for name in (CLASSES, SCORES) if name in signature.outputs]
        if not names:
            raise InvalidInputError(
                f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}". '
                f"Signature was: {_shown(servable, signature)}"
            )
        count, arrays = self._run(servable, signature, sent, names, deadline, "Classify")
        for name, number in ((CLASSES, pb.DT_STRING), (SCORES, pb.DT_FLOAT)):
            if name in names:
                _check_output(name, arrays[names.index(name)], count, number)
        columns = [array.shape[1] for array in arrays]
        if len(set(columns)) > 1:
            raise InvalidInputError(
                f"Tensors class and score should match in dim_size(1). Got {columns[0]} vs. {columns[1]}"
            )
        by_name = dict(zip(names, arrays, strict=True))
        labels = by_name.get(CLASSES, np.full((count, columns[0]), b"", object))
        scores = by_name.get(SCORES, np.zeros((count, columns[0]), np.float32))
        result = pb.ClassificationResult()
        for row in range(count):
            one = result.classifications.add()
            for label, score in zip(labels[row].tolist(), scores[row].tolist(), strict=True):
                one.classes.add(label=label.decode(errors="replace"), score=score)
        return result

    def _regression(
        self, servable: Servable, signature: Signature, sent: pb.Input, deadline: float | None
    ) -> pb.RegressionResult:
        self._check(servable, signature, "regression", REGRESS_METHOD)
        if len(signature.outputs) != 1:
            raise InvalidInputError("Expected one output Tensor.")
        if OUTPUTS not in signature.outputs:
            raise InvalidInputError(f"No regression outputs found in SignatureDef: {_shown(servable, signature)}")
        count, (values,) = self._run(servable, signature, sent, [OUTPUTS], deadline, "Regress")
        if not (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)):
            raise InvalidInputError(
                f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(values)}"
            )
        if len(values) != count:
            raise InvalidInputError(f"Input batch size did not match output batch size: {count} vs. {len(values)}")
        if values.dtype != np.float32:
            raise InvalidInputError(f"Expected output Tensor of DT_FLOAT.  Got: {_type(values)}")
        regressions = [pb.RegressionResult.Regression(value=value) for value in values.ravel().tolist()]
        return pb.RegressionResult(regressions=regressions)

    def _check(self, servable: Servable, signature: Signature, kind: str, method: str) -> None:
        if self._check_method and signature.method_name != method:
            raise InvalidInputError(
                f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}"
            )
        if len(signature.inputs) != 1:
            raise InvalidInputError("Expected one input Tensor.")
        if EXAMPLES not in signature.inputs:
            raise InvalidInputError(f"No {kind} inputs found in SignatureDef: {_shown(servable, signature)}")

    def _run(
        self,
        servable: Servable,
        signature: Signature,
        sent: pb.Input,
        names: list[str],
        deadline: float | None,
        api: str,
    ) -> tuple[int, Sequence[np.ndarray]]:
        inputs = serialized_examples(sent)
        arrays = self._prediction.run(servable, signature, {EXAMPLES: inputs}, names, deadline=deadline, api=api)
        return len(inputs), arrays


def _named(servable: Servable, key: str, complaint: str) -> Signature:
    signature = servable.signatures.get(key or DEFAULT_KEY)
    if signature is None:
        raise InvalidInputError(complaint + (key or DEFAULT_KEY))
    return signature


def _check_output(name: str, array: np.ndarray, count: int, number: pb.DataType) -> None:
    if array.ndim != 2:
        raise InvalidInputError(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
    if dtype_number(array.dtype) != number:
        raise InvalidInputError(f"Expected {name} Tensor of {dtype_name(number)}. Got: {_type(array)}")
    if len(array) != count:
        raise InvalidInputError(f"Expected {name} output batch size of {count}. Got: {len(array)}")


def _shape(array: np.ndarray) -> str:
    return f"[{','.join(map(str, array.shape))}]"


def _type(array: np.ndarray) -> str:
    return dtype_name(dtype_number(array.dtype))


def _shown(servable: Servable, signature: Signature) -> str:
    return str(servable.engine.definitions[signature.key])
