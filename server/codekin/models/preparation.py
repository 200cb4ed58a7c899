"""Prepares text for the bundled encoder."""


def prepare(text: str) -> str:
    """The text as the encoder reads it."""
    return text
