"""Night school: learns a workspace's own code, proves that it helped, and keeps the way back.

Knows models and indexes; nothing of editors, HTTP or terminals.
"""
