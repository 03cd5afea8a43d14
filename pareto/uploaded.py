"""Checkpoints that visitors upload: a zip, or the files of a folder.
They are unpacked only to be read, and never kept.
"""

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from lm.peft_folder import WEIGHTS as ADAPTER
from pareto.checkpoint import FILES, CheckpointError

MAX_UNPACKED = 64_000_000
"""Bytes of an adapter with its config, card and curves."""
MAX_MEMBERS = 256


@contextmanager
def unpacked(files: Sequence[Path]) -> Iterator[Path]:
    """A folder with what a checkpoint is made of, from one zip or from the files themselves; it ends with the
    block. Raises CheckpointError.
    """
    first = files[0]
    if missing := [file.name for file in files if not file.is_file()]:
        raise CheckpointError(f"{missing[0]} is no longer here: upload it again.")
    with TemporaryDirectory() as place:
        folder = Path(place) / _named(first)
        folder.mkdir()
        if zips := [file for file in files if file.name not in FILES and _is_zip(file)]:
            _unzip(_alone(zips[0], files), folder)
        else:
            _copy(files, folder)
        yield folder


def _named(file: Path) -> str:
    """What an adapter without a card is called."""
    name = "upload" if file.name in FILES else file.stem
    return re.sub(r"[^\w.-]+", "-", name).strip(".-")[:60] or "upload"


def _is_zip(file: Path) -> bool:
    """Whether a file is a zip, by its name or its content."""
    return file.suffix.lower() == ".zip" or zipfile.is_zipfile(file)


def _alone(file: Path, files: Sequence[Path]) -> Path:
    if len(files) > 1:
        raise CheckpointError(
            f"{file.name} is one of {len(files)} files: give a zip alone, or the files of a folder."
        )
    if not zipfile.is_zipfile(file):
        raise CheckpointError(f"{file.name} is no zip, or not all of one: zip the folder anew.")
    return file


def _copy(files: Sequence[Path], folder: Path) -> None:
    for file in files:
        if file.name in FILES:
            shutil.copyfile(file, folder / file.name)
    if not (folder / ADAPTER).exists():
        raise CheckpointError(
            f"{', '.join(file.name for file in files)[:80]} holds no {ADAPTER}: give it with {', '.join(FILES[1:])}, or a zip of the folder."
        )


def _unzip(file: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            for member in _members(file.name, archive.infolist()):
                with (
                    archive.open(member) as packed,
                    (folder / PurePosixPath(member.filename).name).open("wb") as out,
                ):
                    shutil.copyfileobj(packed, out)
    except (
        zipfile.BadZipFile,
        zlib.error,
        LZMAError,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{file.name} cannot be unpacked ({str(error)[:80]}): zip the folder anew, without a password."
        ) from None


def _members(name: str, members: Sequence[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """The files of the zip that are read: the adapter, and the files beside it."""
    if len(members) > MAX_MEMBERS:
        raise CheckpointError(
            f"{name} has {len(members):,} members: give a zip of the checkpoint's folder alone, at most {MAX_MEMBERS}."
        )
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[:1]:
            raise CheckpointError(
                f"{name} has a member {member.filename[:60]!r} outside of its folder: zip it anew."
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise CheckpointError(
                f"{name} has a link, {member.filename[:60]!r}: zip the file that it points to."
            )
    adapters = [member for member in members if PurePosixPath(member.filename).name == ADAPTER]
    depth = min((_depth(member) for member in adapters), default=0)
    adapters = [
        member for member in adapters if _depth(member) == depth
    ]  # a trainer keeps its steps in folders below
    if len(adapters) != 1:
        raise CheckpointError(
            f"{name} holds {len(adapters) or 'no'} {ADAPTER}: give a zip of one checkpoint's folder (pickles are not read)."
        )
    beside = PurePosixPath(adapters[0].filename).parent
    wanted = [member for member in members if _is_read(PurePosixPath(member.filename), beside)]
    if len({member.filename for member in wanted}) < len(wanted):
        raise CheckpointError(f"{name} holds a file twice: zip the folder anew.")
    if (size := sum(member.file_size for member in wanted)) > MAX_UNPACKED:
        raise CheckpointError(f"{name} unpacks to {size:,} bytes: a checkpoint has at most {MAX_UNPACKED:,}.")
    return wanted


def _depth(member: zipfile.ZipInfo) -> int:
    return len(PurePosixPath(member.filename).parts)


def _is_read(path: PurePosixPath, beside: PurePosixPath) -> bool:
    return path.parent == beside and path.name in FILES
