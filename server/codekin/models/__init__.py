"""The models: catalogue, files, memory, embedders and generators, here or on a server.

This face loads nothing: `loading` brings torch, and what imports it names that boundary.
"""
