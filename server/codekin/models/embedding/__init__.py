"""Embedding: text to unit vectors, on this machine or through a server."""
