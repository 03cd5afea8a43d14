"""What a lead does to a study: each act returns the id of the study that is shown next, and a sentence."""

from typing import Any

from arena import example, studies
from arena.errors import ArenaError
from arena.panel.fields import read
from arena.store import Store

Told = tuple[str, str]


def save(store: Store, study: str, *values: Any) -> Told:
    """Saves the values of a study's form. Raises ArenaError, as all of them do."""
    before = studies.detail(store, study)
    name, questions, settings = read(*values)
    studies.rename(store, study, name)
    version = studies.edit(store, study, settings, questions)
    new = version > before.version
    kept = f": its questions are version {version} now, and earlier votes keep theirs" if new else ""
    return study, f"“{name}” is saved{kept}"


def show(store: Store, study: str) -> Told:
    """Opens it to annotators, or closes it."""
    closed = studies.detail(store, study).study.state == "closed"
    studies.show(store, study, closed)
    return study, f"Annotators see its battles {'from now on' if closed else 'no longer'}"


def archive(store: Store, study: str) -> Told:
    """Puts it into the archive, or takes it out."""
    archived = studies.detail(store, study).study.state == "archived"
    studies.archive(store, study, not archived)
    return study, "It is out of the archive" if archived else "It is archived, with all its votes"


def copy(store: Store, study: str) -> Told:
    """A copy of it without votes."""
    name = studies.free_name(store, f"{studies.detail(store, study).study.name[:70]}, copy")
    new = studies.duplicate(store, study, name)
    return new, "The copy has no votes and is closed: open it when it is ready"


def delete(store: Store, study: str, name: str) -> Told:
    """Deletes it, where its name was typed."""
    right = studies.detail(store, study).study.name
    if name.strip() != right:
        raise ArenaError(f"The name is {name.strip()[:80]!r}: type “{right}” to delete this study.")
    counts = studies.delete(store, study)
    return "", f"“{right}” is deleted, with {counts['votes']} votes on {counts['battles']} battles"


def add_example(store: Store, study: str) -> Told:
    """Adds the judgements that ship."""
    return example.add(store), "The example is here: see it under Results"
