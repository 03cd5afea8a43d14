"""What a visitor waits for: python -m benchmarks.page_wait [--chromium PATH] [--presses 20] [--json]

Three starts of the app with a warm cache, to its first answer over HTTP and to steered text in Chromium; then
presses of the strength slider's arrow key, each to the first visible token; the app's peak memory after a
run, a sweep and a checkpoint's answer, over that of a process that has imported the same and loaded no model.
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from gradio_client import Client
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
FLAGS = (
    "--headless --no-sandbox --disable-gpu "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()
STEERED = "document.querySelector('.tw-steered .tw-text')?.innerText && document.querySelector('.tw-stage')?.dataset.shown"
DONE = "document.querySelector('.tw-stage')?.dataset.phase === 'done' && !document.querySelector('.tw-stage.tw-old')"
PAUSE = 400
"""Milliseconds that a reader looks at the text before the next press; its metrics are worked out meanwhile.
"""
PRESS = """(slider) => new Promise((resolve) => {
  const stage = document.querySelector('.tw-stage');
  const started = performance.now();
  new MutationObserver((_, watch) => { watch.disconnect(); requestAnimationFrame(() => resolve(performance.now() - started)); })
    .observe(stage, { attributeFilter: ['data-shown'] });
  slider.stepDown(1);
  slider.dispatchEvent(new Event('input', { bubbles: true }));
  slider.dispatchEvent(new Event('change', { bubbles: true }));
})"""
WITHOUT_MODEL = """
import lab.launch, gradio, peft, plotly, sklearn.linear_model, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.llama import modeling_llama
print(open('/proc/self/status').read())
"""


def peak(status: str) -> float:
    """Megabytes of the largest resident set, of the text of a process's status file."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


class App:
    """The app in a process of its own, its votes in a temporary folder. settings: environment variables."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._settings = settings or {}

    def __enter__(self) -> "App":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._folder = tempfile.TemporaryDirectory()
        environment = os.environ | {
            "DATABASE_URL": f"sqlite:///{self._folder.name}/votes.sqlite",
            "GRADIO_ANALYTICS_ENABLED": "False",
            **self._settings,
        }
        self.address, self.started = f"http://127.0.0.1:{port}", time.perf_counter()
        command = [sys.executable, "app.py", "--port", str(port)]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        self._folder.cleanup()

    def answered(self) -> float:
        """Seconds from the start to the first answer over HTTP."""
        while True:
            try:
                urlopen(self.address, timeout=5).close()
                return time.perf_counter() - self.started
            except (URLError, ConnectionError):
                time.sleep(0.02)

    def peak(self) -> float:
        """Megabytes of its largest resident set so far."""
        return peak(Path(f"/proc/{self.process.pid}/status").read_text())


def presses(page: Page, count: int) -> list[float]:
    """Milliseconds from a new value of the strength slider to its first visible token."""
    slider = page.locator(".tw-targets input[type=range]").first
    waits = []
    for _ in range(count):
        page.wait_for_function(DONE)
        page.wait_for_timeout(PAUSE)
        waits.append(slider.evaluate(PRESS))
    return waits


def starts(open_page: Callable[[], Page], count: int) -> tuple[list[float], list[float]]:
    """Seconds to the first answer, and to steered text."""
    answered, usable = [], []
    for _ in range(count):
        with App() as app:
            answered.append(app.answered())
            page = open_page()
            page.goto(app.address)
            page.wait_for_function(STEERED)
            usable.append(time.perf_counter() - app.started)
            page.close()
    return answered, usable


def main() -> None:
    """Prints medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--presses", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    without = subprocess.run(
        [sys.executable, "-c", WITHOUT_MODEL], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    loading = (
        "import time; from lm import load; t = time.perf_counter(); load(); print(time.perf_counter() - t)"
    )
    loads = [
        float(
            subprocess.run(
                [sys.executable, "-c", loading], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(3)
    ]
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=args.chromium, args=FLAGS)
        answered, usable = starts(lambda: chrome.new_page(viewport={"width": 1440, "height": 900}), 3)
        with App() as app:
            app.answered()
            page = chrome.new_page(viewport={"width": 1440, "height": 900})
            page.goto(app.address)
            page.wait_for_function(DONE)
            waited = presses(page, args.presses)
            client = Client(app.address, verbose=False)
            plan = {"targets": [{"concept": "sentiment", "p0": 0.99}]}
            client.predict("Tell me about rain.", plan, 0, 64, 0.7, api_name="/steer")
            client.predict(
                "Tell me about rain.",
                plan,
                [0.1, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999],
                api_name="/sweep",
            )
            client.predict("Tell me about rain.", ["base", "pgapo-0.5"], 0, 64, 0.7, api_name="/respond")
            used = app.peak()
            page.close()
        chrome.close()
    result = {
        "loading the model, seconds": statistics.median(loads),
        "start to first answer, seconds": statistics.median(answered),
        "start to steered text in the browser, seconds": statistics.median(usable),
        "slider to first visible token, milliseconds": statistics.median(waited),
        "nine in ten within, milliseconds": sorted(waited)[int(0.9 * len(waited))],
        "peak memory, MB": used,
        "peak memory over a process without a model, MB": used - peak(without),
    }
    print(json.dumps(result, indent=None if args.json else 1))


if __name__ == "__main__":
    main()
