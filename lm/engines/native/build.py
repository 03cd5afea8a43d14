"""Compiles engine.c and its headers once for this machine's processor, and keeps the library."""

import ctypes
import os
import platform
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

from common import digests
from lm.paths import cache_folder, replacing

SOURCE = Path(__file__).with_name("engine.c")
FLAGS = ("-O3", "-shared", "-fPIC", "-std=gnu11", "-pthread")
TUNINGS: tuple[tuple[str, ...], ...] = (("-march=native",), ("-mcpu=native",), ())
"""Tried in turn: Apple's clang refuses the first for some processors and takes the second."""
MAX_SECONDS = 300


class NoCompiler(RuntimeError):
    """The engine cannot be built or loaded here; models run in PyTorch. The message says why and what to do."""


def compiler() -> str | None:
    """Path of the C compiler: $CC, or the first of gcc, clang, cc on the PATH."""
    names = (os.environ.get("CC"), "gcc", "clang", "cc")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@cache
def library() -> ctypes.CDLL:
    """The compiled engine. Raises NoCompiler with the remedy where it cannot be built or loaded."""
    return load(SOURCE)


def load(source: Path) -> ctypes.CDLL:
    """The library of a C file that may include the engine's headers, built where the cache does not hold it.

    A failure is kept too, and tried again when the compiler or the sources change.
    """
    cc = compiler()
    if cc is None:
        raise NoCompiler("No C compiler is on the PATH: install gcc or clang for fast decoding on CPU.")
    target = cache_folder("native") / f"{source.stem}-{_key(cc, source)}.so"
    failure = target.with_suffix(".failed")
    if failure.exists():
        raise NoCompiler(_remedy(cc, failure.read_text("utf-8"), failure))
    if not target.exists():
        _build(cc, source, target, failure)
    try:
        return ctypes.CDLL(str(target))
    except OSError as error:  # a cache that is mounted noexec, or a library of another system
        raise NoCompiler(
            f"The compiled engine cannot be loaded ({error}): "
            "set TRADEWIND_CACHE to a folder where programs may run, or delete that file."
        ) from None


def _build(cc: str, source: Path, target: Path, failure: Path) -> None:
    try:
        with replacing(target) as built:
            _compile(cc, source, built, failure)
    except OSError as error:  # a cache that is read-only or full
        raise NoCompiler(
            f"{cc} cannot build the fast engine ({error}): set TRADEWIND_CACHE to a folder that can be written."
        ) from None


def _compile(cc: str, source: Path, built: Path, failure: Path) -> None:
    errors = ""
    for tuning in TUNINGS:
        command = [cc, *FLAGS, *tuning, str(source), "-o", str(built), "-lm"]
        try:
            done = subprocess.run(
                command, capture_output=True, encoding="utf-8", errors="replace", timeout=MAX_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoCompiler(_remedy(cc, str(error), None)) from None
        if done.returncode == 0 and built.exists() and built.stat().st_size:
            return
        errors = (done.stderr or done.stdout).strip()
    lasting = done.returncode > 0 and "No space left" not in errors
    if lasting:
        with suppress(OSError):  # a cache that is full: the next start tries again
            failure.write_text(errors[-2000:], "utf-8")
    raise NoCompiler(_remedy(cc, errors, failure if lasting else None))


def _remedy(cc: str, errors: str, failure: Path | None) -> str:
    reason = next((line for line in errors.splitlines() if "error" in line), errors[-200:]).strip()
    again = f" It is tried again when the compiler changes, or when {failure} is deleted." if failure else ""
    remedy = f"repair it, or set CC to another compiler.{again}"
    return f"{cc} cannot build the fast engine ({reason or 'no message'}): {remedy}"


def _key(cc: str, source: Path) -> str:
    """Of the sources, the compiler as it is now, its flags and the processor."""
    sources = [source, SOURCE, *sorted(SOURCE.parent.glob("*.h"))]
    program = Path(cc).resolve().stat()
    about = (cc, program.st_mtime_ns, program.st_size, FLAGS, TUNINGS, _processor())
    return digests.short(b"".join(path.read_bytes() for path in sources) + repr(about).encode())


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return platform.machine() + platform.processor() + flags
