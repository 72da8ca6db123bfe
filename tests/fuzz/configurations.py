"""What a model server is told while it runs: its configuration file, polled, and HandleReloadConfigRequest, mutated.

The server is one of its own, without other clients. It must go on reading, and serve what the honest file says soon
after that file is back.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import requests
from google.protobuf import text_format

from services.pb import tfserving_pb2 as tfs
from tests.fuzz.calls import BROKEN
from tests.fuzz.mutations import mutated
from tests.support.stack import MODELS, Child, free_port

BACK_S = 20.0
_RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
_UNAVAILABLE = "did not become available"  # UNKNOWN, as of TensorFlow Serving, where a path was changed
_ROUNDS = 6  # of damage, before the honest file is back
_CALLS = 20  # in each round
_HONEST = f"""model_config_list {{
  config {{
    name: "classifier"
    base_path: "{MODELS / "classifier"}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""
_MORE = (
    f"""  config {{
    name: "denoiser" base_path: "{MODELS / "denoiser"}" model_platform: "tensorflow"
    version_labels {{ key: "stable" value: 3 }} version_labels {{ key: "\\377" value: -9223372036854775808 }}
  }}
""",
    '  config { name: "nothing" base_path: "/nowhere" model_type: TENSORFLOW model_version_policy { all {} } }\n',
    '  config { name: "odd" base_path: "/\\000\\377" model_version_policy { specific { versions: -1 } } }\n',
    '  config { name: "x" base_path: "/" logging_config { sampling_config { sampling_rate: 1e999 } } }\n',
    '  config { name: "long" base_path: "/' + "y" * 5000 + '" }\n',
    'config { name: "any" logging_config { custom_logging_config { [type.googleapis.com/tensorflow.serving.X] {} } } }',
    "config <" * 500,
)


@contextmanager
def configured_server(folder: Path) -> Iterator[tuple[Child, Path]]:
    """The server, and the file that it reads again each second."""
    file = folder / "models.config"
    file.write_text(_HONEST)
    flags = {
        "port": free_port(),
        "rest_api_port": free_port(),
        "host": "127.0.0.1",
        "model_config_file": file,
        "model_config_file_poll_wait_seconds": 1,
        "allow_version_labels_for_unavailable_models": True,
    }
    server = Child("configured", ["services.model_server", *(f"--{name}={value}" for name, value in flags.items())])
    with closing(server):
        server.start()
        yield server, file


def fuzz_configurations(
    server: Child, file: Path, seed: int, ends_s: float, find: Callable[[str], None], count: Callable[[str], None]
) -> None:
    """Until `ends_s`; `find` is told what is wrong, `count` of each attempt."""
    rng = random.Random(f"{seed}/configurations")
    flags = dict(word.removeprefix("--").split("=", 1) for word in server.arguments if word.startswith("--"))
    status_url = f"http://127.0.0.1:{flags['rest_api_port']}/v1/models/classifier"
    while time.monotonic() < ends_s:
        file.write_text(_HONEST)
        if not _serves(status_url):
            find(f"the honest configuration is not served {BACK_S:.0f} s after it is back: {server.output()[-2000:]}")
            return
        for _ in range(_ROUNDS):
            file.write_bytes(_damaged(rng))
            count("configuration file")
            with grpc.insecure_channel(f"127.0.0.1:{flags['port']}") as channel:
                for _ in range(_CALLS):
                    message = _reload_message(rng)
                    status, details = _reload(channel, message)
                    count("configuration call")
                    if status in BROKEN and _UNAVAILABLE not in details:
                        find(f"HandleReloadConfigRequest ended with {status}: {details!r}, of {message.hex()}")
            time.sleep(1.1)


def _damaged(rng: random.Random) -> bytes:
    text = _HONEST.rstrip().removesuffix("}") + "".join(rng.sample(_MORE, rng.choice((0, 1, 1, 2)))) + "}\n"
    return mutated(text.encode(), rng) if rng.random() < 0.7 else text.encode()


def _reload_message(rng: random.Random) -> bytes:
    request = tfs.ReloadConfigRequest(config=text_format.Parse(_HONEST, tfs.ModelServerConfig()))
    entry = request.config.model_config_list.config.add(name="odd", base_path=rng.choice(("/nowhere", "/\0", "", "x")))
    entry.model_version_policy.specific.versions.extend(rng.sample((1, -1, 2**62, 0), 2))
    entry.version_labels[rng.choice(("stable", ""))] = rng.choice((1, -1))
    return mutated(request.SerializeToString(), rng) if rng.random() < 0.7 else request.SerializeToString()


def _reload(channel: grpc.Channel, message: bytes) -> tuple[str, str]:
    """How the call ended, and in what words."""
    future = channel.unary_unary(_RELOAD).future(message, timeout=5)
    try:
        future.result(timeout=20)
    except grpc.FutureTimeoutError:
        return "no answer", ""
    except grpc.RpcError:
        pass  # its code says how it ended
    if future.code() is grpc.StatusCode.INTERNAL and not future.details():
        return "no message", ""  # as in calls.py
    return future.code().name, future.details() or ""


def _serves(status_url: str) -> bool:
    ends_s = time.monotonic() + BACK_S
    while time.monotonic() < ends_s:
        try:
            if '"AVAILABLE"' in requests.get(status_url, timeout=2).text:
                return True
        except requests.RequestException:
            pass  # it starts, or is busy
        time.sleep(0.1)
    return False
