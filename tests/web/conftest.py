"""The real app in a process of its own, and a real browser."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[2]
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
    "--disable-sync --disable-quic --no-first-run"
).split()
STARTING = 300
"""Seconds: on first use the app fetches the model."""


@contextmanager
def serving(folder: Path, *command: str, port: str | None = None, **environment: str) -> Iterator[str]:
    """The address of a Python program that serves a page on `port`, or any free one in place of the PORT of
    its command.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = port or str(free.getsockname()[1])
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, *(port if word == "PORT" else word for word in command)],
            cwd=ROOT, env=os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"} | environment, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        waited(process, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(20)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the running app."""
    folder = tmp_path_factory.mktemp("app")
    with serving(
        folder, "app.py", "--port", "PORT", DATABASE_URL=f"sqlite:///{folder / 'votes.sqlite'}"
    ) as address:
        yield address


def waited(process: subprocess.Popen, address: str, log: Path) -> None:
    for _ in range(5 * STARTING):
        if process.poll() is not None:
            pytest.fail(f"the app ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        try:
            urlopen(address, timeout=5).close()
            return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    pytest.fail(f"the app did not answer within {STARTING} s:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """The system's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chrome: Browser) -> Iterator[Page]:
    """A laptop-sized page; it fails the test when a script fails."""
    context = chrome.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert not errors
