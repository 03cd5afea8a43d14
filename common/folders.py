"""Folders as people write them, and one for a user who has no home."""

import os
import tempfile
from pathlib import Path


def expanded(written: str | Path) -> Path:
    """A path in which `~` is the user's home; as it is where there is no such user, or they have none."""
    try:
        return Path(written).expanduser()
    except RuntimeError:
        return Path(written)


def temporary() -> Path:
    """A folder of this user alone, the same at the next start where the system keeps it."""
    user = getattr(os, "getuid", lambda: "user")()
    folder = Path(tempfile.gettempdir()) / f"tradewind-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
        if folder.is_symlink() or about.st_mode & 0o022 or about.st_uid != user:
            raise PermissionError(f"{folder} belongs to somebody else")
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="tradewind-"))
    return folder
