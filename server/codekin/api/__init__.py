"""Codekin as a Python library: `from codekin import Embeddings, Generation, Triplets, Trainer`; see docs/python.md."""
