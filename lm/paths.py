"""Where Tradewind keeps what it downloads, converts and trains."""

import logging
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from common.folders import expanded, temporary

log = logging.getLogger(__name__)


def cache_folder(*parts: str) -> Path:
    """A folder under $TRADEWIND_CACHE (default: the user's cache folder, or a temporary one where that cannot
    be written), made if it is missing. Raises OSError where it cannot be.
    """
    chosen = os.environ.get("TRADEWIND_CACHE")
    base = (
        expanded(chosen) if chosen else _users_cache(os.environ.get("XDG_CACHE_HOME"), os.environ.get("HOME"))
    )
    folder = base.joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"The cache {folder} cannot be written ({error.strerror}): set TRADEWIND_CACHE to another folder."
        ) from None
    return folder


def lab_folder(model_hash: str, *parts: str) -> Path:
    """A folder of what was made here for one model: its vectors, reward heads, checkpoints and front."""
    return cache_folder("labs", model_hash, *parts)


@cache
def _users_cache(xdg: str | None, home: str | None) -> Path:
    """xdg, home: of the environment; what it says now is asked once."""
    try:
        folder = (Path(xdg) if xdg else Path.home() / ".cache") / "tradewind"
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return folder
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        folder = temporary()
        log.warning(
            "the cache folder cannot be written (%s): "
            "%s serves until it is emptied; set TRADEWIND_CACHE to a folder that stays",
            error,
            folder,
        )
        return folder


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to be written beside `path`, which takes its place at once when it is whole, or not at all. Raises
    OSError, of `path`, where none can be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        part.touch()
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        if part.exists():  # on a read-only disk even to delete nothing is refused
            part.unlink()
