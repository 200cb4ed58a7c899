"""Keeps the index equal to the working tree: scan, ignore rules, watcher, indexer and its process.

Knows files and events; nothing of how fragments are cut, embedded, stored or searched.
"""
