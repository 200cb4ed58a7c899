"""Trains a head, a LoRA adapter or the full encoder."""
