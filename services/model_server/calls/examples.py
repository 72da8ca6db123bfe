"""Classify, Regress and MultiInference: calls that send tf.Examples to signatures which parse them themselves."""

import numpy as np

from services.core.errors import InvalidInputError
from services.model_server.calls.prediction import Prediction, require_spec, resolved_spec
from services.model_server.signatures import CLASSIFY_METHOD, REGRESS_METHOD, Signature, pick
from services.model_server.statuses import Code, StatusError
from services.model_server.versions.servable import Servable
from services.pb import tfserving_pb2 as pb

INPUTS, CLASSES, SCORES, OUTPUTS = "inputs", "classes", "scores", "outputs"


class Examples:
    """The three calls, on top of `Prediction`."""

    def __init__(self, prediction: Prediction) -> None:
        self._prediction = prediction

    def classify(self, request: pb.ClassificationRequest, *, deadline: float | None) -> pb.ClassificationResponse:
        """PredictionService.Classify."""
        require_spec(request)
        with self._prediction.models.acquire(request.model_spec) as servable:
            signature = _pick(servable, request.model_spec.signature_name, CLASSIFY_METHOD)
            result = self._classification(servable, signature, request.input, deadline)
            return pb.ClassificationResponse(result=result, model_spec=resolved_spec(servable, signature.key))

    def regress(self, request: pb.RegressionRequest, *, deadline: float | None) -> pb.RegressionResponse:
        """PredictionService.Regress."""
        require_spec(request)
        with self._prediction.models.acquire(request.model_spec) as servable:
            signature = _pick(servable, request.model_spec.signature_name, REGRESS_METHOD)
            result = self._regression(servable, signature, request.input, deadline)
            return pb.RegressionResponse(result=result, model_spec=resolved_spec(servable, signature.key))

    def multi_inference(
        self, request: pb.MultiInferenceRequest, *, deadline: float | None
    ) -> pb.MultiInferenceResponse:
        """PredictionService.MultiInference: several signatures of one model on the same examples."""
        if not request.tasks:
            raise InvalidInputError("Inference request must have at least one task.")
        if len({task.model_spec.name for task in request.tasks}) > 1:
            raise InvalidInputError("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if len({task.model_spec.signature_name for task in request.tasks}) < len(request.tasks):
            raise InvalidInputError("Duplicate evaluation of signature in a MultiInferenceRequest.")
        response = pb.MultiInferenceResponse()
        with self._prediction.models.acquire(request.tasks[0].model_spec) as servable:
            for task in request.tasks:
                if task.method_name not in (CLASSIFY_METHOD, REGRESS_METHOD):
                    raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
                signature = _pick(servable, task.model_spec.signature_name, task.method_name)
                result = response.results.add(model_spec=resolved_spec(servable, signature.key))
                if task.method_name == CLASSIFY_METHOD:
                    result.classification_result.CopyFrom(
                        self._classification(servable, signature, request.input, deadline)
                    )
                else:
                    result.regression_result.CopyFrom(self._regression(servable, signature, request.input, deadline))
        return response

    def _classification(
        self, servable: Servable, signature: Signature, sent: pb.Input, deadline: float | None
    ) -> pb.ClassificationResult:
        names = [name for name in (CLASSES, SCORES) if name in signature.outputs]
        if not names:
            raise InvalidInputError(f"Expected classification signature outputs to have {CLASSES} or {SCORES}")
        count, arrays = self._run(servable, signature, sent, names, deadline)
        for name, array in arrays.items():
            if array.ndim != 2 or len(array) != count:
                raise InvalidInputError(f"Expected Tensor: {name} of shape [{count} num_classes], not {array.shape}")
        result = pb.ClassificationResult()
        for row in range(count):
            labels = arrays[CLASSES][row] if CLASSES in arrays else [b""] * arrays[SCORES].shape[1]
            scores = arrays[SCORES][row] if SCORES in arrays else [0.0] * arrays[CLASSES].shape[1]
            one = result.classifications.add()
            for label, score in zip(labels, scores, strict=True):
                one.classes.add(label=label.decode(errors="replace"), score=float(score))
        return result

    def _regression(
        self, servable: Servable, signature: Signature, sent: pb.Input, deadline: float | None
    ) -> pb.RegressionResult:
        count, arrays = self._run(servable, signature, sent, [OUTPUTS], deadline)
        values = arrays[OUTPUTS].reshape(-1)
        if len(values) != count:
            raise InvalidInputError(f"Expected output batch size to be {count}. Was {len(values)}")
        return pb.RegressionResult(regressions=[pb.RegressionResult.Regression(value=float(v)) for v in values])

    def _run(
        self, servable: Servable, signature: Signature, sent: pb.Input, names: list[str], deadline: float | None
    ) -> tuple[int, dict[str, np.ndarray]]:
        examples = serialized_examples(sent)
        inputs = np.empty(len(examples), object)
        inputs[:] = examples
        arrays = self._prediction.run(servable, signature, {INPUTS: inputs}, names, deadline=deadline)
        return len(examples), dict(zip(names, arrays, strict=True))


def serialized_examples(sent: pb.Input) -> list[bytes]:
    """The examples as bytes, each with the shared context put before it: protobuf merges what is joined so."""
    match sent.WhichOneof("kind"):
        case "example_list":
            examples = list(sent.example_list.examples)
        case "example_list_with_context":
            shared = sent.example_list_with_context
            examples = [shared.context + example for example in shared.examples]
        case _:
            examples = []
    if not examples:
        raise InvalidInputError("Input is empty.")
    return examples


def _pick(servable: Servable, key: str, method: str) -> Signature:
    if servable.engine.name != "tensorflow":
        raise StatusError(
            Code.UNIMPLEMENTED,
            f"tf.Example calls need the tensorflow engine; {servable.name} runs on {servable.engine.name}",
        )
    signature = pick(servable.signatures, key)
    if signature.method_name != method:
        kind = "classification" if method == CLASSIFY_METHOD else "regression"
        raise InvalidInputError(f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}")
    if set(signature.inputs) != {INPUTS}:
        raise InvalidInputError(f"Expected one input named {INPUTS}, not {sorted(signature.inputs)}")
    return signature
