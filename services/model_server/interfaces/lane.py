"""The lane's server: a thread for each connection, and `core.lane.ServerEnd` for what is said on it."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from services.core.errors import ConfigError, ServiceError
from services.core.lane import Code, LaneAnswer, LaneProtocolError, LaneRequest, Method, ServerEnd
from services.model_server.calls.counted import CallCounter, parse
from services.model_server.calls.model_service import get_model_status
from services.model_server.calls.prediction import PredictionCalls
from services.model_server.metrics import ServerMetrics
from services.model_server.statuses import code_of, message_of
from services.model_server.versions.repository import ModelRepository
from services.pb import tfserving_pb2 as pb

log = logging.getLogger(__name__)

Handler = Callable[[bytes, float | None], bytes]

MAX_CONNECTIONS = 64  # a caller beyond them finds its connection closed, which it takes for UNAVAILABLE
_BACKLOG = 128
_PAUSE_S = 0.1  # before the next attempt, where no connection could be accepted


def answers(prediction: PredictionCalls, models: ModelRepository, metrics: ServerMetrics) -> dict[Method, Handler]:
    """What the lane offers of the two services, counted as over gRPC."""
    predict = CallCounter(models, metrics, "LANE")(
        "Predict", lambda request, deadline: prediction.predict(request, deadline=deadline)
    )

    def status(data: bytes, _deadline: float | None) -> bytes:
        return get_model_status(models, parse(pb.GetModelStatusRequest, data)).SerializeToString()

    return {
        Method.PREDICT: lambda data, deadline: predict(parse(pb.PredictRequest, data), deadline),
        Method.GET_MODEL_STATUS: status,
    }


class LaneServer:
    """Listens on a UNIX socket that only its own user can open; `handlers` has one function for each method."""

    def __init__(self, path: Path, handlers: Mapping[Method, Handler]) -> None:
        self._path = path
        self._handlers = {int(method): handler for method, handler in handlers.items()}
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
        while not self._stopping:
            try:
                connection, _ = self._listener.accept()
            except OSError as exc:  # out of file descriptors, unless the listener was closed
                if not self._stopping:
                    log.warning("the lane cannot accept a connection", extra={"error": exc.strerror or str(exc)})
                    time.sleep(_PAUSE_S)
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), name="lane-call", daemon=True)
            with self._lock:  # a thread that `stop` finds has been started, and can be joined
                admitted = not self._stopping and len(self._connections) < MAX_CONNECTIONS and _started(thread)
                if admitted:
                    self._connections[connection] = thread
            if not admitted:
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        end = ServerEnd()
        try:
            while count := connection.recv_into(end.space()):
                request = end.received(count)
                if request is not None:
                    connection.sendall(end.answer(self._answer(request)))
        except LaneProtocolError as exc:
            log.warning("lane request refused", extra={"error": str(exc)})
        except OSError as exc:  # the caller gave up
            log.debug("a lane connection ended", extra={"error": exc.strerror or str(exc)})
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            del self._connections[connection]
        connection.close()

    def _answer(self, request: LaneRequest) -> LaneAnswer:
        deadline = time.monotonic() + request.timeout_ms / 1e3 if request.timeout_ms else None
        handler = self._handlers.get(request.method)
        if handler is None:
            return LaneAnswer(Code.UNIMPLEMENTED, f"the lane has no method {request.method}".encode())
        try:
            return LaneAnswer(Code.OK, handler(request.message, deadline))
        except ServiceError as exc:
            return LaneAnswer(Code(code_of(exc).value[0]), message_of(exc).encode())


def _started(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError as exc:  # no thread can be started now
        log.warning("the lane cannot serve a connection", extra={"error": str(exc)})
        return False
    return True


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
        raise ConfigError(f"cannot listen for the lane on {path}: another server does already")
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
