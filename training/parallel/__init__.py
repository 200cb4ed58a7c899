"""Parallel programs: one small program in several languages."""
