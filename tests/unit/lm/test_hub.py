"""Models by hub id, from a hub on this machine."""

import json
import os
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


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks of the hub to fetch a model: its list of files, and each file with its
    headers.
    """

    def do_GET(self) -> None:
        folder = tiny("llama")
        if self.path.startswith("/api/models/owner/tiny/revision/main"):
            self._answer(json.dumps({"id": "owner/tiny", "sha": COMMIT}).encode(), "application/json")
        elif self.path.startswith(f"/api/models/owner/tiny/tree/{COMMIT}"):
            files = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": COMMIT}
                for path in sorted(folder.iterdir())
            ]
            self._answer(json.dumps(files).encode(), "application/json")
        elif (path := folder / self.path.rpartition("/")[2]).is_file() and self.path.startswith(
            f"/owner/tiny/resolve/{COMMIT}/"
        ):
            self._answer(path.read_bytes(), "application/octet-stream")
        else:
            self.send_error(404)

    do_HEAD = do_GET

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


def test_a_hub_id_that_is_unknown_is_one_sentence(hub, tmp_path):
    done = fetch("owner/nothing", hub, tmp_path)
    assert done.returncode == 1 and done.stderr.strip().splitlines()[-1].startswith("lm.sources.SourceError")
    assert "owner/nothing" in done.stderr.strip().splitlines()[-1]
