"""ClearDigits' services: each folder is a process, except core (pure functions), runtime (start-up) and pb (stubs)."""

import os

__version__ = "0.1.0"  # pyproject.toml and openapi.yaml say the same

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reads it at import, and else sends usage data home
