"""Keras models as files that servers read: versions of models, ONNX."""
