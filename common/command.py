"""The command that a process runs, as a person would type it."""

import shlex
import sys
from pathlib import Path


def typed() -> str:
    """`python -m pareto grid --out ...`, or `tradewind pareto grid --out ...`."""
    program, *arguments = sys.argv
    path = Path(program)
    words = ["python", "-m", path.parent.name] if path.name == "__main__.py" else path.name.split()
    return shlex.join([*words, *arguments])
