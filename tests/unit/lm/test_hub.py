"""Models by hub id, from a hub on this machine."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from lm import load
from tests.tiny import tiny

COMMIT = "a" * 40
OTHERS = (
    "pytorch_model.bin",
    "optimizer.pt",
    "modeling_own.py",
    "checkpoint-5/model.safetensors",
    "README.md",
)
"""What the repository holds besides, and must not be fetched: asked for, it is not found."""
REFUSALS = {
    "private": (401, ""),
    "hidden": (401, "RepoNotFound"),
    "forbidden": (403, ""),
    "gated": (403, "GatedRepo"),
    "nothing": (404, "RepoNotFound"),
    "down": (503, ""),
}


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks of the hub to fetch a model: its list of files, and each file with its
    headers.
    """

    def do_GET(self) -> None:
        folder = tiny("llama")
        if status := REFUSALS.get(self.path.split("/")[4] if self.path.startswith("/api/models/") else ""):
            self._refuse(*status)
        elif self.path.startswith("/api/models/owner/tiny/revision/main"):
            self._answer(json.dumps({"id": "owner/tiny", "sha": COMMIT}).encode(), "application/json")
        elif self.path.startswith(f"/api/models/owner/tiny/tree/{COMMIT}"):
            files = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": COMMIT}
                for path in sorted(folder.iterdir())
            ] + [{"type": "file", "path": name, "size": 9, "oid": COMMIT} for name in OTHERS]
            self._answer(json.dumps(files).encode(), "application/json")
        elif (path := folder / self.path.rpartition("/")[2]).is_file() and self.path.startswith(
            f"/owner/tiny/resolve/{COMMIT}/"
        ):
            self._answer(path.read_bytes(), "application/octet-stream")
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "ETag": f'"{sha256(body).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def fetch(name: str, hub: str, folder) -> subprocess.CompletedProcess:
    script = f"from lm import load; model = load({name!r}); print(model.hash, model.layers, len(model.generate([])))"
    env = {
        **os.environ,
        "HF_ENDPOINT": hub,
        "HF_HOME": str(folder / "hf"),
        "TRADEWIND_CACHE": str(folder / "cache"),
    }
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)


def test_a_hub_id_is_the_model_that_the_hub_holds(hub, tmp_path):
    done = fetch("owner/tiny", hub, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == load(str(tiny("llama"))).hash


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("owner/nothing", "not on the hub, or it is private"),
        ("owner/hidden", "not on the hub, or it is private: .* log in with `hf auth login` or set HF_TOKEN"),
        ("owner/private", "not on the hub, or it is private"),
        ("owner/forbidden", "not on the hub, or it is private"),
        ("owner/gated", "gated on the hub: accept its terms"),
        ("owner/down", "the hub answers 503: try again later"),
        ("no such id!", "neither a folder here nor a hub id of the form owner/name"),
    ],
)
def test_a_model_that_the_hub_does_not_give_is_one_sentence(hub, tmp_path, name, message):
    done = fetch(name, hub, tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and re.search(f"^lm.sources.SourceError: Model '{name}' .*{message}", last), (
        last
    )


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path):
    done = fetch("owner/tiny", "http://127.0.0.1:9", tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "lm.sources.SourceError: Model 'owner/tiny' is neither here nor could the hub be reached"
    )
