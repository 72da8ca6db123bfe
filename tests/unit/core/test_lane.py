"""The lane's two ends without a socket: any cutting of the bytes gives the same messages, and nonsense is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.lane import MAX_MESSAGE_BYTES, ClientEnd, Code, LaneAnswer, LaneProtocolError, LaneRequest, ServerEnd

MESSAGES = st.one_of(st.binary(max_size=300), st.integers(0, 3_000_000).map(bytes))


def feed(end, data, cuts=()):
    """Everything the end makes of `data`, given to it in pieces cut at `cuts`."""
    events = []
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, stop in itertools.pairwise(places):
        piece = data[start:stop]
        while piece:
            space = end.space()
            count = min(len(space), len(piece))
            space[:count] = piece[:count]
            piece = piece[count:]
            event = end.received(count)
            if event is not None:
                events.append(event)
    return events


@given(
    calls=st.lists(
        st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1), MESSAGES, st.sampled_from(Code), MESSAGES),
        min_size=1,
        max_size=3,
    ),
    cuts=st.lists(st.integers(0, 2**24), max_size=8),
)
def test_calls_and_answers_arrive_as_they_were_however_the_bytes_are_cut(calls, cuts):
    client, server = ClientEnd(), ServerEnd()
    for method, timeout_ms, message, code, payload in calls:
        sent = client.call(method, timeout_ms, message)
        assert client.waiting
        assert feed(server, sent, cuts) == [LaneRequest(method, timeout_ms, message)]

        back = server.answer(LaneAnswer(code, payload))
        assert feed(client, back, cuts) == [LaneAnswer(code, payload)]
        assert not client.waiting


@given(data=st.binary(min_size=1, max_size=100))
def test_any_bytes_are_messages_or_a_protocol_error(data):
    for end in (ServerEnd(), ClientEnd()):
        if isinstance(end, ClientEnd):
            end.call(1, 0, b"")
        try:
            feed(end, data)
        except LaneProtocolError:
            continue


def test_a_length_is_a_claim_until_the_bytes_are_there():
    server = ServerEnd()
    feed(server, ClientEnd().call(1, 0, bytes(10))[:5] + (64 * 1024 * 1024).to_bytes(4, "little") + bytes(50_000))

    assert len(server.space()) < 2_000_000


def test_a_message_beyond_the_limit_is_refused_by_its_header():
    header = ClientEnd().call(1, 0, b"")[:5] + (MAX_MESSAGE_BYTES + 1).to_bytes(4, "little")

    with pytest.raises(LaneProtocolError, match="the limit"):
        feed(ServerEnd(), header)


def test_another_protocol_is_found_out_by_its_first_bytes():
    client = ClientEnd()
    client.call(1, 0, b"")

    with pytest.raises(LaneProtocolError, match="kind 72"):
        feed(client, b"HTTP/1.1 400 Bad Request"[:5])


def test_a_second_request_before_the_answer_is_refused():
    one = ClientEnd().call(1, 0, b"x")

    with pytest.raises(LaneProtocolError, match="more bytes"):
        feed(ServerEnd(), one + one)
    server = ServerEnd()
    feed(server, one)
    with pytest.raises(LaneProtocolError, match="a second request"):
        server.space()


def test_each_end_keeps_the_order_of_call_and_answer():
    client = ClientEnd()
    client.call(1, 0, b"")
    with pytest.raises(LaneProtocolError, match="a second call"):
        client.call(1, 0, b"")
    with pytest.raises(LaneProtocolError, match="an answer to no request"):
        ServerEnd().answer(LaneAnswer(Code.OK, b""))
    with pytest.raises(LaneProtocolError, match="an answer to no call"):
        feed(ClientEnd(), b"\0")
