"""The store: schema version, journal modes, UTC, transactions, on SQLite and PostgreSQL."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from arena import OPENING, Service, store, votes_frame
from arena.address import database
from arena.errors import SchemaError, StoreError
from arena.schema import Annotator, Base, Battle, Vote
from arena.store import Store, default_url
from tests.arena_canned import Clock, both, fill

pytest_plugins = ["tests.arena_fixtures"]


def test_the_migrations_make_the_schema_of_the_models(store):
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


@pytest.mark.parametrize("migrate", [False, True])
def test_a_database_of_an_unknown_version_is_refused(url, migrate):
    with Store(url).write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError, match="schema version 9999, not 0005.*Use the version of Tradewind"):
        Store(url, migrate=migrate)


OLD_VOTES = [
    (1, "b1", 1, "a", "tie", "as =1+1", 1.5, "2026-01-31 12:00:00", False, None),
    (2, "b1", 2, "b", "skip", "", 2.5, "2026-01-31 12:01:00", True, None),
    (3, "b2", 1, "both_bad", "b", "", 3.5, "2026-01-31 12:02:00", False, "2026-01-31 12:02:30"),
]


def old_database(url, revision="0002"):
    """A database as an earlier version made it, with votes: one a correction, one taken back."""
    engine = store.Store.__new__(store.Store)
    address = database(url)
    engine.engine = store._sqlite(address, "WAL") if url.startswith("sqlite") else create_engine(address)
    with engine.engine.connect().execution_options(arena_write=True) as connection, connection.begin():
        config = Config()
        config.set_main_option("script_location", str(store._MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for table, rows in {
            "annotators": [
                (1, "ada", "Ada", "2026-01-31 12:00:00"),
                (2, "bob", "Bob", "2026-01-31 12:00:00"),
            ],
            "policies": [("x", "{}"), ("y", "{}")],
            "sets": [("s1", "Set", "Guide", 3, "2026-01-31 12:00:00")],
            "runs": [("r1", "x", "p", "one", None, "{}"), ("r2", "y", "p", "two", None, "{}")],
            "battles": [
                ("b1", "s1", "plain", "r1", "r2", None, None),
                ("b2", "s1", "repeat", "r2", "r1", "b1", None),
            ],
            "showings": [
                ("b1", 1, "2026-01-31 12:00:00"),
                ("b1", 2, "2026-01-31 12:00:00"),
                ("b2", 1, "2026-01-31 12:00:00"),
            ],
            "votes": OLD_VOTES,
        }.items():
            for row in rows:
                names = [f"v{number}" for number in range(len(row))]
                sql = text(f"INSERT INTO {table} VALUES ({', '.join(':' + name for name in names)})")
                connection.execute(sql, dict(zip(names, row, strict=True)))
    engine.engine.dispose()


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_an_older_database_is_migrated_without_losing_a_vote(url, revision):
    """PostgreSQL's when asked, a file as it is opened."""
    old_database(url, revision)
    if url.startswith("postgresql"):
        with pytest.raises(
            SchemaError, match=f"schema version {revision}, not 0005.*python -m arena migrate"
        ):
            Store(url)
    with Store(url, migrate=True).read() as session:
        assert len(session.scalar(text("SELECT value FROM secrets"))) == 64
        votes = session.scalars(select(Vote).order_by(Vote.id)).all()
        assert [
            (
                vote.id,
                vote.battle_id,
                vote.annotator_id,
                vote.answers,
                vote.comment,
                vote.seconds,
                vote.revised,
            )
            for vote in votes
        ] == [(*row[:3], both(row[3], row[4]), row[5], row[6], row[8]) for row in OLD_VOTES]
        assert [vote.undone_at is not None for vote in votes] == [False, False, True]
        assert [(question.key, question.text) for question in votes[0].battle.set.questions] == [
            (question.key, question.text) for question in OPENING
        ]
        frame = votes_frame(session)
    assert frame[["helpful", "harmless", "revised"]].values.tolist() == [
        ["a", "tie", False],
        ["b", "skip", True],
    ]
    again = Service(Store(url), votes_a_minute=100)
    shown = again.next("Ada")
    again.vote(shown.battle, "Ada", both("a", "a"))


def test_an_older_file_leaves_a_copy_as_it_was_and_only_once(tmp_path, caplog):
    file = tmp_path / "votes.sqlite3"
    old_database(f"sqlite:///{file}")
    Store(f"sqlite:///{file}").close()
    assert [record.getMessage() for record in caplog.records] == [
        f"The votes go from schema version 0002 to 0005; a copy as they were is {file}.0002."
    ]
    with closing(sqlite3.connect(f"{file}.0002")) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchone() == ("0002",)
        assert copy.execute("SELECT * FROM votes ORDER BY id").fetchall() == [
            (*row[:8], int(row[8]), row[9]) for row in OLD_VOTES
        ]
    Path(f"{file}.0002").unlink()
    Store(f"sqlite:///{file}").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["votes.sqlite3"]


def test_an_older_file_that_cannot_be_copied_is_left_as_it_was(tmp_path):
    file = tmp_path / "votes.sqlite3"
    old_database(f"sqlite:///{file}")
    Path(f"{file}.0002").mkdir()
    with pytest.raises(StoreError, match="cannot be copied .*nothing was changed"):
        Store(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as old:
        assert old.execute("SELECT version_num FROM alembic_version").fetchone() == ("0002",)
    assert not list(tmp_path.glob("*.part"))


def test_replicas_that_open_an_older_file_together_migrate_it_once(tmp_path):
    address = f"sqlite:///{tmp_path / 'votes.sqlite3'}"
    old_database(address)
    with ThreadPoolExecutor(4) as pool:
        assert [store.version for store in pool.map(lambda _: Store(address), range(4))] == ["0005"] * 4
    with closing(sqlite3.connect(tmp_path / "votes.sqlite3.0002")) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchone() == ("0002",)


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
    assert Store(url).version == "0005"


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
    assert str(default_url()) == f"sqlite:///{tmp_path / 'data' / 'tradewind' / 'arena.sqlite3'}"
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

    def add(value):
        with store.write() as session:
            vote = Vote(battle_id=battle, annotator_id=1, comment="", seconds=1.0, voted_at=Clock()())
            vote.answer(both(value, "tie"), session.get(Battle, battle).set)
            session.add(vote)

    with pytest.raises(IntegrityError):
        add("c")
    add("a")
    with pytest.raises(IntegrityError):
        add("b")
