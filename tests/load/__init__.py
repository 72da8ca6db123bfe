"""Load tests: run by `make load`, never by `make test`."""
