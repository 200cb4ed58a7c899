"""The shared process: answers every editor window and terminal, holds the models once.

This file and `client` stay light: a window imports them without any of the rooms that the
daemon itself loads.
"""
