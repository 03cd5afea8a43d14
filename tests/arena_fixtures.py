"""Stores for the arena's tests: a plugin of the modules that use them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from arena import Store
from tests.arena_postgres import new_database, server


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'arena.sqlite3'}"
    return new_database(request.getfixturevalue("postgres"))


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store(url)
    yield opened
    opened.close()


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Store]:
    """An SQLite store, for what does not depend on the database."""
    opened = Store(f"sqlite:///{tmp_path / 'lite.sqlite3'}")
    yield opened
    opened.close()
