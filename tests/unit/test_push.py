"""The documented push to a Space, against a stand-in for the hub: what is binary or large goes through LFS, and the app is whole."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MAX_TEXT = 10 << 20
"""Bytes of the largest file that the hub takes outside of LFS."""


class Hub(ThreadingHTTPServer):
    """The hub's part of an upload, with its rules. space: the files of the pushed Space."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.space: dict[str, bytes] = {}
        self.through_lfs: set[str] = set()
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def repository(self, about: dict) -> dict:
        return {"url": f"{self.address}/spaces/{about.get('organization', 'owner')}/{about['name']}"}

    def modes(self, about: dict) -> dict:
        ignored = ignores([file["path"] for file in about["files"]], about.get("gitIgnore", ""))
        return {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs"
                    if heavy(base64.b64decode(file["sample"]), file["size"])
                    else "regular",
                    "shouldIgnore": file["path"] in ignored,
                }
                for file in about["files"]
            ]
        }

    def batch(self, about: dict) -> dict:
        return {
            "transfer": "basic",
            "objects": [
                {**item, "actions": {"upload": {"href": f"{self.address}/objects/{item['oid']}"}}}
                for item in about["objects"]
            ],
        }

    def commit(self, lines: list[dict]) -> dict:
        for kind, value in ((line["key"], line["value"]) for line in lines):
            if kind == "file":
                content = base64.b64decode(value["content"])
                if heavy(content[:512], len(content)):
                    raise ValueError(f"{value['path']} must go through LFS")
                self.space[value["path"]] = content
            elif kind == "lfsFile":
                self.space[value["path"]] = self.objects[value["oid"]]
                self.through_lfs.add(value["path"])
        return {"commitUrl": f"{self.address}/spaces/owner/name/commit/1", "commitOid": "1", "success": True}


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, found: dict | None, status: int = 200) -> None:
        content = b"" if found is None else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        path, body = self.path.split("?")[0], self.body()
        self.server.asked.append(path)
        try:
            if path == "/api/repos/create":
                self.answer(self.server.repository(json.loads(body)))
            elif path == "/api/validate-yaml":
                self.answer({"errors": wrong(json.loads(body)["content"]), "warnings": []})
            elif path == "/api/spaces/owner/name/preupload/main":
                self.answer(self.server.modes(json.loads(body)))
            elif path == "/spaces/owner/name.git/info/lfs/objects/batch":
                self.answer(self.server.batch(json.loads(body)))
            elif path == "/api/spaces/owner/name/commit/main":
                self.answer(self.server.commit([json.loads(line) for line in body.splitlines()]))
            else:
                self.answer({"error": f"POST {path} is not played here"}, 404)
        except ValueError as error:
            self.answer({"error": str(error)}, 400)

    def do_PUT(self) -> None:
        oid, content = self.path.rsplit("/", 1)[1], self.body()
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.objects[oid] = content
        self.answer(None)

    def do_GET(self) -> None:
        self.answer({"error": f"GET {self.path} is not played here"}, 404)

    def log_message(self, *_) -> None:
        pass


def heavy(sample: bytes, size: int) -> bool:
    """Whether the hub takes a file through LFS alone: it is large, or its first bytes are no text."""
    return size > MAX_TEXT or b"\0" in sample or not text(sample)


def text(sample: bytes) -> bool:
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return error.end == len(sample)  # a letter that the sample cuts
    return True


def wrong(readme: str) -> list[dict]:
    """What the hub refuses in the head of a Space's README."""
    head = yaml.safe_load(readme.split("---\n")[1])
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    checks = {
        "title": bool(head.get("title")),
        "sdk": head.get("sdk") in ("gradio", "docker", "static"),
        "colorFrom": head.get("colorFrom") in colours,
        "colorTo": head.get("colorTo") in colours,
        "short_description": len(head.get("short_description", "")) <= 60,
        "python_version": bool(re.fullmatch(r"3\.\d+(\.\d+)?", str(head.get("python_version", "3.10")))),
    }
    return [{"message": name} for name, right in checks.items() if not right]


def ignores(paths: list[str], rules: str) -> set[str]:
    """Which of the paths git leaves out by these rules."""
    command = ["git", "-c", "core.excludesFile=/dev/stdin", "check-ignore", "--no-index", *paths]
    done = subprocess.run(command, input=rules, capture_output=True, text=True, cwd=ROOT)
    return set(done.stdout.splitlines())


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that git has, and what work leaves beside them."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in (".git/config", ".venv/bin/python", "lm/__pycache__/loading.pyc", "votes.sqlite"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\0")
    return tmp_path


def documented() -> list[str]:
    """The upload of docs/hosting.md, with this Python's `hf`."""
    page = (ROOT / "docs" / "hosting.md").read_text()
    (command,) = re.findall(r"^hf (upload .*)$", page, re.M)
    words = [word.strip('"') for word in command.replace("OWNER/NAME", "owner/name").split()]
    return [str(Path(sys.executable).with_name("hf")), *words]


def test_the_documented_upload_makes_a_whole_space(hub: Hub, checkout: Path) -> None:
    settings = {
        "HF_ENDPOINT": hub.address, "HF_TOKEN": "hf_mine", "HF_HOME": str(checkout / ".git" / "hub"), "HF_HUB_DISABLE_XET": "1",
        "PATH": "/usr/bin:/bin", "HF_HUB_DISABLE_TELEMETRY": "1",
    }  # fmt: skip
    done = subprocess.run(documented(), cwd=checkout, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout, done.stderr, hub.asked)
    wanted = {
        str(path.relative_to(ROOT)): path.read_bytes()
        for path in (ROOT / name for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines())
        if path.relative_to(ROOT).parts[0] not in ("tests", "benchmarks")
    }  # fmt: skip
    assert hub.space == wanted
    binary = {name for name, content in wanted.items() if heavy(content, len(content))}
    assert binary <= hub.through_lfs and any(name.endswith(".safetensors") for name in binary)
    assert wanted["README.md"].startswith(b"---\n") and b"\nsdk: gradio\n" in wanted["README.md"]
