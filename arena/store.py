"""Where votes live: SQLite by default, PostgreSQL by a URL. Every write is one transaction."""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, TimeoutError
from sqlalchemy.orm import Session

from arena import space
from arena.address import database, pooled, unusable
from arena.errors import ArenaError, SchemaError, StoreError

Journal = Literal["WAL", "DELETE"]

BUSY = 30
"""Seconds that a connection waits for another's write."""
COMPLAINTS = {
    "disk is full": "The disk with the votes ({}) is full, and nothing was stored: make room, then try again.",
    "readonly": "The votes ({}) cannot be written, and nothing was stored: allow writing to the file and its folder.",
    "unable to open": "The file {} cannot be opened: allow reading and writing it and its folder, or set DATABASE_URL to another.",
    "not a database": "The file {} is no SQLite database: restore it from a backup, or set DATABASE_URL to another.",
    "malformed": "The file {} is damaged: restore it from a backup, or save what is left with sqlite3 FILE .recover.",
    "locked": "Another program writes the votes ({}) for long, and nothing was stored: try again in a minute.",
}
"""What SQLite has against a file, and what to do about it."""
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 7_204_115  # any number, the same in every replica
log = logging.getLogger(__name__)


def default_url() -> str | URL:
    """`DATABASE_URL` if set, else that of an SQLite file in the folder for data (never a served one), whatever
    letters are in its path. Raises StoreError.
    """
    if url := os.environ.get("DATABASE_URL", "").strip():
        return url
    folder = space.folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"The folder {folder} for the votes cannot be made ({error.strerror}): set TRADEWIND_DATA to another folder, or DATABASE_URL to a database."
        ) from error
    return URL.create("sqlite", database=str(folder / "arena.sqlite3"))


class Store:
    """An open database of the current schema.

    Parameters
    ----------
    url: SQLAlchemy URL; `postgres://` and `postgresql://` use psycopg. Default: `default_url()`.
    journal: SQLite's journal mode. "WAL" is fast on a local disk; "DELETE", with one persistent connection,
        is the one that is safe on mounted buckets and network folders. Default: `ARENA_JOURNAL`, else
        "DELETE" on what is mounted on a Space, "WAL" elsewhere.
    migrate: bring an older database of PostgreSQL to the current schema. An older file of SQLite always is,
        since a Space has nobody to ask: a copy of it as it was stays beside it.

    Raises SchemaError if the database is of another schema version (an empty one is set up). Raises
    StoreError where it cannot be opened, and from `read` and `write` where it stops answering: nothing is
    then told as stored.
    """

    def __init__(
        self, url: str | None = None, *, journal: Journal | None = None, migrate: bool = False
    ) -> None:
        address = url or default_url()
        try:
            self.url = address if isinstance(address, URL) else database(address)
            self.sqlite = self.url.get_backend_name() == "sqlite"
            self.file = self.url.database if self.sqlite else None
            mounted = self.file is not None and space.mounted(Path(self.file))
            mode = journal or os.environ.get("ARENA_JOURNAL", "DELETE" if mounted else "WAL")
            if mode not in ("WAL", "DELETE"):
                raise StoreError(f"ARENA_JOURNAL is {mode!r}: give WAL or DELETE.")
            # SQLite has one writer at a time and lets the others poll: in one process they queue up instead.
            self._turn = threading.Lock() if self.sqlite else nullcontext()
            self.engine = (
                _sqlite(self.url, mode) if self.sqlite else _postgresql(self.url, pooled(str(address)))
            )
            with self._answering():
                self.version = self._set_up(migrate)
        except ArenaError:
            raise
        except (ArgumentError, ValueError) as error:
            raise unusable(str(address), error) from error

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database throughout."""
        engine = (
            self.engine if self.sqlite else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )
        with self._answering(), Session(engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes are committed, all or none, when the block ends."""
        engine = self.engine.execution_options(arena_write=True)
        with (
            self._answering(),
            self._turn,
            Session(engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turns errors of the database into one sentence."""
        try:
            yield
        except IntegrityError:
            raise
        except (DBAPIError, TimeoutError) as error:
            raise StoreError(self._complaint(error)) from error

    def _complaint(self, error: Exception) -> str:
        cause = str(getattr(error, "orig", None) or error).strip()
        for part, sentence in COMPLAINTS.items():
            if self.sqlite and part in cause:
                return sentence.format(self.url.database)
        first = cause.split("\n")[0].rstrip(".")
        return (
            f"The database {self.url} does not answer ({first}): nothing was stored; start it, or check its address, "
            "rights and disk, then try again."
        )

    def check(self) -> None:
        """Raises an error of the database where it does not answer."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()

    def _set_up(self, migrate: bool) -> str:
        scripts = ScriptDirectory(str(_MIGRATIONS))
        head = scripts.get_current_head()
        with self.engine.connect() as connection:
            version = _version(connection)
            empty = version is None and not inspect(connection).get_table_names()
        known = {script.revision for script in scripts.walk_revisions()}
        if empty or (version in known and version != head and (self.sqlite or migrate)):
            version = self._upgrade(head)
        if version is None or version != head:
            remedy = (
                "Back it up, then run: python -m arena migrate"
                if version in known
                else "Use the version of Tradewind that made it, or another database"
            )
            raise SchemaError(f"The database {self.url} has schema version {version}, not {head}. {remedy}.")
        return version

    def _upgrade(self, head: str | None) -> str | None:
        """Runs the missing migrations in one transaction; replicas that start together take turns."""
        with self.engine.connect().execution_options(arena_write=True) as connection, connection.begin():
            if not self.sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            version = _version(connection)
            if self.sqlite and version not in (None, head):
                copy = self._copy(version)
                log.warning(
                    "The votes go from schema version %s to %s; a copy as they were is %s.",
                    version,
                    head,
                    copy,
                )
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return _version(connection)

    def _copy(self, version: str) -> Path:
        """Copies the file of an older version, since a migration has no way back. Raises StoreError."""
        copy = Path(f"{self.file}.{version}")
        part = copy.with_name(f"{copy.name}.part")
        try:
            with closing(sqlite3.connect(str(self.file))) as old, closing(sqlite3.connect(part)) as new:
                old.backup(new)
            part.replace(copy)
        except (sqlite3.Error, OSError) as error:
            part.unlink(missing_ok=True)
            raise StoreError(
                f"The votes ({self.file}) have schema version {version} and cannot be copied before they are brought up to date "
                f"({error}): nothing was changed; make room beside the file and allow writing there, then start again."
            ) from error
        return copy


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _switch(connection: Any, journal: str) -> None:
    """Sets the journal's mode. SQLite does not wait for other processes here, so replicas that start together
    try again.
    """
    until = time.monotonic() + BUSY
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode={journal}")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _postgresql(url: URL, pooled: bool) -> Engine:
    # a pooler may hand a prepared statement to another server
    settings = {"prepare_threshold": None} if pooled else {}
    return create_engine(url, pool_size=10, pool_pre_ping=True, pool_timeout=10, connect_args=settings)


def _sqlite(url: URL, journal: str) -> Engine:
    pool = (
        {"pool_size": 1, "max_overflow": 0} if journal == "DELETE" else {"pool_size": 20, "max_overflow": 40}
    )
    engine = create_engine(
        url, connect_args={"timeout": BUSY, "check_same_thread": False}, pool_timeout=60, **pool
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        _switch(connection, journal)
        connection.execute("PRAGMA synchronous=FULL")  # a commit outlives a power cut
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("arena_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
