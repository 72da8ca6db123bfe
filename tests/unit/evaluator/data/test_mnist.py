"""Where MNIST is looked for, and that what is fetched has to be MNIST."""

import hashlib
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from services.evaluator.data import mnist
from services.evaluator.errors import DatasetError
from tests.support.tiny_models import digits


def archive():
    pixels, labels = digits(5)
    buffer = io.BytesIO()
    np.savez(buffer, x_test=pixels, y_test=labels)
    return buffer.getvalue(), {"x_test": pixels, "y_test": labels}


@pytest.fixture
def serve():
    """Call it with a body: answers a URL that sends it. None: status 404."""
    servers = []

    def start(body):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(404 if body is None else 200)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/mnist.npz"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_named_file_is_taken_at_its_word():
    assert str(mnist.find({"CLEARDIGITS_MNIST": "/data/mnist.npz"})) == "/data/mnist.npz"


def test_it_is_fetched_once_into_kerass_cache(tmp_path, serve, monkeypatch):
    content, arrays = archive()
    hashes = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    monkeypatch.setattr(mnist, "SHA256", hashes)
    environ = {"KERAS_HOME": str(tmp_path)}

    path = mnist.find(environ, url=serve(content))

    assert path == tmp_path / "datasets" / "mnist.npz"
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == ["mnist.npz"]
    assert mnist.find(environ, url="http://127.0.0.1:9/nobody") == path


@pytest.mark.parametrize(
    ("body", "message"),
    [(archive()[0], "its pixels differ"), (b"<html>", "is not MNIST"), (None, "cannot be fetched")],
)
def test_anything_else_is_not_kept(tmp_path, serve, body, message):
    with pytest.raises(DatasetError, match=message):
        mnist.find({"KERAS_HOME": str(tmp_path)}, url=serve(body))

    assert not list(tmp_path.iterdir())
