"""One visitor against the others: what a caller leaves behind, and what a request may weigh."""

import http.client
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.web.conftest import ROOT, serving

WORKS = {"streamed": 1, "silent": 2, "answered": 1}
"""Handlers, and the threads of each."""
PATIENCE = 30
"""Seconds: half of what their work takes where nobody leaves."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("host"), "-m", "tests.web.hosting_app", "PORT") as address:
        yield address


def post(
    host: str, path: str, body: bytes, headers: dict | None = None, chunked: bool = False
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(host).netloc, timeout=30)
    content = iter([body[at : at + 4096] for at in range(0, len(body), 4096)]) if chunked else body
    try:
        connection.request(
            "POST",
            path,
            content,
            {"Content-Type": "application/json"} | (headers or {}),
            encode_chunked=chunked,
        )
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def begin(host: str, name: str, *data: object) -> str:
    status, reply = post(host, f"/gradio_api/call/{name}", json.dumps({"data": data}).encode())
    assert status == 200, reply
    return json.loads(reply)["event_id"]


def listen(host: str, name: str, event: str) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(urlsplit(host).netloc, timeout=60)
    connection.request("GET", f"/gradio_api/call/{name}/{event}")
    return connection


def call(host: str, name: str, *data: object) -> object:
    connection = listen(host, name, begin(host, name, *data))
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    assert "event: complete" in lines, lines
    return json.loads(lines[-2].removeprefix("data: "))[0]


def workers(host: str) -> int:
    return call(host, "left")["workers"]


def settled(host: str, count: int) -> bool:
    until = time.monotonic() + PATIENCE
    while (now := workers(host)) != count and time.monotonic() < until:
        time.sleep(0.05)
    return now == count


def test_an_app_that_is_stopped_ends_its_work_and_itself() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.web.hosting_app", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    host = f"http://127.0.0.1:{port}"
    while True:
        try:
            urllib.request.urlopen(host, timeout=5).close()
            break
        except OSError:
            assert process.poll() is None
            time.sleep(0.2)
    waiting = [
        listen(host, name, begin(host, name)) for name in ("kept", "answered", "streamed") for _ in range(2)
    ]
    assert settled(host, len(waiting))
    process.terminate()
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert "terminate called" not in printed
    for connection in waiting:
        connection.close()


@pytest.mark.parametrize("name", WORKS)
def test_a_caller_who_leaves_leaves_no_worker(host: str, name: str) -> None:
    listeners = [listen(host, name, begin(host, name)) for _ in range(8)]
    assert settled(host, 8 * WORKS[name])
    for connection in listeners:
        connection.sock.close()
    assert settled(host, 0)


def test_waiting_callers_take_no_place_of_others(host: str) -> None:
    listeners = [listen(host, name, begin(host, name)) for name in [*WORKS] * 18]
    assert settled(host, 14 + 2 * 13 + 13)
    began = time.monotonic()
    for _ in range(10):
        assert call(host, "echo", "four") == 4
    assert time.monotonic() - began < PATIENCE
    urllib.request.urlopen(host, timeout=5).close()
    for connection in listeners:
        connection.sock.close()
    assert settled(host, 0)


@pytest.mark.parametrize("name", [*WORKS, "echo"])
@pytest.mark.parametrize("route", ["run", "api"])
def test_nobody_passes_the_queue(host: str, name: str, route: str) -> None:
    status, reply = post(host, f"/gradio_api/{route}/{name}", b'{"data": ["x"]}')
    assert status == 404 and "queue" in reply


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body_is_refused(host: str, chunked: bool) -> None:
    body = json.dumps({"data": ["x" * 3_000_000]}).encode()
    for path in (
        "/gradio_api/call/echo",
        "/gradio_api/queue/join",
        "/gradio_api/run/echo",
        "/gradio_api/component_server",
    ):
        try:
            status, reply = post(host, path, body, chunked=chunked)
        except (BrokenPipeError, ConnectionResetError):
            continue  # refused before it was sent to its end
        assert status == 413 and "send less" in reply, path
    assert call(host, "echo", "x" * 900_000) == 900_000


def test_calls_leave_nothing(host: str) -> None:
    def rounds(number: int) -> dict:
        for _ in range(number):
            call(host, "echo", "x" * 200_000)
        return call(host, "left")

    rounds(20)
    before, after = rounds(1), rounds(150)
    assert after["sessions"] <= before["sessions"] + 1
    assert after["memory"] - before["memory"] < 15_000_000  # a tenth of what was sent twice over


def test_health(host: str) -> None:
    with urllib.request.urlopen(f"{host}/health", timeout=5) as reply:
        assert json.load(reply) == {"status": "ok"}
