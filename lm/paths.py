"""Where Tradewind keeps what it downloads, converts and trains."""

import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """A folder under $TRADEWIND_CACHE (default: the user's cache folder), made if it is missing."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("TRADEWIND_CACHE") or Path(base) / "tradewind").joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
