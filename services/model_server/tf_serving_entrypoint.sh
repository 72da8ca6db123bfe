#!/bin/sh
# How the image starts: ports and MODEL_NAME as in TensorFlow Serving's image; arguments come last, and win.
exec python -m services.model_server --port=8500 --rest_api_port=8501 \
  --model_name="${MODEL_NAME:-model}" --model_base_path="${MODEL_BASE_PATH:-/models}/${MODEL_NAME:-model}" "$@"
