"""One session of ovmsclient, another project's client for this protocol, printed as JSON.

    python tests/support/ovmsclient_session.py 127.0.0.1:8500 127.0.0.1:8501

In a process of its own: the client brings its own copy of the messages, which must not meet TensorFlow's.
"""

import json
import sys
from typing import Any

import numpy as np
import ovmsclient


def main(grpc_address: str, rest_address: str) -> None:
    grpc, http = ovmsclient.make_grpc_client(grpc_address), ovmsclient.make_http_client(rest_address)
    report = {"grpc": _session(grpc), "http": _session(http)}
    # Over HTTP it asks for metadata in its own server's spelling, which TensorFlow Serving does not have.
    metadata = grpc.get_model_metadata("scale")
    report["metadata"] = {"version": metadata["model_version"], "shape": metadata["inputs"]["x"]["shape"]}
    print(json.dumps(report))


def _session(client: Any) -> dict[str, Any]:
    answer = client.predict({"x": np.array([[1, 2], [3, 4]], np.float32)}, "scale")
    try:
        client.get_model_status("nobody")
    except ovmsclient.ModelNotFoundError as error:
        refused = str(error)
    return {
        "answer": {name: np.asarray(array).tolist() for name, array in answer.items()},
        "status": {version: entry["state"] for version, entry in client.get_model_status("scale").items()},
        "refused": refused,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
