"""Votes on a Space without a disk: JSON Lines, pushed to a dataset repository and reloaded at start."""

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path

import platformdirs
from huggingface_hub import CommitScheduler, HfApi
from huggingface_hub.errors import (
    HTTPError,  # of whichever HTTP client this version of the hub's library brings
)

from arena.errors import ArenaError
from arena.restoring import load
from arena.store import Store
from arena.tables import FIELDS, IDENTITY, Rows, tables

FOLDER = "arena"


class Journal:
    """The database's rows in a folder of JSON Lines: every new or changed row is appended, none is rewritten.

    Each process appends to a file of its own, so that replicas never touch each other's. A line is
    `{"table", "at", "row"}`; of several lines on one row the last by `at` holds, and with `gone` the row was
    deleted.
    """

    def __init__(self, store: Store, folder: str | Path) -> None:
        self.store = store
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = self.folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}.jsonl"
        self._written: dict[tuple[str, ...], str] = {}

    def reload(self) -> dict[str, int]:
        """Reads every file of the folder into the store; returns the new rows of each table.

        What stands behind a file's last line end was broken off while it was written, and is left out.
        """
        lines = [
            json.loads(line)
            for file in sorted(self.folder.glob("*.jsonl"))
            for line in file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        ]
        latest: dict[tuple[str, ...], dict[str, object]] = {}
        for line in sorted(lines, key=lambda line: line["at"]):
            identity = self._key(line["table"], line["row"])
            latest.pop(identity, None) if line.get("gone") else latest.update({identity: line["row"]})
        rows: dict[str, Rows] = {name: [] for name in FIELDS}
        for (name, *_), row in latest.items():
            rows[name].append(dict(row))
        added = load(self.store, rows)
        self._written = {identity: json.dumps(row, sort_keys=True) for identity, row in latest.items()}
        return added

    def append(self) -> int:
        """Appends what is new or changed since the last call; returns the number of lines.

        Lines that cannot be written (OSError) are tried again at the next call.
        """
        at = datetime.now(UTC).isoformat()
        lines, appended, standing = [], {}, set()
        for name, rows in tables(self.store, names=True).items():
            for row in rows:
                identity, content = self._key(name, row), json.dumps(row, sort_keys=True)
                if self._written.get(identity) != content:
                    lines.append(json.dumps({"table": name, "at": at, "row": row}))
                    appended[identity] = content
                standing.add(identity)
        gone = [identity for identity in self._written if identity not in standing]
        lines += [
            json.dumps({"table": name, "at": at, "row": self._row(name, keys), "gone": True})
            for name, *keys in gone
        ]
        if lines:
            self._write("\n".join(lines) + "\n")
        self._written |= appended
        for identity in gone:
            del self._written[identity]
        return len(lines)

    def _write(self, text: str) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            end = file.tell()
            try:
                file.write(text)
                file.flush()
            except OSError:
                file.truncate(end)  # else the next line would be joined to half of one
                raise

    def _row(self, table: str, keys: list[str]) -> dict[str, str]:
        return dict(zip(IDENTITY[table], keys, strict=True))

    def _key(self, table: str, row: dict[str, object]) -> tuple[str, ...]:
        return table, *(str(row[field]) for field in IDENTITY[table])


class Mirror(CommitScheduler):
    """Keeps a store in the dataset repository `repo`: reloads it at start, then pushes every `minutes`, and
    at exit.

    Parameters
    ----------
    folder: where its files lie here. Default: one of its own in the user's data folder.
    api: the hub; tests give a folder that looks like one.

    Raises ArenaError where the repository cannot be reached.
    """

    def __init__(
        self,
        store: Store,
        repo: str,
        folder: str | Path | None = None,
        *,
        minutes: float = 5,
        api: HfApi | None = None,
    ) -> None:
        hub = api or HfApi()
        target = Path(
            folder or Path(platformdirs.user_data_dir("tradewind")) / "votes" / repo.replace("/", "--")
        )
        try:
            hub.create_repo(repo_id=repo, repo_type="dataset", private=True, exist_ok=True)
            hub.snapshot_download(
                repo_id=repo, repo_type="dataset", local_dir=target, allow_patterns=f"{FOLDER}/*.jsonl"
            )
        except (OSError, ValueError, HTTPError) as error:
            raise ArenaError(
                f"The repository of votes {repo!r} cannot be reached: {' '.join(str(error).split())} "
                "Give the name of a dataset repository, and an HF_TOKEN that may write to it."
            ) from error
        self.journal = Journal(store, target / FOLDER)
        self.reloaded = self.journal.reload()
        super().__init__(
            repo_id=repo,
            repo_type="dataset",
            private=True,
            folder_path=self.journal.folder,
            path_in_repo=FOLDER,
            allow_patterns="*.jsonl",
            every=minutes,
            hf_api=hub,
        )

    def push_to_hub(self):  # type: ignore[no-untyped-def]  # as in huggingface_hub
        """Appends what is new, then commit the files that grew."""
        self.journal.append()
        return super().push_to_hub()
