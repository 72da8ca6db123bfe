"""Our messages and TensorFlow's are one on the wire, byte for byte, in both directions."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.descriptor import FieldDescriptor
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from services.core.tensors import from_proto, to_proto
from services.pb import tfserving_pb2 as pb

PAIRS = {
    "TensorProto": tensor_pb2.TensorProto,
    "SavedModel": saved_model_pb2.SavedModel,
    "Example": example_pb2.Example,
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
    "GetModelStatusRequest": get_model_status_pb2.GetModelStatusRequest,
    "GetModelStatusResponse": get_model_status_pb2.GetModelStatusResponse,
    "ClassificationRequest": classification_pb2.ClassificationRequest,
    "ClassificationResponse": classification_pb2.ClassificationResponse,
    "RegressionRequest": regression_pb2.RegressionRequest,
    "RegressionResponse": regression_pb2.RegressionResponse,
    "MultiInferenceRequest": inference_pb2.MultiInferenceRequest,
    "MultiInferenceResponse": inference_pb2.MultiInferenceResponse,
    "PredictionLog": prediction_log_pb2.PredictionLog,
    "ReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
    "ReloadConfigResponse": model_management_pb2.ReloadConfigResponse,
    "ModelServerConfig": model_server_config_pb2.ModelServerConfig,
}
# Said differently on purpose: a tf.Example is carried as the bytes it is made of.
AS_BYTES = {"examples", "context"}
VARINTS = {FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_ENUM}  # an enum of theirs that is a plain number here
NUMBERS = {FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE}


def _differences(ours, theirs, seen):
    """Fields of ours that mean something else, or nothing, to them."""
    if ours.full_name in seen:
        return []
    seen.add(ours.full_name)
    found = []
    for field in ours.fields:
        other = theirs.fields_by_number.get(field.number)
        if other is None or other.name != field.name or other.is_repeated != field.is_repeated:
            found.append(f"{ours.full_name}.{field.name}")
        elif field.name in AS_BYTES:
            found += [] if other.message_type.full_name == "tensorflow.Example" else [field.full_name]
        elif field.type != other.type and {field.type, other.type} != VARINTS:
            found.append(f"{ours.full_name}.{field.name} has another type")
        elif field.message_type:
            found += _differences(field.message_type, other.message_type, seen)
    return found


@pytest.mark.parametrize("name", PAIRS)
def test_every_field_has_their_number_name_and_type(name):
    assert _differences(getattr(pb, name).DESCRIPTOR, PAIRS[name].DESCRIPTOR, set()) == []


def _fill(message, depth=0):
    """Something in every field; of a oneof the last."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type and field.message_type.GetOptions().map_entry:
            value_field = field.message_type.fields_by_name["value"]
            entries = getattr(message, field.name)
            if value_field.message_type:
                _fill(entries["key"], depth + 1)
            else:
                entries["key"] = _scalar(value_field)
        elif field.message_type:
            if depth > 6:
                continue
            child = getattr(message, field.name)
            child = child.add() if field.is_repeated else child
            child.SetInParent()
            _fill(child, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).extend([_scalar(field)] * 2)
        else:
            setattr(message, field.name, _scalar(field))
    return message


def _scalar(field):
    if field.name in AS_BYTES:
        return example_pb2.Example().SerializeToString()
    if field.enum_type:
        return field.enum_type.values[1].number
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return b"bytes" if field.type == FieldDescriptor.TYPE_BYTES else "text"
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return True
    return 0.5 if field.type in NUMBERS else 7


@pytest.mark.parametrize("name", PAIRS)
def test_a_full_message_survives_the_way_there_and_back(name):
    ours = _fill(getattr(pb, name)())
    there = PAIRS[name].FromString(ours.SerializeToString(deterministic=True))
    back = getattr(pb, name).FromString(there.SerializeToString(deterministic=True))

    assert ours.ByteSize() > 0
    assert there.SerializeToString(deterministic=True) == ours.SerializeToString(deterministic=True)
    assert back == ours


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u1", "i2", "i1", "i8", "?", "u2", "f2", "u4", "u8"])
@pytest.mark.parametrize("as_values", [False, True])
def test_tensorflow_reads_the_tensors_we_write(dtype, as_values, rng):
    array = (rng.random((2, 3)) * 2).astype(dtype)

    theirs = tensor_pb2.TensorProto.FromString(to_proto(array, as_values=as_values).SerializeToString())

    np.testing.assert_array_equal(tf.make_ndarray(theirs), array)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u1", "i2", "i1", "i8", "?", "u2", "f2", "u4", "u8"])
@pytest.mark.parametrize("shape", [(), (2, 3), (1,)])
def test_we_read_the_tensors_tensorflow_writes(dtype, shape, rng):
    array = (rng.random(shape) * 2).astype(dtype)

    ours = pb.TensorProto.FromString(tf.make_tensor_proto(array).SerializeToString())

    np.testing.assert_array_equal(from_proto(ours), array)


def test_byte_strings_cross_too():
    array = np.array([[b"seven", b"\xff"]], object)

    ours = pb.TensorProto.FromString(tf.make_tensor_proto(array).SerializeToString())
    theirs = tensor_pb2.TensorProto.FromString(to_proto(array).SerializeToString())

    np.testing.assert_array_equal(from_proto(ours), array)
    np.testing.assert_array_equal(tf.make_ndarray(theirs), array)
