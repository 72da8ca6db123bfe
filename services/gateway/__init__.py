"""The gateway: images in over HTTP, digits out; the models are asked over gRPC."""
