"""How much memory is left for a model."""

from pathlib import Path

import psutil

from lm.sources import SourceError

CGROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Where Linux tells a container's bounds, in its second and first version."""


def available() -> int:
    """Bytes that this process may still take: what the machine has left, or less in a container."""
    return max(0, int(min(psutil.virtual_memory().available, *(_left(*group) for group in CGROUPS))))


def _left(folder: Path, limit: str, usage: str, reclaimable: str) -> float:
    try:
        most = (folder / limit).read_text().strip()
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        used = int((folder / usage).read_text()) - int(stat.get(reclaimable, 0))
    except OSError:
        return float("inf")
    return float("inf") if most == "max" else int(most) - used


def require(name: str, bytes_needed: float) -> None:
    """Raises SourceError where a model needs more memory than there is."""
    have = available()
    if bytes_needed > have:
        raise SourceError(
            f"Model {name!r} needs about {_size(bytes_needed)} of memory to be loaded, "
            f"and {_size(have)} are free: give a smaller model, or free memory."
        )


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
