"""Which tests are of which tier: `pytest -m unit` is the one for every day; and what processes that share them share."""

import os
from pathlib import Path

import pytest

WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:  # threads of decoding wait for each other: more of them than cores stand still
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))

FOLDERS = {"unit": "unit", "real": "real", "web": "web"}
SLOW = {"test_style", "test_step", "test_install", "test_front"}
"""Modules of tests/unit that run other tools, compile PyTorch's graphs, or build a package."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        tier = Path(item.path).relative_to(Path(__file__).parent).parts[0]
        if tier == "unit" and _slow(item):
            tier = "slow"
        item.add_marker(getattr(pytest.mark, FOLDERS.get(tier, tier)))


def _slow(item: pytest.Item) -> bool:
    names = (*getattr(item, "fixturenames", ()), item.name)
    return (
        Path(item.path).stem in SLOW
        or item.get_closest_marker("slow") is not None
        or any("postgres" in name for name in names)
    )
