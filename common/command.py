"""The command that a process runs, as a person would type it, the folder that it runs in, and its errors."""

import errno
import os
import shlex
import sys
from collections.abc import Callable
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


def exit_code(command: Callable[[], None], mendable: type[Exception] = ValueError) -> int:
    """Runs a command. Returns 0, or 2 after one sentence on stderr where it raises an error that the caller
    can mend: a ValueError, an OSError or `mendable`.
    """
    try:
        command()
        sys.stdout.flush()
    except (ValueError, mendable) as error:
        sentence = str(error)
    except BrokenPipeError:  # the reader has closed our output, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        sentence = _described(error)
    else:
        return 0
    print(f"error: {sentence}", file=sys.stderr)
    return 2


def _described(error: OSError) -> str:
    """An operating system's error in one sentence, with its remedy."""
    if error.strerror is None:
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "free some space; the last state that was kept is whole" if full else "check the path"
    return f"{where}{error.strerror}: {remedy}."
