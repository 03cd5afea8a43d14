"""Checkpoints that visitors name on the hub: fetched as anybody may, and kept as long as there is room."""

import os
import shutil
import threading
from pathlib import Path

from lm.paths import cache_folder
from pareto.checkpoint import MAX_BYTES, fetch

MAX_KEPT = 4 * MAX_BYTES
"""Bytes of all of them; the one that was asked for longest ago goes first."""
_turn = threading.Lock()


def fetch_public(name: str) -> Path:
    """A folder of a hub id ("owner/name") that needs no token to be read: the owner's stays out of what
    visitors name.

    Raises CheckpointError.
    """
    folder = cache_folder("visitors") / name.replace("/", "--")
    with _turn:
        path = fetch(name, token=False, cache=folder)
        os.utime(folder)
        _make_room(folder)
    return path


def _make_room(newest: Path) -> None:
    kept = sorted(newest.parent.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    total = 0
    for folder in kept:
        total += sum(
            file.lstat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()
        )
        if total > MAX_KEPT and folder != newest:
            shutil.rmtree(folder)
