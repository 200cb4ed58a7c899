"""Next edits: the places where the last edit must be carried on, and what they become; no model is needed.

Importing this package loads nothing.
"""
