"""Programs that start as forks of one process, which has imported what they all import."""

import os
import runpy
import sys
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path

_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["app"])


class Fork:
    """A Python file that runs as `python FILE ARGUMENTS` would run it; what it prints goes to the log."""

    def __init__(self, file: Path, arguments: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self._process = _FORKS.Process(
            target=_run, args=(file, arguments, log, dict(environment)), daemon=True
        )
        self._process.start()

    def poll(self) -> int | None:
        """The code that it ended with."""
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float) -> None:
        self._process.join(timeout)


def _run(file: Path, arguments: list[str], log: Path, environment: dict[str, str]) -> None:
    with log.open("w") as out:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(out.fileno(), stream.fileno())
    os.chdir(file.parent)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [str(file), *arguments]
    runpy.run_path(str(file), run_name="__main__")
