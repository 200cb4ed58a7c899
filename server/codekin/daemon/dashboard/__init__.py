"""The dashboard page: the code map, near-duplicates, index status and fine-tuning history.

Served on loopback only, to holders of a one-time token; the page loads nothing from other hosts.
"""
