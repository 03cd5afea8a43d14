"""DATABASE_URL as people have it: an address that works, or one sentence."""

import pytest

from arena import ArenaError, Store
from arena.address import POOLER, database


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+asyncpg"])
@pytest.mark.parametrize(
    "option", ["", *(f"?{name}=1" for name in POOLER), "?sslmode=require&pgbouncer=true"]
)
def test_postgres_by_whichever_driver(scheme, option):
    address = database(f"{scheme}://tw:p%40ss@db:5432/tw{option}")
    assert (address.drivername, address.host, address.password) == ("postgresql+psycopg", "db", "p@ss")
    assert set(address.query) == ({"sslmode"} if "sslmode" in option else set())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "memory"),
        ("sqlite:///:memory:", "memory"),
        ("sqlite:////no/such/folder/a.sqlite3", "no folder"),
        ("127.0.0.1:5432/tw", "no database's address"),
        ("tw", "no database's address"),
        ("mysql://tw@127.0.0.1/tw", "mysql"),
        ("oracle+cx_oracle://tw@127.0.0.1/tw", "oracle"),
        ("postgresql://tw:p@ss@word@127.0.0.1:1/tw", "%40|does not answer"),
        ("postgresql://tw:secret@127.0.0.1:port/tw", "no database's address"),
        ("postgresql://tw:secret@127.0.0.1:1/tw", "does not answer"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(url, says):
    with pytest.raises(ArenaError, match=says) as caught:
        Store(url)
    told = str(caught.value)
    assert "\n" not in told and told.endswith(".") and "secret" not in told


def test_a_file_that_is_no_database_is_one_sentence(tmp_path):
    (tmp_path / "a.sqlite3").write_text("no database, but a text of some length " * 50)
    with pytest.raises(ArenaError, match="does not answer .*not a database"):
        Store(f"sqlite:///{tmp_path / 'a.sqlite3'}")
