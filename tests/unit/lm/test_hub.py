"""Models by hub id, from a hub on this machine."""

import json
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

pytestmark = pytest.mark.slow
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
UNREAD = {
    "gguf": ("a-Q4_K_M.gguf", {}, "holds a GGUF model, which is not read"),
    "onnx": ("onnx/model_q4.onnx", {"pad_token_id": None}, "holds an ONNX model, which is not read"),
    "mlx": ("model.safetensors", {"quantization": {"bits": 4}}, "is stored as MLX quantises"),
    "gptq": (
        "model.safetensors",
        {"quantization_config": {"quant_method": "exl2"}},
        "transformers knows no exl2",
    ),
    "encoder": (
        "model.safetensors",
        {"model_type": "bert"},
        "is a bert model, which reads a text from both ends",
    ),
    "pickles": ("pytorch_model.bin", {"pad_token_id": None}, "holds pickles, which can run code"),
}
"""Repositories whose weights are not read, by a file of theirs, and values of their config: what is said of them."""

ASKED = re.compile(
    rf"/api/models/owner/(?P<name>[^/]+)(/revision/main|(?P<tree>/tree/({COMMIT}|main)))?"
    rf"|/owner/(?P<of>[^/]+)/resolve/{COMMIT}/(?P<path>.+)"
)


def _held(name: str) -> dict[str, bytes]:
    """The files of a repository; those without bytes must not be fetched: asked for, they are not found."""
    folder = tiny("llama")
    if name == "tiny":
        whole = {path.name: path.read_bytes() for path in folder.iterdir()}
        return whole | dict.fromkeys(OTHERS, b"")
    if name not in UNREAD:
        return {}
    file, config, _ = UNREAD[name]
    settings = json.loads((folder / "config.json").read_text()) | config
    return ({"config.json": json.dumps(settings).encode()} if config else {}) | {file: b""}


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks of the hub to fetch a model: its list of files, and each file with its
    headers.
    """

    def do_GET(self) -> None:
        asked = ASKED.fullmatch(self.path.partition("?")[0])
        name, path = (asked["name"] or asked["of"], asked["path"]) if asked else ("", "")
        if status := REFUSALS.get(name):
            self._refuse(*status)
        elif path and (file := _held(name).get(path)):
            self._answer(file, "application/octet-stream")
        elif asked and asked["tree"]:
            files = [
                {"type": "file", "path": path, "size": len(file) or 9, "oid": COMMIT}
                for path, file in _held(name).items()
            ]
            self._answer(json.dumps(files).encode(), "application/json")
        elif _held(name) and not path:
            self._answer(json.dumps({"id": f"owner/{name}", "sha": COMMIT}).encode(), "application/json")
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
import json, os, sys
from lm import SourceError, load

def told(name):
    try:
        model = load(name)
    except SourceError as error:
        return str(error)
    return model.hash if model.generate([]) == [] else "not a model"

for settings, names in json.load(sys.stdin):
    if not os.fork():
        os.environ.update(settings)
        print(json.dumps({name: told(name) for name in names}), flush=True)
        os._exit(0)
    os.wait()
"""
"""What becomes of names under each of several settings: a model's hash, or the error. In processes of their own, since
huggingface_hub reads the address of the hub and its cache once.
"""
REFUSED = [
    ("owner/nothing", "not on the hub, or it is private"),
    ("owner/hidden", "not on the hub, or it is private: .* log in with `hf auth login` or set HF_TOKEN"),
    ("owner/private", "not on the hub, or it is private"),
    ("owner/forbidden", "not on the hub, or it is private"),
    ("owner/gated", "gated on the hub: accept its terms"),
    ("owner/down", "the hub answers 503: try again later"),
    ("no such id!", "neither a folder here nor a hub id of the form owner/name"),
]
AWAY = "http://127.0.0.1:9"
CACHES = ("~nobody-of-this-name/hub", "/proc/hub")


@pytest.fixture(scope="module")
def told(hub: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Where the hub answers, is away, and where its client has no cache: what becomes of names."""
    folder = tmp_path_factory.mktemp("fetched")
    usual = {"HF_ENDPOINT": hub, "HF_HOME": str(folder / "hf"), "TRADEWIND_CACHE": str(folder / "cache")}
    names = ["owner/tiny", *(name for name, _ in REFUSED), *(f"owner/{name}" for name in UNREAD)]
    asked = {
        "hub": (usual, names),
        AWAY: (usual | {"HF_ENDPOINT": AWAY, "HF_HOME": str(folder / "away")}, names[:1]),
    }
    asked |= {cache: (usual | {"HF_HOME": cache}, names[:1]) for cache in CACHES}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, input=json.dumps([*asked.values()]), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(asked, map(json.loads, done.stdout.splitlines()), strict=True))


def test_a_hub_id_is_the_model_that_the_hub_holds(told):
    assert told["hub"]["owner/tiny"] == load(str(tiny("llama"))).hash


@pytest.mark.parametrize(("name", "message"), REFUSED)
def test_a_model_that_the_hub_does_not_give_is_one_sentence(told, name, message):
    assert re.search(f"^Model '{name}' .*{message}", told["hub"][name])


@pytest.mark.parametrize("name", UNREAD)
def test_a_model_in_another_format_is_told_before_its_weights_are_fetched(told, name):
    assert re.search(f"{UNREAD[name][2]}.*: .*[.]$", told["hub"][f"owner/{name}"])


def test_a_hub_that_cannot_be_reached_is_one_sentence(told):
    says = "Model 'owner/tiny' is neither here nor could the hub be reached"
    assert told[AWAY]["owner/tiny"].startswith(says)


@pytest.mark.parametrize("cache", CACHES)
def test_a_cache_that_the_hubs_client_cannot_have_is_one_sentence(told, cache):
    says = "Model 'owner/tiny' could not be kept in the cache of the hub's client ("
    sentence = told[cache]["owner/tiny"]
    assert sentence.startswith(says) and "set HF_HOME to a folder that can be written" in sentence
