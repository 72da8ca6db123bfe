"""Messages of gRPC, read and written; and any bytes, mutated messages, millions of empty entries."""

import asyncio
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import InvalidInputError, TooLargeError
from services.gateway.api.intake import TASKS, Intake
from services.gateway.decoding.decoders import Decoders
from services.gateway.limits import Limits
from services.gateway.messages.oip_grpc import ModelInfer, parsed, read_model_infer, write_model_infer
from services.gateway.messages.oip_grpc_numbers import NumbersInfer
from services.pb import open_inference_pb2 as pb


def message(*, raw: bool = True, **more) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="digits", **more)
    tensor = request.inputs.add(name="images", datatype="FP32", shape=[2, 28, 28, 1])
    if raw:
        request.raw_input_contents.append(np.full(1568, 0.25, "<f4").tobytes())
    else:
        tensor.contents.fp32_contents.extend([0.25] * 1568)
    return request


GOOD = [message(raw=raw).SerializeToString() for raw in (True, False)]


def mutated(seed: int) -> bytes:
    chance = random.Random(seed)
    data = bytearray(chance.choice(GOOD))
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(min(len(data), chance.choice((60, len(data)))))
        if chance.random() < 0.5:
            data[at] = chance.randrange(256)
        else:
            del data[at : at + chance.randint(1, 4)]
    return bytes(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.integers(0, 2**32).map(mutated))
def test_any_bytes_are_read_or_refused(data: bytes):
    try:
        call = read_model_infer(parsed(pb.ModelInferRequest, data))
    except InvalidInputError:
        return

    assert call.asked.images.shape[1:] == (28, 28, 1)
    assert np.isfinite(call.asked.images).all()


@pytest.mark.parametrize("raw", [True, False])
def test_wishes_are_read(raw: bool):
    request = message(raw=raw, model_version="3", id="a")
    request.parameters["denoise"].string_param = "auto"
    request.parameters["priority"].uint64_param = 2
    request.outputs.add(name="probabilities").parameters["classification"].int64_param = 4
    request.outputs.add(name="digit")

    call = read_model_infer(request)

    assert (call.model, call.version, call.raw) == ("digits", "3", raw)
    assert (call.asked.id, call.asked.outputs) == ("a", ("probabilities", "digit"))
    assert call.asked.parameters == {"denoise": "auto", "priority": 2}
    assert call.asked.classes == {"probabilities": 4}
    np.testing.assert_array_equal(call.asked.images, np.full((2, 28, 28, 1), 0.25, np.float32))


def test_raw_tensors_are_read_without_a_copy():
    assert not read_model_infer(pb.ModelInferRequest.FromString(GOOD[0])).asked.images.flags.owndata


@pytest.mark.parametrize("raw", [True, False])
def test_an_answer_holds_what_it_was_given(raw: bool, rng: np.random.Generator):
    outputs = {"denoised": rng.random((2, 28, 28, 1), np.float32), "digit": np.int64([7, -1])}
    call = read_model_infer(message(raw=raw))

    written = write_model_infer(call, outputs, version="1", parameters={"degraded": True, "classifier_version": "2"})
    reply = pb.ModelInferResponse.FromString(written)

    assert [(each.name, each.datatype, list(each.shape)) for each in reply.outputs] == [
        ("denoised", "FP32", [2, 28, 28, 1]),
        ("digit", "INT64", [2]),
    ]
    assert (reply.parameters["degraded"].bool_param, reply.parameters["classifier_version"].string_param) == (True, "2")
    if raw:
        assert list(reply.raw_output_contents) == [each.tobytes() for each in outputs.values()]
    else:
        np.testing.assert_array_equal(reply.outputs[0].contents.fp32_contents, outputs["denoised"].ravel())
        assert list(reply.outputs[1].contents.int64_contents) == [7, -1]


async def read_by_a_decoder(data: bytes) -> ModelInfer | NumbersInfer:
    decoders = Decoders(TASKS)
    try:
        return await Intake(decoders, Limits()).model_infer(data, until_s=time.monotonic() + 60)
    finally:
        await decoders.close()


def test_a_large_message_is_read_in_a_decoder_process():
    request = message(id="large")
    request.outputs.add(name="digit")
    request.inputs[0].shape[0] = 100
    request.raw_input_contents[0] = np.zeros(100 * 784, "<f4").tobytes()

    call = asyncio.run(read_by_a_decoder(request.SerializeToString()))

    assert isinstance(call, ModelInfer)
    assert (call.asked.id, call.asked.outputs, len(call.asked.images)) == ("large", ("digit",), 100)


@pytest.mark.parametrize("field", [b"\x2a\x00", b"\x32\x00", b"\x3a\x00"], ids=["inputs", "outputs", "raw contents"])
def test_millions_of_empty_entries_cost_a_decoder_its_own_memory_only(field: bytes):
    """Each takes 50 times its two bytes in memory: the bound of a decoder process ends it, the gateway goes on."""
    with pytest.raises((InvalidInputError, TooLargeError)):
        asyncio.run(read_by_a_decoder(field * 10_000_000))
