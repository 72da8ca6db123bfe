"""TensorFlow Serving's interfaces on ONNX Runtime: the same calls, flags and files, from pip alone."""
