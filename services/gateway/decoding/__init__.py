"""Processes that decode what clients send, apart from the gateway: bounded in memory, killed when time is up."""
