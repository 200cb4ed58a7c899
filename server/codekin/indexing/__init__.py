"""Keeps the index equal to the working tree: scanning, ignore rules, file watching, the indexer and its process."""
