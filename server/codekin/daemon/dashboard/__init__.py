"""The page in a browser: the map of the code, near-duplicates, index status, what was learned.

Served on loopback alone, to whoever brings a one-time token from the daemon's socket. The page asks nobody
else for anything. Knows the daemon's parts; nothing of editors.
"""
