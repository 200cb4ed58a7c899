"""Serves coding agents over the Model Context Protocol; only here is its SDK known."""
