"""The page where it stands in practice: under a path behind a proxy, and in another site's frame that may keep nothing."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.tiny import tiny
from tests.web.conftest import serving

BLOCKED = """for (const name of ['localStorage', 'sessionStorage'])
  Object.defineProperty(window, name, { get() { throw new DOMException('denied', 'SecurityError'); } });"""
SHIFTS = """window.shifts = 0; new PerformanceObserver((list) => { for (const each of list.getEntries())
  if (!each.hadRecentInput) window.shifts += each.value; }).observe({ type: 'layout-shift', buffered: true });"""
DONE = "document.querySelector('.tw-stage')?.dataset.phase === 'done'"


def relay(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
    except OSError:
        pass
    for each in (source, target):
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


@contextmanager
def behind(address: str, prefix: str) -> Iterator[str]:
    """A reverse proxy that serves an app under a path, as nginx does with `location /lab/ { proxy_pass http://app/; }`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (data := client.recv(65_536)):
            head += data
        if not head:  # a connection that the browser opened ahead
            return client.close()
        lines, _, body = head.partition(b"\r\n\r\n")
        first, *headers = lines.split(b"\r\n")
        method, path, version = first.split(b" ")
        if not path.startswith(prefix.encode() + b"/"):
            client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return client.close()
        headers = [line for line in headers if not line.lower().startswith(b"connection:")]
        first = b" ".join((method, path[len(prefix) :], version))
        app = socket.create_connection(("127.0.0.1", urlsplit(address).port))
        app.sendall(b"\r\n".join([first, *headers, b"Connection: close"]) + b"\r\n\r\n" + body)
        threading.Thread(target=relay, args=(client, app), daemon=True).start()
        relay(app, client)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{prefix}"
    finally:
        listener.close()


@pytest.fixture(scope="module")
def rooted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app, told that it stands under /lab."""
    folder: Path = tmp_path_factory.mktemp("rooted")
    environment = {
        "DATABASE_URL": f"sqlite:///{folder / 'votes.sqlite'}",
        "TRADEWIND_CACHE": str(folder / "cache"),
        "GRADIO_ROOT_PATH": "/lab",
    }
    with serving(folder, "app.py", "--port", "PORT", "--model", str(tiny("qwen2")), **environment) as address:
        yield address


def test_under_a_path_behind_a_proxy_nothing_is_missing(rooted: str, page: Page) -> None:
    missing: list[str] = []
    page.on("response", lambda reply: missing.append(reply.url) if reply.status >= 400 else None)
    page.add_init_script(SHIFTS)
    with behind(rooted, "/lab") as address:
        page.goto(f"{address}/")
        page.wait_for_function(DONE, timeout=120_000)
        expect(page.locator(".tw-skeleton")).to_be_hidden()
        assert page.title() == "Tradewind" and not missing
        assert page.evaluate("window.shifts") < 0.1
        page.goto("about:blank")


@pytest.fixture
def frame(rooted: str) -> Iterator[str]:
    """The address of another site that shows the app in a frame."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<iframe src="{inner}/" width="1200" height="800"></iframe>'.encode())

        def log_message(self, *args: object) -> None:
            pass

    with behind(rooted, "/lab") as inner:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Other)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


def test_in_another_sites_frame_that_keeps_nothing(frame: str, chrome: Browser) -> None:
    context = chrome.new_context(viewport={"width": 1300, "height": 900})
    context.add_init_script(BLOCKED)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(frame)
    inside = page.frame_locator("iframe")
    switch = inside.locator(".tw-theme")
    expect(switch).to_be_visible(timeout=120_000)
    before = switch.get_attribute("aria-pressed")
    switch.click()
    expect(switch).not_to_have_attribute("aria-pressed", before)
    expect(inside.locator("body")).to_have_class(
        re.compile("dark" if before == "false" else "^((?!dark).)*$")
    )
    with context.expect_page() as opened:
        inside.locator(".tw-out").click()
    expect(opened.value.locator(".tw-out")).to_be_hidden(timeout=60_000)
    context.close()
    assert not errors
