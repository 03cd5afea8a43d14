"""Whatever stands in DATABASE_URL works or is one sentence; a database that stops answering is one sentence too."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from arena import Service, Store, create, votes_frame
from arena.__main__ import main
from arena.address import POOLERS, database
from arena.errors import ArenaError, StoreError
from tests.arena_canned import answers, both
from tests.arena_postgres import free_port, new_database

pytest_plugins = ["tests.arena_fixtures"]


@pytest.mark.parametrize(
    "url",
    [
        "postgres://tw:secret@host:5432/tw",
        "POSTGRESQL://tw:secret@host:5432/tw",
        "postgresql+asyncpg://tw:secret@host:5432/tw",
        "postgresql+psycopg2://tw:secret@host:5432/tw?pgbouncer=true&connection_limit=1",
        '  "postgresql://tw:secret@host:5432/tw"\n',
        "'postgresql://tw:secret@host:5432/tw'",
    ],
)
def test_every_way_to_write_one_postgresql_is_that_postgresql(url):
    address = database(url)
    assert (address.drivername, address.username, address.password) == ("postgresql+psycopg", "tw", "secret")
    assert (address.host, address.port, address.database) == ("host", 5432, "tw")
    assert dict(address.query) == {"connect_timeout": "10"}


@pytest.mark.parametrize(
    ("written", "password"),
    [("p@ss@word", "p@ss@word"), ("p%40ss", "p@ss"), ("a#b/c?d", "a#b/c?d"), ("100%", "100%"), ("a:b", "a:b"), ("", ""), ("ü", "ü")],
)  # fmt: skip
def test_a_password_is_read_as_it_is_meant(written, password):
    address = database(f"postgresql://tw:{written}@host:5432/tw?sslmode=require")
    assert (address.username, address.password, address.host) == ("tw", password, "host")
    assert address.query["sslmode"] == "require"
    assert password == "" or password not in str(address)


@pytest.mark.parametrize("option", sorted(POOLERS))
def test_what_is_told_to_other_drivers_of_a_pooler_is_left_out(option):
    assert dict(database(f"postgresql://tw@db/tw?sslmode=require&{option}=1").query) == {
        "connect_timeout": "10",
        "sslmode": "require",
    }


def test_options_of_other_drivers_are_translated():
    assert database("postgresql://h/tw?ssl=true").query["sslmode"] == "require"
    assert database("postgresql://h/tw?schema=votes").query["options"] == "-csearch_path=votes"
    assert database("postgresql:///tw?host=/var/run/postgresql").query["host"] == "/var/run/postgresql"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:5432/tw", "is none: write postgresql://"),
        ("DATABASE_URL=postgres://a@b/c", "is none: write postgresql://"),
        ("psql 'postgresql://tw:secret@h/c'", "is none: write postgresql://"),
        ("postgresql://tw:secret@host:port/tw", "is none: write postgresql://"),
        (
            "postgresql://tw:secret@127.0.0.1:1/tw?color=red",
            "the option 'color', which PostgreSQL does not know",
        ),
        ("postgresql://tw:secret@127.0.0.1:1/tw", "does not answer .*start it, or check its address"),
        ("postgresql+asyncpg://tw:p@ss@word@127.0.0.1:1/tw?pgbouncer=true", "does not answer"),
        ("mysql://tw@127.0.0.1/tw", "speaks of mysql, but votes live in PostgreSQL or SQLite"),
        ("jdbc:postgresql://127.0.0.1/tw", "speaks of jdbc:postgresql"),
        ("oracle+cx_oracle://tw@127.0.0.1/tw", "speaks of oracle"),
        ("tw", "is none: write postgresql://"),
        ("http://127.0.0.1/tw", "speaks of http"),
        ("sqlite://", "is gone with the app"),
        ("sqlite:///:memory:", "is gone with the app"),
        ("sqlite:///file:x?mode=memory&uri=true", "is gone with the app"),
        ("sqlite://votes.sqlite3", "has two slashes: write sqlite:///votes.sqlite3"),
        ("sqlite:////no/such/folder/a.sqlite3", "The folder /no/such/folder of the database is not there"),
        ("sqlite:////tmp", "The database /tmp is a folder"),
        ("sqlite:////proc/votes.sqlite3", "cannot be opened: allow reading and writing"),
        ("postgresql:///tw?host=127.0.0.1&port=1&user=tw&password=secret", "does not answer"),
        ("postgresql://tw:secret@127.0.0.1:1,127.0.0.1:2/tw", "does not answer"),
        ("host=127.0.0.1 port=1 user=tw password=secret", "is none: write postgresql://"),
        ("postgresql://tw:secret@127.0.0.1:1/tw?port=x", "cannot be used"),
        (f"postgresql://tw:secret@{'a' * 80}/tw", "cannot be used"),
        ("sqlite:////tmp/votes.sqlite3?timeout=x", "cannot be used"),
    ],
)
def test_what_does_not_work_is_one_sentence_and_exit_code_2(url, message, capsys, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", url)
    assert main(["ranking"]) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1 and told.startswith("error: The ") and told.endswith(".\n")
    assert "secret" not in told and "word" not in told.replace("user:password", "")
    with pytest.raises(StoreError, match=message):
        Store()


@pytest.mark.parametrize("url", ["", "  "])
def test_an_empty_setting_is_none(url, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert main(["ranking"]) == 0
    assert (tmp_path / "tradewind" / "arena.sqlite3").is_file()


def test_several_hosts_stand_in_for_each_other_and_a_password_among_the_options_is_hidden():
    address = database("postgresql://tw:secret@one:5432,two:5433/tw?target_session_attrs=read-write")
    assert address.query["host"] == ("one:5432", "two:5433") and address.database == "tw"
    address = database("postgresql:///tw?host=/cloudsql/a:b:c&user=tw&password=s%40cret")
    assert (address.username, address.password, address.query["host"]) == ("tw", "s@cret", "/cloudsql/a:b:c")
    assert "s@cret" not in str(address) and "password" not in address.query


def test_a_file_beside_you_and_one_in_your_home_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (
        Store("sqlite:///beside.sqlite3"),
        Store("sqlite:///~/home.sqlite3"),
        Store(f"sqlite+aiosqlite:///{tmp_path}/other.sqlite3"),
    )
    assert {path.name for path in tmp_path.glob("*.sqlite3")} == {
        "beside.sqlite3",
        "home.sqlite3",
        "other.sqlite3",
    }


@pytest.mark.slow
def test_the_app_says_one_sentence_too():
    done = subprocess.run(
        [sys.executable, "app.py", "--port", str(free_port())], cwd=Path(__file__).parents[3], capture_output=True, text=True,
        env=os.environ | {"DATABASE_URL": "postgresql://tw:secret@127.0.0.1:1/tw"},
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "does not answer" in done.stderr and "secret" not in done.stderr


def judged(store):
    create(store, "Set", answers(40), repeats=0.0)
    service = Service(store, votes_a_minute=1000)
    return service, service.next("Ada")


def stored(url):
    with Store(url).read() as session:
        return len(votes_frame(session))


def test_no_vote_is_told_as_stored_on_a_full_disk(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.sqlite3'}"
    store = Store(url)
    service, shown = judged(store)
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    store.engine.dispose()
    from sqlalchemy import event

    event.listen(
        store.engine,
        "connect",
        lambda connection, record: connection.execute(f"PRAGMA max_page_count={pages}"),
    )
    told = 0
    with pytest.raises(StoreError, match="is full, and nothing was stored: make room"):
        for _ in range(120):
            shown = service.next("Ada")
            service.vote(shown.battle, "Ada", both("a", "b"), "x" * 1000)
            told += 1
    assert 0 < told == stored(url)


def test_no_vote_is_told_as_stored_where_nothing_may_be_written(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.sqlite3'}"
    service, shown = judged(Store(url))
    from sqlalchemy import event

    event.listen(
        service.store.engine, "connect", lambda connection, record: connection.execute("PRAGMA query_only=1")
    )
    service.store.engine.dispose()
    with pytest.raises(StoreError, match="cannot be written, and nothing was stored: allow writing"):
        service.vote(shown.battle, "Ada", both("a", "b"))
    assert stored(url) == 0


@pytest.mark.parametrize(
    "damage", [b"no database at all, but long enough to be looked at" * 40, b"\x00" * 50_000]
)
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    path = tmp_path / "a.sqlite3"
    judged(Store(f"sqlite:///{path}"))
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    path.write_bytes(
        damage if damage.startswith(b"no") else whole[:100] + damage + whole[100 + len(damage) :]
    )
    with pytest.raises(ArenaError, match="is no SQLite database|is damaged"):
        store = Store(f"sqlite:///{path}")
        Service(store).next("Ada")


def test_a_server_that_goes_away_is_one_sentence_and_what_was_told_is_there_when_it_comes_back(postgres):
    url = new_database(postgres)
    service, shown = judged(Store(url))
    service.vote(shown.battle, "Ada", both("a", "b"))
    shown = service.next("Ada")
    name = url.rsplit("/", 1)[1]
    other = Store(new_database(postgres))

    def allow(whether: bool) -> None:
        with other.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {whether}"))
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
                {"name": name},
            )

    allow(False)
    for ask in (
        lambda: service.vote(shown.battle, "Ada", both("a", "b")),
        lambda: service.next("Ada"),
        lambda: service.judged("Ada"),
    ):
        with pytest.raises(StoreError, match="does not answer .*: nothing was stored"):
            ask()
    allow(True)
    assert stored(url) == 1
    service.vote(shown.battle, "Ada", both("a", "b"))
    assert stored(url) == 2


@pytest.mark.parametrize("name", ["my votes", "a#b?c=d", "100%", "a@b:c", "ünï 😀", "it's", "a;b&c"])
def test_votes_may_lie_in_a_folder_of_any_name(tmp_path, monkeypatch, name):
    """As on macOS, where all of them lie below “Application Support”."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("TRADEWIND_DATA", str(tmp_path / name))
    Store().close()
    assert (tmp_path / name / "arena.sqlite3").stat().st_size > 0
    if "?" not in name:  # where the options of a URL begin
        url = f"sqlite:///{tmp_path / name / 'other.sqlite3'}"
        Store(url).close()
        assert (tmp_path / name / "other.sqlite3").stat().st_size > 0


def test_a_home_is_where_votes_may_lie(tmp_path, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TRADEWIND_DATA", "~/votes")
    Store().close()
    assert (tmp_path / "votes" / "arena.sqlite3").is_file()
    assert database("sqlite:///~nosuchuser.sqlite3").database == "~nosuchuser.sqlite3"
