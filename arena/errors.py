"""The errors a caller must tell apart. Every message names cause and remedy, and is fit for the page."""

from collections.abc import Iterator
from contextlib import contextmanager


class ArenaError(ValueError):
    """An input or a request the arena refuses.
    field: the field of a form that holds what is refused, if one does.
    """

    field: str | None = None


@contextmanager
def of_field(field: str) -> Iterator[None]:
    """Marks errors raised within as being about a field."""
    try:
        yield
    except ArenaError as error:
        error.field = error.field or field
        raise


class StoreError(ArenaError):
    """The database cannot be opened, or does not answer; what was asked of it is not reported as done."""


class SchemaError(ArenaError):
    """The database was made by another version of the schema."""


class UnknownBattle(ArenaError):
    """The battle does not exist, or was never shown to this annotator."""


class NotServed(ArenaError):
    """The study is not there, not open, or not for this person."""


class QuestionsChanged(ArenaError):
    """The questions were edited since the battle was shown."""


class AlreadyVoted(ArenaError):
    """The annotator has another vote on this battle."""


class TooFast(ArenaError):
    """More votes in a minute than a person can give with care."""


class TooLate(ArenaError):
    """The minute in which a vote can be undone is over."""
