"""Protobuf stubs written by `make protos`; never edited by hand."""
