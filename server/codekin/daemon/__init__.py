"""The shared daemon process: serves every editor window and terminal, and holds the models once.

This file and `client` import only light modules, since every window imports them.
"""
