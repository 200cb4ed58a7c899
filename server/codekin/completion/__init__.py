"""Completions: the repository model, generators grounded in it, filters, and the flow from key to ghost text.

Importing this package loads nothing; its modules bring numpy. It knows nothing of HTTP or of editors.
"""
