"""Names for contents: SHA-256 of files and bytes."""

import hashlib
from pathlib import Path


def of_file(path: Path) -> str:
    """64 hex digits of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def short(content: bytes) -> str:
    """16 hex digits, of what is stored beside a result."""
    return hashlib.sha256(content).hexdigest()[:16]


def share(content: bytes) -> float:
    """A number from 0 to 1, uniform over contents and the same on every machine. It decides which part of the
    data something belongs to.
    """
    return int.from_bytes(hashlib.sha256(content).digest()[:4], "big") / 2**32
