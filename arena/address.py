"""The address of the votes: makes a working database URL of what a person gives, or a sentence that says why
not.
"""

import re
from urllib.parse import quote, unquote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from arena.errors import StoreError
from common.folders import expanded

EXAMPLES = "write postgresql://user:password@host:5432/name, or sqlite:////folder/votes.sqlite3"
POOLERS = {
    "pgbouncer",
    "connection_limit",
    "pool_timeout",
    "statement_cache_size",
    "prepared_statement_cache_size",
}
"""Options that tell other drivers that a pooler stands before the server."""
_PARTS = re.compile(
    r"(?P<scheme>[\w+.:-]+?)://(?:(?P<user>[^:@/?]*)(?::(?P<password>.*))?@)?(?P<rest>[^@]*)", re.DOTALL
)
_FILE = re.compile(r"sqlite3?(?:\+\w+)?://(?P<rest>.*)", re.IGNORECASE)
"""On one line: a file's path may hold whatever else there is."""


def database(url: str) -> URL:
    """The URL as SQLAlchemy and psycopg take it: quotes and spaces around it, `postgres://`, other drivers of
    the two databases, other drivers' options, a password with @, #, / or % in it, and whatever letters are in
    the path of a file are understood. Raises StoreError.
    """
    bare = url.strip().strip("'\"").strip()
    if file := _FILE.fullmatch(bare):
        return _sqlite(bare, file["rest"])
    match = _PARTS.fullmatch(bare)
    if match is None or any(character.isspace() for character in bare):
        raise StoreError(f"The database URL {_hidden(bare)!r} is none: {EXAMPLES}.")
    kind = match["scheme"].lower().partition("+")[0]
    if kind in ("postgres", "postgresql"):
        return _postgresql(bare, match)
    raise StoreError(
        f"The database URL speaks of {kind}, but votes live in PostgreSQL or SQLite: {EXAMPLES}."
    )


def pooled(url: str) -> bool:
    """Whether the URL says that a pooler, which may hand a statement to another server, stands between."""
    return any(f"{option}=" in url for option in POOLERS) or "pooler." in url


def _postgresql(url: str, match: re.Match[str]) -> URL:
    from psycopg import pq

    who = "" if match["user"] is None else quote(unquote(match["user"]), safe="")
    if match["password"] is not None:
        who += ":" + quote(unquote(match["password"]), safe="")
    hosts, rest = _hosts(match["rest"])
    address = _parsed(f"postgresql+psycopg://{who + '@' if who else ''}{rest}", url)
    query = hosts | {name: value for name, value in address.query.items() if name not in POOLERS}
    if "user" in query:
        address = address.set(username=str(query.pop("user")))
    if "password" in query:  # in its own place it is told to nobody
        address = address.set(password=str(query.pop("password")))
    if query.pop("ssl", "false") in ("true", "require", "1"):
        query.setdefault("sslmode", "require")
    if schema := query.pop("schema", None):
        query["options"] = f"-csearch_path={schema}"
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    if strange := sorted(set(query) - known):
        raise StoreError(
            f"The database URL has the option {strange[0]!r}, which PostgreSQL does not know: remove it."
        )
    return address.set(query={"connect_timeout": "10", **query})


def _hosts(rest: str) -> tuple[dict[str, tuple[str, ...]], str]:
    """Several hosts that stand in for each other (host1:5432,host2:5432), as the options that psycopg takes,
    and the rest of the URL without them.
    """
    hosts = re.match("[^/?]*", rest)
    assert hosts is not None  # it may be empty
    return ({"host": tuple(hosts[0].split(","))}, rest[hosts.end() :]) if "," in hosts[0] else ({}, rest)


def _sqlite(url: str, rest: str) -> URL:
    if ":memory:" in rest or "mode=memory" in rest or rest.strip("/") == "":
        raise StoreError(
            f"The database {url} is gone with the app, and the votes with it: give a file, as sqlite:///votes.sqlite3."
        )
    if not rest.startswith("/"):
        raise StoreError(
            f"The database URL {url} has two slashes: write sqlite:///{rest} for a file beside you, four for a whole path."
        )
    address = _parsed(f"sqlite://{rest}", url)
    file = expanded(address.database or "")
    if file.is_dir():
        raise StoreError(f"The database {file} is a folder: give a file in it, as {file / 'votes.sqlite3'}.")
    if not str(file).startswith("file:") and not file.parent.is_dir():
        raise StoreError(
            f"The folder {file.parent} of the database is not there: create it, or give another file."
        )
    return address.set(database=str(file))


def _parsed(address: str, url: str) -> URL:
    try:
        return make_url(address)
    except (ArgumentError, ValueError):
        raise StoreError(f"The database URL {_hidden(url)!r} is none: {EXAMPLES}.") from None


def unusable(url: str, why: Exception) -> StoreError:
    """A driver's objection to a URL, found without asking a server; empty where it has none."""
    return StoreError(f"The database URL {_hidden(url)!r} cannot be used ({str(why)[:100]}): {EXAMPLES}.")


def _hidden(url: str) -> str:
    """The URL without its password."""
    return re.sub(r"password=[^\s&]*", "***", re.sub(r"(://[^:/]*:).*@", r"\1***@", url))[:120]
