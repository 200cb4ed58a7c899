"""Puts this folder on the import path, so that tests can share `fakes`; a data folder with daemons of its own."""

import pytest

from daemons import private_data


@pytest.fixture
def data(monkeypatch):
    """A data folder with daemons of its own."""
    with private_data(monkeypatch) as folder:
        yield folder
