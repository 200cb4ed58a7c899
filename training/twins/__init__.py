"""Twins: one small program said in several languages."""
