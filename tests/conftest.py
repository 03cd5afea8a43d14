"""Which tests are of which tier: `pytest -m unit` is the one for every day."""

from pathlib import Path

import pytest

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
