"""The tools of the page's JavaScript, which node runs: package.json."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from pareto.grid import locked

ROOT = Path(__file__).parents[1]


def npm() -> str:
    """The program npm; the first process that asks has it install the tools. Where node is not, the test is skipped."""
    program = shutil.which("npm")
    if program is None:
        pytest.skip("node is not installed: apt-get install nodejs npm")
    with locked(Path(tempfile.gettempdir()) / "tradewind-npm.lock"):
        if not (ROOT / "node_modules" / "axe-core").is_dir():
            subprocess.run(
                [program, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=ROOT, check=True
            )
    return program
