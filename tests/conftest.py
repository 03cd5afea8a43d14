"""Which tests are of which tier: `pytest -m unit` is the one for every day; and how processes share them."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")  # the same examples each time; --hypothesis-profile=default draws new ones
gc.disable()  # until the tests begin: what they import stays
MAX_WORKERS = 4
"""Each takes some 3 GB of memory."""
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKERS > 1:  # threads of decoding wait for each other: more of them than cores stand still
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))

FOLDERS = {"unit": "unit", "real": "real", "web": "web"}
SLOW = {"test_style", "test_step", "test_install", "test_front", "test_fuzz", "test_places", "test_lockstep"}
"""Modules of tests/unit that run other tools, take hundreds of steps in PyTorch, build a package, serve the whole page,
load models again and again, or draw thousands of rows.
"""


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """A process a core for a tier, one more for the suite, since a browser's test waits more than it computes, and
    this one alone for what is picked by path or by word.
    """
    if config.option.numprocesses != "auto":
        return None
    cores = os.cpu_count() or 1
    picked = config.option.file_or_dir or config.option.keyword or config.option.capture == "no"
    return 0 if picked or cores == 1 else min(MAX_WORKERS, cores + (not config.option.markexpr))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> "OneBrowser | None":
    return OneBrowser(config, log) if config.option.dist == "load" else None


class OneBrowser(LoadScopeScheduling):
    """A file of tests is one process's. Those that drive a browser come first, one file after the other while there
    is other work for the other processes.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        driven = any(
            _web(file) and not all(done.values())
            for other, work in self.assigned_work.items()
            if other is not node
            for file, done in work.items()
        )
        chosen = next((file for file in self.workqueue if _web(file) != driven), next(iter(self.workqueue)))
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)


def _web(file: str) -> bool:
    return file.startswith("tests/web/")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The tier for every day reads its own files alone, which is a quarter less to import."""
    return (config.option.markexpr == "unit" and collection_path.name in {"real", "web"}) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and config.option.markexpr != "gpu":
            item.add_marker(pytest.mark.skip("needs a GPU: python -m pytest -m gpu"))
        tier = Path(item.path).relative_to(Path(__file__).parent).parts[0]
        if tier == "unit" and _slow(item):
            tier = "slow"
        item.add_marker(getattr(pytest.mark, FOLDERS.get(tier, tier)))
        if tier == "web":
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_collection_finish() -> None:
    """From here on garbage is collected, and not sought in what was imported."""
    gc.freeze()
    gc.enable()


def _slow(item: pytest.Item) -> bool:
    names = (*getattr(item, "fixturenames", ()), item.name)
    return (
        Path(item.path).stem in SLOW
        or item.get_closest_marker("slow") is not None
        or any("postgres" in name for name in names)
    )
