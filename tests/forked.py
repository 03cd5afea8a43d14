"""Programs that start as forks of one process, which has imported what they all import: most of a start is its imports."""

import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["lab.launch", "lab.__main__", "pareto.__main__", "arena.__main__"])


class Fork:
    """A Python program that runs as `python WORDS` would run it in the checkout.

    words: a file and its arguments, or -m, a module and its arguments. out: the file that it prints to; errors: the
    one for stderr, if that is another; log: the latter.
    """

    def __init__(
        self, words: Sequence[str], out: Path, environment: Mapping[str, str], errors: Path | None = None
    ) -> None:
        self.log, self._out = errors or out, out
        self._process = _FORKS.Process(target=_run, args=(words, out, errors, dict(environment)), daemon=True)
        self._process.start()

    def poll(self) -> int | None:
        """The code that it ended with."""
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float) -> None:
        self._process.join(timeout)

    def ended(self, timeout: float = 600) -> str:
        """What it printed, once it has ended well."""
        self.wait(timeout)
        assert self.poll() == 0, self.log.read_text()[-3000:]
        return self._out.read_text()


def _run(words: Sequence[str], out: Path, errors: Path | None, environment: Mapping[str, str]) -> None:
    with out.open("w") as printed, (errors or out).open("a") as told:
        os.dup2(printed.fileno(), sys.stdout.fileno())
        os.dup2(told.fileno(), sys.stderr.fileno())
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    if words[0] == "-m":
        sys.argv = list(words[1:])
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(words)
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")
