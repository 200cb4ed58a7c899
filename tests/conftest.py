"""Puts this folder on the import path, so that tests can share `fakes`; a data folder with daemons of its own."""

import pytest
from hypothesis import HealthCheck, settings

from daemons import private_data
from postgres import empty_databases

settings.register_profile("loaded machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loaded machine")


@pytest.fixture
def data(monkeypatch):
    """A data folder with daemons of its own."""
    with private_data(monkeypatch) as folder:
        yield folder


@pytest.fixture(scope="session")
def new_database():
    """Makes an empty database with the schema of a team's index on a Postgres of this session; gives its address."""
    with empty_databases() as make:
        yield make
