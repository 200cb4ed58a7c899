"""Codekin: a language server that knows a codebase by meaning."""

__version__ = "0.1.0"
