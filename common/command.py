"""The command that a process runs, as a person would type it, and the folder that it runs in."""

import os
import shlex
import sys
from pathlib import Path


def typed() -> str:
    """`python -m pareto grid --out ...`, or `tradewind pareto grid --out ...`."""
    program, *arguments = sys.argv
    path = Path(program)
    words = ["python", "-m", path.parent.name] if path.name == "__main__.py" else path.name.split()
    return shlex.join([*words, *arguments])


def require_folder() -> None:
    """Ends the process in one sentence where its current folder is gone: PyTorch and Gradio end in a fault there
    as they are imported.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        print("error: The current folder has been deleted: change to another one with cd.", file=sys.stderr)
        sys.exit(2)
