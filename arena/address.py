"""The address of the database as people have it, made into one that SQLAlchemy takes, or one sentence."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from arena.errors import ArenaError

DRIVER = "postgresql+psycopg"
POOLER = ("pgbouncer", "schema", "connection_limit", "pool_timeout", "statement_cache_size")
"""What other programs write behind a PostgreSQL address, and libpq does not know."""
FORMS = "Give postgresql://USER:PASSWORD@HOST:PORT/NAME or sqlite:////FOLDER/FILE, or unset it for a file of your own."


def database(text: str) -> URL:
    """The address of a PostgreSQL server, by whichever driver, or of an SQLite file. Raises ArenaError."""
    try:
        address = make_url(text)
    except (ArgumentError, ValueError):
        raise ArenaError(f"DATABASE_URL is no database's address. {FORMS}") from None
    backend = address.drivername.split("+")[0]
    if backend in ("postgres", "postgresql"):
        if "@" in (address.host or ""):
            raise ArenaError(
                "DATABASE_URL has more than one @: write an @ of the password as %40, a slash as %2F, a colon as %3A."
            )
        return address.set(drivername=DRIVER).difference_update_query(POOLER)
    if backend != "sqlite":
        raise ArenaError(
            f"DATABASE_URL is for {backend}, and votes are kept in PostgreSQL or SQLite. {FORMS}"
        )
    if address.database in (None, "", ":memory:"):
        raise ArenaError(f"DATABASE_URL is a database in memory, which forgets all votes at the end. {FORMS}")
    folder = Path(str(address.database)).expanduser().absolute().parent
    if not folder.is_dir():
        raise ArenaError(f"DATABASE_URL is a file in {folder}, which is no folder: make it, or give another.")
    return address.set(drivername="sqlite")
