"""gRPC, REST and the lane."""
