"""Where Tradewind keeps what it downloads, converts and trains."""

import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """A folder under $TRADEWIND_CACHE (default: the user's cache folder), made if it is missing. Raises OSError
    where it cannot be.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("TRADEWIND_CACHE") or Path(base) / "tradewind").joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"the cache {folder} cannot be written ({error.strerror}): set TRADEWIND_CACHE to another folder"
        ) from None
    return folder
