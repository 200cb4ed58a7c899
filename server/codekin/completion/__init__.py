"""Completions: the repository model, generators grounded in it, filters, and the scheduling of requests.

Importing this package loads nothing; its modules bring numpy.
"""
