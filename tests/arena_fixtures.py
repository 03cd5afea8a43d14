"""Stores for the arena's tests: a plugin of the modules that use them. A database is set up once and copied for each test,
which finds it as a start of the app leaves it.
"""

import shutil
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


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file as it is after set-up."""
    file = tmp_path_factory.mktemp("fresh") / "arena.sqlite3"
    Store(f"sqlite:///{file}", journal="DELETE").close()
    return file


@pytest.fixture(scope="session")
def template(postgres: str) -> str:
    """The name of a PostgreSQL database as it is after set-up."""
    url = new_database(postgres)
    Store(url).close()
    return url.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store in either kind of database."""
    yield from either(request, tmp_path, "fresh", "template")


def either(request: pytest.FixtureRequest, folder: Path, file: str, template: str) -> Iterator[Store]:
    """A store in the kind of database that a test is of, copied from the fixture of an SQLite file or from that of
    the name of a PostgreSQL database.
    """
    if request.param == "sqlite":
        url = copied(request.getfixturevalue(file), folder / "arena.sqlite3")
    else:
        url = new_database(request.getfixturevalue("postgres"), request.getfixturevalue(template))
    opened = Store(url)
    yield opened
    opened.close()


@pytest.fixture
def lite(fresh: Path, tmp_path: Path) -> Iterator[Store]:
    """An SQLite store, for what does not depend on the database."""
    opened = Store(copied(fresh, tmp_path / "lite.sqlite3"))
    yield opened
    opened.close()


def copied(file: Path, to: Path) -> str:
    """The URL of a copy of an SQLite file."""
    shutil.copyfile(file, to)
    return f"sqlite:///{to}"
