"""The store: schema version, journal modes, UTC, transactions, on SQLite and PostgreSQL."""

import sqlite3
import threading
from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, StatementError

from arena import store
from arena.errors import SchemaError
from arena.schema import Annotator, Base, Vote
from arena.store import Store, default_url
from tests.arena_canned import Clock, fill

pytest_plugins = ["tests.arena_fixtures"]


def test_the_migrations_make_the_schema_of_the_models(store):
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


@pytest.mark.parametrize("migrate", [False, True])
def test_a_database_of_an_unknown_version_is_refused(url, migrate):
    with Store(url).write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError, match="schema version 9999, not 0002.*Use the version of Tradewind"):
        Store(url, migrate=migrate)


def test_an_older_database_is_migrated_when_asked_and_named_when_not(url):
    older = Store(url)
    with older.write() as session:
        session.execute(text("DROP TABLE secrets"))
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(SchemaError, match="schema version 0001, not 0002.*python -m arena migrate"):
        Store(url)
    with Store(url, migrate=True).read() as session:
        assert len(session.scalar(text("SELECT value FROM secrets"))) == 64


def test_a_database_with_other_tables_is_refused_and_left_alone(tmp_path):
    address = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    opened = Store(address)
    with opened.write() as session:
        session.execute(text("DROP TABLE alembic_version"))
    with pytest.raises(SchemaError, match="schema version None"):
        Store(address)


class Busy:
    """A connection whose file others hold for a while."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    def execute(self, sql: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise sqlite3.OperationalError("database is locked")


def test_the_switch_of_the_journal_waits_for_others(monkeypatch):
    """Two that switch at once, as replicas that start together do, are told at once that the file is locked."""
    busy = Busy(2)
    store._switch(busy, "WAL")
    assert busy.refusals == 0
    monkeypatch.setattr(store, "BUSY", 0)
    with pytest.raises(sqlite3.OperationalError):
        store._switch(Busy(10**6), "WAL")


def test_replicas_that_start_together_set_up_one_schema(url):
    barrier, failures = threading.Barrier(4), []

    def start():
        barrier.wait()
        try:
            Store(url).close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Store(url).version == "0002"


@pytest.mark.parametrize(("journal", "mode"), [("WAL", "wal"), ("DELETE", "delete")])
def test_the_journal_mode_is_the_one_asked_for(tmp_path, journal, mode, monkeypatch):
    monkeypatch.setenv("ARENA_JOURNAL", journal)
    opened = Store(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    with opened.read() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == mode
        assert session.scalar(text("PRAGMA synchronous")) == 2


def test_an_unknown_journal_mode_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ARENA_JOURNAL is 'OFF': give WAL or DELETE"):
        Store(f"sqlite:///{tmp_path / 'a.sqlite3'}", journal="OFF")


def test_the_database_is_outside_the_working_folder_unless_set(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert default_url() == f"sqlite:///{tmp_path / 'data' / 'tradewind' / 'arena.sqlite3'}"
    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere/votes")
    assert default_url() == "postgresql://somewhere/votes"


def test_times_come_back_in_utc_and_naive_ones_are_refused(store):
    moment = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
    with store.write() as session:
        session.add(Annotator(key="ada", name="Ada", created_at=moment))
    with store.read() as session:
        found = session.scalars(select(Annotator)).one().created_at
    assert found == moment
    assert found.utcoffset().total_seconds() == 0
    with pytest.raises(StatementError, match="must have a time zone"), store.write() as session:
        session.add(Annotator(key="bob", name="Bob", created_at=datetime(2026, 1, 31)))


def test_a_write_that_fails_leaves_nothing(store):
    with pytest.raises(RuntimeError), store.write() as session:
        session.add(Annotator(key="ada", name="Ada", created_at=Clock()()))
        session.flush()
        raise RuntimeError
    with store.read() as session:
        assert session.scalars(select(Annotator)).all() == []


def test_the_database_itself_refuses_a_second_vote_and_an_unknown_answer(store):
    fill(store)
    with store.write() as session:
        session.add(Annotator(id=1, key="ada", name="Ada", created_at=Clock()()))
        battle = session.scalar(text("SELECT id FROM battles"))

    def add(helpful):
        with store.write() as session:
            given = {
                "helpful": helpful,
                "harmless": "tie",
                "comment": "",
                "seconds": 1.0,
                "voted_at": Clock()(),
            }
            session.add(Vote(battle_id=battle, annotator_id=1, **given))

    with pytest.raises(IntegrityError):
        add("c")
    add("a")
    with pytest.raises(IntegrityError):
        add("b")
