"""The real app in a process of its own, and a real browser."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.forked import Fork

expect.set_options(timeout=60_000)
ROOT = Path(__file__).parents[2]
CHROMIUM = which("chromium-headless-shell") or which("chromium")
"""Chromium without what only a window needs starts in a third of the time."""
FLAGS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
    "--disable-sync --disable-quic --no-first-run"
).split()
STARTING = 300
"""Seconds: on first use the app fetches the model."""


@contextmanager
def serving(
    folder: Path,
    *command: str,
    port: str | None = None,
    **environment: str,
) -> Iterator[str]:
    """The address of a Python program that serves a page on `port`, or any free one in place of the PORT of its command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = port or str(free.getsockname()[1])
    log = folder / "log"
    words = [port if word == "PORT" else word for word in command]
    process = Fork(words, log, os.environ | {"GRADIO_ANALYTICS_ENABLED": "False"} | environment)
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
    database = f"sqlite:///{folder / 'votes.sqlite'}"
    with serving(folder, "app.py", "--port", "PORT", DATABASE_URL=database) as address:
        yield address


def waited(process: subprocess.Popen | Fork, address: str, log: Path) -> None:
    for _ in range(20 * STARTING):
        if process.poll() is not None:
            pytest.fail(f"the app ended with {process.poll()}:\n{log.read_text()[-3000:]}")
        try:
            urlopen(address, timeout=5).close()
            return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.05)
    pytest.fail(f"the app did not answer within {STARTING} s:\n{log.read_text()[-3000:]}")


def stop_when(page: Page, part: str, holds: str) -> None:
    """Stops the run of a part of the page at the moment when an expression holds: a short answer is complete before a
    mouse gets there.
    """
    page.wait_for_function(f"({holds}) && (document.querySelector('{part} .tw-stop').click(), true)")


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def chrome(playwright: Playwright) -> Iterator[Browser]:
    """The system's Chromium; each context of it is a browser that has never been here."""
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a browser that has been here before: it holds the scripts, and those compiled."""
    return tmp_path_factory.mktemp("profile")


@pytest.fixture(scope="module")
def returning(playwright: Playwright, profile: Path) -> Iterator[BrowserContext]:
    """Chromium with that profile, on the screen of a laptop."""
    context = playwright.chromium.launch_persistent_context(
        profile, executable_path=CHROMIUM, args=FLAGS, viewport={"width": 1440, "height": 900}
    )
    yield context
    context.close()


@pytest.fixture
def page(returning: BrowserContext) -> Iterator[Page]:
    """A page of a browser that keeps nothing of the tests before but scripts; it fails the test when a script fails."""
    [blank, *_] = returning.pages
    page = returning.new_page()
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    for opened in returning.pages:
        if opened != blank:
            opened.close()
    returning.clear_cookies()
    returning.clear_permissions()
    everything = {"origin": "*", "storageTypes": "all"}
    returning.new_cdp_session(blank).send("Storage.clearDataForOrigin", everything)
    assert not errors
