"""Compiles engine.c and its headers once for this machine's processor and caches the library."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from lm.paths import cache_folder

SOURCE = Path(__file__).with_name("engine.c")
FLAGS = ("-O3", "-march=native", "-shared", "-fPIC", "-std=gnu11")


class NoCompiler(RuntimeError):
    """No C compiler was found or it could not build the engine; models then run through transformers."""


def compiler() -> str | None:
    """Path of the C compiler: $CC, or the first of gcc, clang, cc on the PATH."""
    return next(
        (
            found
            for name in (os.environ.get("CC"), "gcc", "clang", "cc")
            if name and (found := shutil.which(name))
        ),
        None,
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    flags = (
        next((line for line in info.read_text().splitlines() if line.startswith(("flags", "Features"))), "")
        if info.exists()
        else ""
    )
    return platform.machine() + platform.processor() + flags


@cache
def library() -> ctypes.CDLL:
    """The compiled engine. Raises NoCompiler with the remedy where it cannot be built."""
    cc = compiler()
    if cc is None:
        raise NoCompiler("no C compiler on the PATH: install gcc or clang for fast decoding on CPU")
    sources = b"".join(path.read_bytes() for path in (SOURCE, *sorted(SOURCE.parent.glob("*.h"))))
    key = hashlib.sha256(sources + " ".join((cc, *FLAGS, _processor())).encode()).hexdigest()[:16]
    target = cache_folder("native") / f"engine-{key}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            built = Path(folder) / target.name
            for openmp in (["-fopenmp"], []):
                done = subprocess.run(
                    [cc, *FLAGS, *openmp, str(SOURCE), "-o", str(built), "-lm"],
                    capture_output=True,
                    text=True,
                )
                if done.returncode == 0:
                    break
            else:
                raise NoCompiler(
                    f"{cc} could not build {SOURCE.name}: {done.stderr.strip().splitlines()[-1:]}"
                )
            built.replace(target)
    return ctypes.CDLL(str(target))
