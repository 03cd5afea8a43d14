"""How the app serves one visitor beside many others: latencies, what callers leave behind, and memory.

python benchmarks/hosting_load.py               votes, stops and the page: idle, and beside 40 streams and 50 annotators
    --streams 40 --annotators 50 --seconds 20
python benchmarks/hosting_load.py --leave       seconds until the app rests after the callers of each endpoint have gone
python benchmarks/hosting_load.py --calls 10000 memory over hostile calls to all endpoints, a line every tenth
"""

import argparse
import http.client
import json
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from arena import Output, Store, create  # noqa: E402

PLAN = {"targets": [{"concept": "sports", "direction": "amplify", "p0": 0.98}], "layers": [10, 12]}
ASKED = {
    "prompt": "Tell me about the ocean.",
    "plan": PLAN,
    "seed": 0,
    "max_new_tokens": 512,
    "temperature": 0.9,
}
CALLS = (
    ("steer", ASKED | {"prompt": "x" * 100_000}),
    ("steer", ASKED | {"plan": {"targets": "none"}}),
    ("steer", ASKED | {"seed": -1, "max_new_tokens": 10**9, "temperature": 99.0}),
    ("steer", ASKED | {"prompt": None, "messages": [{"role": "user", "content": ["x"] * 1_000}]}),
    ("sweep", {"prompt": "Hello", "plan": PLAN, "magnitudes": [0.5] * 5_000}),
    ("sweep", {"prompt": "Hello", "plan": PLAN, "magnitudes": "high", "bands": [[99]]}),
    ("concepts", {}),
    ("front", {}),
    ("respond", {"prompt": "Hello", "checkpoint_ids": ["no such"] * 2}),
    ("evaluate", {"checkpoint_id": "../../etc/passwd"}),
    ("battle", {"annotator": "\x00" * 5_000}),
    ("vote", {"battle": "none", "annotator": "nobody", "helpful": "a", "harmless": "b", "comment": "x" * 50_000}),
    ("answer", {"battle": "none", "annotator": "nobody", "answers": {"x" * 1_000: "a"}}),
    ("undo", {"battle": {"no": "battle"}, "annotator": "nobody"}),
    ("ranking", {"question": "no question" * 1_000}),
)  # fmt: skip
"""Calls of every endpoint that its answer refuses, or that cost much."""
POSTS: tuple[tuple[str, Any], ...] = (
    ("/gradio_api/queue/join", {"fn_index": 10**6, "data": [], "session_hash": "SESSION"}),
    ("/gradio_api/queue/join", {"fn_index": 0, "data": ["x" * 100_000] * 5, "session_hash": "SESSION"}),
    ("/gradio_api/run/predict", {"fn_index": "STOP", "data": [], "session_hash": "SESSION", "event_data": {"work": "run"}}),
    ("/gradio_api/run/sweep", {"data": ["Hello", PLAN, [0.5]]}),
    ("/gradio_api/cancel", {"session_hash": "SESSION", "fn_index": 0, "event_id": "none"}),
    ("/gradio_api/reset", {"event_id": "x" * 10_000}),
    ("/gradio_api/component_server", {"session_hash": "SESSION", "component_id": 1, "fn_name": "__init__", "data": "x"}),
    ("/gradio_api/upload", "x" * 2_000_000),
    ("/v1/chat/completions", {"model": "no such", "messages": [{"role": "user", "content": "x" * 100_000}]}),
    ("/v1/completions", {"model": "base", "prompt": "Hello", "max_tokens": -1}),
    ("/v1/completions", "x" * 1_500_000),
)  # fmt: skip
"""Requests of the routes below them."""
RESTING = 0.15
"""Processors that an app without work keeps busy at most; one that decodes keeps one to two."""
WORKS = (
    ("steer", ASKED),
    (
        "sweep",
        {"prompt": ASKED["prompt"], "plan": PLAN, "magnitudes": [0.1, 0.5, 0.9] * 5, "max_new_tokens": 256},
    ),
    ("respond", {"prompt": ASKED["prompt"], "checkpoint_ids": ["base", "pgapo-0.5"], "max_new_tokens": 512}),
    ("evaluate", {"checkpoint_id": "pgapo-0.5", "limit": 48}),
)


@contextmanager
def app(database: str) -> Iterator[tuple[str, int]]:
    """The app on a free port: its address and process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)], cwd=ROOT, env=os.environ | {"DATABASE_URL": database},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit("The app did not start; its message stands above.") from None
                time.sleep(0.2)
        yield address, process.pid
    finally:
        process.kill()
        process.wait()


def post(address: str, path: str, body: dict) -> dict:
    """A JSON request."""
    request = urllib.request.Request(
        address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)


def call(address: str, endpoint: str, *data: object) -> list[str]:
    """The last lines of a call's answer: its kind and its data."""
    return result(
        address, endpoint, post(address, f"/gradio_api/call/{endpoint}", {"data": data})["event_id"]
    )


def result(address: str, endpoint: str, event: str) -> list[str]:
    """The last lines of an event's answer."""
    with urllib.request.urlopen(f"{address}/gradio_api/call/{endpoint}/{event}", timeout=120) as stream:
        return [line.split(": ", 1)[-1] for line in stream.read().decode().splitlines() if line][-2:]


class Streams:
    """Pages that ask for one long run after the other."""

    def __init__(self, address: str, count: int) -> None:
        self.address, self.stop, self.frames = address, threading.Event(), 0
        self.run = handler(address, "run")
        self.threads = [threading.Thread(target=self._page, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _page(self) -> None:
        session = secrets.token_hex(6)
        while not self.stop.is_set():
            asked = ASKED | {"run": 0, "seed": secrets.randbelow(1000)}
            event = {
                "fn_index": self.run,
                "session_hash": session,
                "data": [],
                "event_data": asked,
                "trigger_id": None,
            }
            post(self.address, "/gradio_api/queue/join", event)
            with urllib.request.urlopen(
                f"{self.address}/gradio_api/queue/data?session_hash={session}", timeout=120
            ) as stream:
                for line in stream:
                    self.frames += b"process_generating" in line
                    if self.stop.is_set() or b"close_stream" in line:
                        break

    def end(self) -> None:
        """All pages leave."""
        self.stop.set()
        for thread in self.threads:
            thread.join(30)


def annotate(address: str, person: str, stop: threading.Event, votes: list[float]) -> None:
    """One annotator who votes without pause; a battle that is judged is judged again after an undo."""
    while not stop.is_set():
        battle = json.loads(call(address, "battle", person)[1])[0]["battle"]
        if battle is None:
            return
        began = time.perf_counter()
        call(address, "vote", battle, person, "a", "tie", "")
        votes.append(time.perf_counter() - began)


def latencies(address: str, seconds: float, stop_fn: int) -> dict[str, list[float]]:
    """How long a stop, the page and a ranking take, asked for in turn."""
    asked: dict[str, Callable[[], object]] = {
        "page": lambda: urllib.request.urlopen(address, timeout=60).read(),
        "stop": lambda: post(
            address, "/gradio_api/run/predict",
            {"fn_index": stop_fn, "session_hash": "nobody", "data": [], "event_data": {"work": "run"}},
        ),
        "battle": lambda: call(address, "battle", f"visitor {secrets.token_hex(2)}"),
        "ranking": lambda: call(address, "ranking", "helpful"),
    }  # fmt: skip
    took: dict[str, list[float]] = {name: [] for name in asked}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for name, ask in asked.items():
            began = time.perf_counter()
            ask()
            took[name].append(time.perf_counter() - began)
    return took


def crowd(address: str, streams: int, annotators: int, seconds: float) -> None:
    """Prints latencies idle and in a crowd."""
    stop_fn = handler(address, "stop")
    idle = latencies(address, seconds / 2, stop_fn)
    lone: list[float] = []
    ended = threading.Event()
    threading.Timer(seconds / 4, ended.set).start()
    annotate(address, "alone", ended, lone)
    pages, ended, votes = Streams(address, streams), threading.Event(), []
    time.sleep(5)
    with ThreadPoolExecutor(annotators) as pool:
        jobs = [pool.submit(annotate, address, f"person {n}", ended, votes) for n in range(annotators)]
        frames = pages.frames
        busy = latencies(address, seconds, stop_fn)
        frames = pages.frames - frames
        ended.set()
        for job in jobs:
            job.result()
    pages.end()
    print(
        f"beside {streams} streams of 512 "
        f"tokens ({frames / seconds:.0f} updates/s) and {annotators} annotators:"
    )
    for name in idle:
        print(f"{name:8} idle {summary(idle[name])}, in the crowd {summary(busy[name])}")
    print(
        f"{'vote':8} idle {summary(lone)}, in the crowd {summary(votes)}, {len(votes) / seconds:.1f} votes/s"
    )


def summary(seconds: list[float]) -> str:
    """Median and 95 %."""
    cuts = statistics.quantiles(seconds, n=20) if len(seconds) > 1 else seconds * 20
    return f"median {statistics.median(seconds):.2f} s, 95 % {cuts[-1]:.2f} s"


def threads(pid: int) -> int:
    """Threads of the app."""
    return len(os.listdir(f"/proc/{pid}/task"))


def leave(address: str, pid: int) -> None:
    """Prints how long the app's processors stay busy after the callers of an endpoint have gone."""
    for endpoint, data in WORKS:
        left(listening(address, endpoint, data, 1))
        time.sleep(5)
        connections = listening(address, endpoint, data, 8)
        time.sleep(2)
        working = load(pid)
        left(connections)
        began = time.monotonic()
        while (resting := load(pid)) > RESTING and time.monotonic() - began < 120:
            pass
        took = time.monotonic() - began
        print(
            f"/{endpoint}: {working:.2f} processors for 8 callers, {resting:.2f} after {took:.1f} s",
            flush=True,
        )


def load(pid: int) -> float:
    """Processors that the app keeps busy, over a quarter of a second."""

    def used() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before, began = used(), time.monotonic()
    time.sleep(0.25)
    return (used() - before) / (time.monotonic() - began)


def listening(address: str, endpoint: str, data: dict, callers: int) -> list[http.client.HTTPConnection]:
    """Callers who wait for an answer."""
    connections = []
    for _ in range(callers):
        event = post(address, f"/gradio_api/call/v2/{endpoint}", data)["event_id"]
        connection = http.client.HTTPConnection(urlsplit(address).netloc)
        connection.request("GET", f"/gradio_api/call/{endpoint}/{event}")
        connections.append(connection)
    return connections


def left(connections: list[http.client.HTTPConnection]) -> None:
    """All callers go."""
    for connection in connections:
        connection.sock.close()


def hostile(address: str, pid: int, calls: int) -> None:
    """Prints memory over hostile calls, and how many were refused."""
    stop_fn = handler(address, "stop")

    def memory() -> float:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def one(number: int) -> str:
        if number % 2:
            path, body = POSTS[number // 2 % len(POSTS)]
            return posted(address, path, body, stop_fn)
        endpoint, data = CALLS[number // 2 % len(CALLS)]
        event = post(address, f"/gradio_api/call/v2/{endpoint}", data)["event_id"]
        return result(address, endpoint, event)[0]

    print(f"before: {memory():.0f} MB", flush=True)
    with ThreadPoolExecutor(8) as pool:
        for tenth in range(10):
            kinds = list(pool.map(one, range(tenth * calls // 10, (tenth + 1) * calls // 10)))
            refused = len(kinds) - sum(kind in ("complete", "200") for kind in kinds)
            print(
                f"{(tenth + 1) * calls // 10:6} calls, "
                f"{refused} of {len(kinds)} refused: {memory():.0f} MB, {threads(pid)} threads",
                flush=True,
            )


def posted(address: str, path: str, body: Any, stop_fn: int) -> str:
    """The status of a request from a session that nobody has heard of."""
    if isinstance(body, dict):
        body = {
            name: {"SESSION": secrets.token_hex(8), "STOP": stop_fn}.get(value, value)
            if isinstance(value, str)
            else value
            for name, value in body.items()
        }
        body = json.dumps(body)
    request = urllib.request.Request(address + path, body.encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return str(reply.status)
    except urllib.error.HTTPError as refusal:
        return str(refusal.code)
    except OSError:  # the server hangs up on what is too long
        return "refused"


def handler(address: str, event: str) -> int:
    """The number of the handler of an event of the page."""
    config = json.load(urllib.request.urlopen(f"{address}/config", timeout=30))
    return next(
        each["id"] for each in config["dependencies"] if any(name == event for _, name in each["targets"])
    )


def main() -> None:
    """Starts the app and prints what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=40)
    parser.add_argument("--annotators", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--leave", action="store_true")
    parser.add_argument("--calls", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = f"sqlite:///{folder}/votes.sqlite3"
        outputs = [
            Output(f"prompt {n}", name, f"{name[::-1]} answers {n}")
            for n in range(100)
            for name in ("base", "kind")
        ]
        create(Store(database), "Load", outputs, repeats=0.0)
        with app(database) as (address, pid):
            if options.leave:
                leave(address, pid)
            elif options.calls:
                hostile(address, pid, options.calls)
            else:
                crowd(address, options.streams, options.annotators, options.seconds)


if __name__ == "__main__":
    main()
