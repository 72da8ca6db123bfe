"""The lane's server: a thread for each connection, which is one caller's line for one call at a time."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from google.protobuf.message import Message

from services.core.errors import ConfigError, ServiceError
from services.core.lane import ANSWER, MAX_MESSAGE_BYTES, REQUEST, Code, Method
from services.model_server.calls.counted import Counted, parse
from services.model_server.calls.model_service import get_model_status
from services.model_server.calls.prediction import Prediction
from services.model_server.metrics import Metrics
from services.model_server.statuses import code_of, message_of
from services.model_server.versions.repository import ModelRepository
from services.pb import tfserving_pb2 as pb

log = logging.getLogger(__name__)

Answer = Callable[[bytes, float | None], Message]

MAX_CONNECTIONS = 64  # beyond them a caller is hung up on, which it takes for UNAVAILABLE
_BACKLOG = 128


def answers(prediction: Prediction, models: ModelRepository, metrics: Metrics) -> dict[Method, Answer]:
    """What the lane offers of the two services, counted as over gRPC."""
    predict = Counted(models, metrics, "LANE")(
        "Predict", lambda request, deadline: prediction.predict(request, deadline=deadline)
    )
    return {
        Method.PREDICT: lambda data, deadline: predict(parse(pb.PredictRequest, data), deadline),
        Method.GET_MODEL_STATUS: lambda data, _: get_model_status(models, parse(pb.GetModelStatusRequest, data)),
    }


class LaneServer:
    """Listens on a UNIX socket that only its own user can open; `answers` has one function for each method."""

    def __init__(self, path: Path, answers: Mapping[Method, Answer]) -> None:
        self._path = path
        self._answers = answers
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._stopping = False
        self._listener = _listen(path)

    def start(self) -> None:
        """Take calls from now on."""
        threading.Thread(target=self._accept, name="lane", daemon=True).start()

    def stop(self, grace_s: float) -> bool:
        """Take no new calls, let those in progress finish; False when `grace_s` was not enough."""
        deadline = time.monotonic() + grace_s
        with self._lock:
            self._stopping = True
            connections = dict(self._connections)
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it may never have been accepted on
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in connections:
            with contextlib.suppress(OSError):  # its caller has gone already
                connection.shutdown(socket.SHUT_RD)  # an idle one ends, a busy one answers first
        for thread in connections.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in connections.values())

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # the listener was closed
                return
            thread = threading.Thread(target=self._serve, args=(connection,), name="lane-call", daemon=True)
            with self._lock:
                welcome = not self._stopping and len(self._connections) < MAX_CONNECTIONS
                if welcome:
                    self._connections[connection] = thread
            if welcome:
                thread.start()
            else:
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while header := _read(connection, REQUEST.size):
                method, timeout_ms, length = REQUEST.unpack(header)
                deadline = time.monotonic() + timeout_ms / 1e3 if timeout_ms else None
                if length > MAX_MESSAGE_BYTES:
                    log.warning("lane request refused", extra={"bytes": length})
                    return
                message = _read(connection, length)
                if len(message) < length:
                    return
                code, payload = self._answer(method, bytes(message), deadline)
                connection.sendall(ANSWER.pack(code, len(payload)) + payload)
        except ConnectionError:
            pass  # the caller gave up
        finally:
            with self._lock:
                del self._connections[connection]
            connection.close()

    def _answer(self, method: int, request: bytes, deadline: float | None) -> tuple[Code, bytes]:
        answer = self._answers.get(method)
        if answer is None:
            return Code.UNIMPLEMENTED, f"the lane has no method {method}".encode()
        try:
            return Code.OK, answer(request, deadline).SerializeToString()
        except ServiceError as exc:
            return Code(code_of(exc).value[0]), message_of(exc).encode()


def _listen(path: Path) -> socket.socket:
    """A socket of that name; one left behind by a process that died is replaced, one in use is an error."""
    probe = socket.socket(socket.AF_UNIX)
    try:
        probe.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise ConfigError(f"cannot listen for the lane on {path}: {exc.strerror or exc}") from exc
    else:
        raise ConfigError(f"cannot listen for the lane on {path}: somebody does already")
    finally:
        probe.close()
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(_BACKLOG)
    except OSError as exc:
        listener.close()
        raise ConfigError(f"cannot listen for the lane on {path}: {exc.strerror or exc}") from exc
    return listener


def _read(connection: socket.socket, size: int) -> bytearray:
    """Exactly so many bytes; none when the caller has hung up between two calls."""
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        count = connection.recv_into(view[filled:])
        if count == 0:
            if filled:
                raise ConnectionResetError("the caller hung up in the middle of a message")
            return bytearray()
        filled += count
    return data
