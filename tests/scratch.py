"""Folders that outlive a test, and not the process that made them."""

import atexit
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp


def scratch(prefix: str) -> Path:
    """A new folder, which is deleted when this process ends, not when a fork of it does."""
    folder, owner = Path(mkdtemp(prefix=prefix)), os.getpid()

    @atexit.register
    def delete() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    return folder
