"""Encoders that turn texts into vectors: the local model and an endpoint."""
