"""A private PostgreSQL server for tests: in a temporary folder, on 127.0.0.1, at a free port."""

import glob
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.scratch import scratch


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server() -> Iterator[str]:
    """Starts a server; yields the URL of its databases without a name, such as
    postgresql://tester@127.0.0.1:5555.
    """
    found = shutil.which("initdb") or max(glob.glob("/usr/lib/postgresql/*/bin/initdb"), default=None)
    if found is None:
        pytest.fail("PostgreSQL's server is missing. Install it, e.g.: apt-get install postgresql")
    programs = Path(found).parent
    folder, port = scratch("arena-pg-"), free_port()
    user: dict[str, object] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    run = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder, **user}
    subprocess.run([found, "-D", folder / "data", "-U", "tester", "-A", "trust", "-E", "UTF8", "-N"], **run)
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c fsync=off -c max_connections=200 -k {folder}"
    control = [programs / "pg_ctl", "-D", folder / "data", "-l", folder / "log"]
    subprocess.run([*control, "-w", "start", "-o", options], **run)
    try:
        yield f"postgresql://tester@127.0.0.1:{port}"
    finally:
        subprocess.run([*control, "-w", "-m", "immediate", "stop"], **run)


def new_database(url: str, template: str = "template1") -> str:
    """The URL of a new database of the server, empty or like another one that nobody uses."""
    name = f"arena_{uuid.uuid4().hex}"
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    return f"{url}/{name}"
