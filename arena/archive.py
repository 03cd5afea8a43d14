"""An export as one zip file, as the page sends and takes it."""

import re
import shutil
import zipfile
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

from arena import studies
from arena.errors import ArenaError
from arena.exchange import export, import_
from arena.spreadsheet import MAX_BYTES
from arena.store import Store
from arena.tables import FIELDS


def pack(store: Store, folder: str | Path, set_id: str | None = None) -> Path:
    """Exports without names into a zip in `folder`: all studies, or one with its outputs and preferences,
    which the file is called by.
    """
    name = "arena" if set_id is None else studies.detail(store, set_id).study.name
    file = Path(folder) / (re.sub(r"\W+", "-", name).strip("-") or "study")
    with TemporaryDirectory() as exported:
        export(store, exported, set_id=set_id)
        return Path(shutil.make_archive(str(file), "zip", exported))


def unpack(store: Store, file: str | Path) -> dict[str, int]:
    """Imports what `pack` wrote; returns the new rows of each table. Raises ArenaError at anything else."""
    names = {
        f"{folder}/{table}.{kind}"
        for table in FIELDS
        for folder, kind in (("data", "parquet"), ("csv", "csv"))
    }
    with TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(file) as archive:
                tables = [entry for entry in archive.infolist() if entry.filename in names]
                if (size := sum(entry.file_size for entry in tables)) > MAX_BYTES:
                    raise ArenaError(
                        f"The archive unpacks to {size:,} bytes of tables; the most is {MAX_BYTES:,}. Use python -m arena import."
                    )
                archive.extractall(folder, tables)
        except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError) as error:
            raise ArenaError(
                "The archive cannot be unpacked: it is none, or it is damaged. Give a .zip that was exported here."
            ) from error
        return import_(store, folder)
