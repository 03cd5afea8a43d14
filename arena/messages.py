"""Messages between the Compare tab and its JavaScript (assets/web/compare)."""

from typing import Any, TypedDict


class Entry(TypedDict):
    """A study in the list, see arena.studies.Study. created_at: the day, as ISO 8601."""

    id: str
    name: str
    state: str
    created_at: str
    battles: int
    done: int
    votes: int
    wanted: int
    people: int
    notice: str


class Board(TypedDict):
    """The list of studies. picked: the id of the one whose progress is in `people`, as JSON records; login:
    whether people sign in.
    """

    studies: list[Entry]
    picked: str
    people: str
    login: bool


class Listing(TypedDict):
    """A table of results, numbers rounded; file: what its CSV is called."""

    title: str
    columns: list[str]
    rows: list[list[Any]]
    file: str
