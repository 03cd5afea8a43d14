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


SCRIPT = """
import json, sys
from lm import SourceError, load

def told(name):
    try:
        model = load(name)
    except SourceError as error:
        return str(error)
    return model.hash if model.generate([]) == [] else "not a model"

print(json.dumps({name: told(name) for name in sys.argv[1:]}))
"""
"""What becomes of names: a model's hash, or the error. In a process of its own, since huggingface_hub reads the
address of the hub once."""


def fetch(names, hub: str, folder, **settings: str) -> dict[str, str]:
    env = {
        **os.environ,
        "HF_ENDPOINT": hub,
        "HF_HOME": str(folder / "hf"),
        "TRADEWIND_CACHE": str(folder / "cache"),
        **settings,
    }
    done = subprocess.run([sys.executable, "-c", SCRIPT, *names], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def told(hub, tmp_path_factory) -> dict[str, str]:
    return fetch(["owner/tiny", *(name for name, _ in REFUSED)], hub, tmp_path_factory.mktemp("fetched"))


REFUSED = [
    ("owner/nothing", "not on the hub, or it is private"),
    ("owner/hidden", "not on the hub, or it is private: .* log in with `hf auth login` or set HF_TOKEN"),
    ("owner/private", "not on the hub, or it is private"),
    ("owner/forbidden", "not on the hub, or it is private"),
    ("owner/gated", "gated on the hub: accept its terms"),
    ("owner/down", "the hub answers 503: try again later"),
    ("no such id!", "neither a folder here nor a hub id of the form owner/name"),
]


def test_a_hub_id_is_the_model_that_the_hub_holds(told):
    assert told["owner/tiny"] == load(str(tiny("llama"))).hash


@pytest.mark.parametrize(("name", "message"), REFUSED)
def test_a_model_that_the_hub_does_not_give_is_one_sentence(told, name, message):
    assert re.search(f"^Model '{name}' .*{message}", told[name])


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path):
    told = fetch(["owner/tiny"], "http://127.0.0.1:9", tmp_path)["owner/tiny"]
    assert told.startswith("Model 'owner/tiny' is neither here nor could the hub be reached")


@pytest.mark.parametrize("cache", ["~nobody-of-this-name/hub", "/proc/hub"])
def test_a_cache_that_the_hubs_client_cannot_have_is_one_sentence(hub, tmp_path, cache):
    told = fetch(["owner/tiny"], hub, tmp_path, HF_HOME=cache)["owner/tiny"]
    says = "Model 'owner/tiny' could not be kept in the cache of the hub's client ("
    assert told.startswith(says) and "set HF_HOME to a folder that can be written" in told
