"""Embedding pictures and text: the OpenCLIP model, its batcher, and the client of the service."""
