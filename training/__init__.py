"""The training job: MNIST -> noise -> denoiser and classifier -> measured, exported model versions."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # as in services/__init__.py
