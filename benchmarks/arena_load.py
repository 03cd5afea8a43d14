"""How the Compare tab stands a crowd: speed, and lost, doubled or misattributed votes.

python benchmarks/arena_load.py             50 annotators, one app, SQLite
    --database URL --replicas 2             on an empty PostgreSQL database, two apps
    --kills 10                              so often an app is killed (-9) and started anew: no told vote may be missing
"""

import argparse
import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from arena import Output, Store, create, ranking, votes_frame  # noqa: E402

ANSWERS = ("a", "b", "tie", "both_bad", "skip")


def serve(database: str, port: int) -> None:
    """One replica: the tab alone, without a limit on votes a minute that only a machine exceeds."""
    import gradio as gr

    from arena.panel import build
    from ui import server

    store = Store(database)
    with gr.Blocks(analytics_enabled=False) as app:
        build(store, votes_a_minute=100_000)
    server.serve(server.queued(app), "127.0.0.1", port, store.check)


def start(database: str, port: int = 0) -> tuple[subprocess.Popen, str]:
    """A running replica and its address, on any free port where none is given."""
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(port), "--database", database], stdout=subprocess.DEVNULL
    )
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5).close()
            return process, f"http://127.0.0.1:{port}"
        except (urllib.error.URLError, TimeoutError):
            if process.poll() is not None:
                raise SystemExit("The app did not start; its message stands above.") from None
            time.sleep(0.2)


def call(address: str, endpoint: str, *data: object) -> dict:
    """One call of an endpoint; ConnectionError if the app goes away or refuses."""
    url = f"{address}/gradio_api/call/{endpoint}"
    body = json.dumps({"data": data}).encode()
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as reply:
            event = json.load(reply)["event_id"]
        with urllib.request.urlopen(f"{url}/{event}", timeout=120) as stream:
            lines = [line.split(": ", 1)[1] for line in stream.read().decode().split("\n") if ": " in line]
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ConnectionError(str(error)) from error
    if lines[-2:-1] != ["complete"]:
        raise ConnectionError(str(lines[-2:]))
    return json.loads(lines[-1])[0]


class Crowd:
    """Annotators that vote until nothing is left, and remember what was acknowledged."""

    def __init__(self, addresses: list[str], kills: int = 0) -> None:
        self.addresses, self.kills = addresses, kills
        self.acknowledged: list[tuple[str, str, str]] = []
        self.sent: dict[tuple[str, str], str] = {}
        self.seconds: dict[str, list[float]] = {"battle": [], "vote": []}
        self.lock = threading.Lock()

    def sit(self, number: int) -> None:
        """One annotator's sitting, who asks again where the app goes away."""
        person, address = f"person {number}", self.addresses[number % len(self.addresses)]
        answer = ANSWERS[number % len(ANSWERS)]
        while True:
            try:
                while (battle := self.timed(address, "battle", person)["battle"]) is not None:
                    self.sent[battle, person] = answer
                    self.timed(address, "vote", battle, person, answer, "tie", person)
                    with self.lock:
                        self.acknowledged.append((battle, person, answer))
                return
            except ConnectionError:
                if self.kills == 0:
                    raise
                time.sleep(0.2)

    def timed(self, address: str, endpoint: str, *data: object) -> dict:
        began = time.perf_counter()
        result = call(address, endpoint, *data)
        with self.lock:
            self.seconds[endpoint].append(time.perf_counter() - began)
        return result

    def run(self, annotators: int) -> float:
        """All sittings at once; returns the seconds they took."""
        began = time.perf_counter()
        with ThreadPoolExecutor(annotators) as pool:
            list(pool.map(self.sit, range(annotators)))
        return time.perf_counter() - began


def faults(database: str, crowd: Crowd) -> dict[str, int]:
    """What the database holds against what the annotators sent and were told."""
    with Store(database).read() as session:
        votes = votes_frame(session)
    stored = list(zip(votes["battle"], votes["annotator"], votes["helpful"], votes["comment"], strict=True))
    wrong = [row for row in stored if crowd.sent.get((row[0], row[1])) != row[2] or row[1] != row[3]]
    return {
        "stored": len(stored),
        "acknowledged": len(crowd.acknowledged),
        "lost": len(set(crowd.acknowledged) - {row[:3] for row in stored}),
        "doubled": len(stored) - len({row[:2] for row in stored}),
        "misattributed": len(wrong),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--annotators", type=int, default=50)
    parser.add_argument("--prompts", type=int, default=4, help="three battles each")
    parser.add_argument(
        "--database", help="SQLAlchemy URL of an empty database (default: a temporary SQLite)"
    )
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--kills", type=int, default=0, help="kills -9 of a replica, spread over the votes")
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.database, options.serve)
    with tempfile.TemporaryDirectory() as folder:
        database = options.database or f"sqlite:///{folder}/arena.sqlite3"
        outputs = [
            Output(f"prompt {number}", name, f"{name[::-1]} answers {number}")
            for number in range(options.prompts)
            for name in ("base", "formal", "kind")
        ]
        create(Store(database), "Load", outputs, repeats=0.0)
        replicas = [start(database) for _ in range(options.replicas)]
        crowd = Crowd([address for _, address in replicas], options.kills)
        wanted = options.annotators * options.prompts * 3
        killing = threading.Thread(target=kill, args=(database, replicas, crowd, wanted))
        killing.start()
        took = crowd.run(options.annotators)
        killing.join()
        counts = faults(database, crowd)
        backend = Store(database).url.get_backend_name()
        print(f"{options.annotators} annotators, {options.replicas} app(s), {backend}")
        print(
            f"{len(crowd.acknowledged)} of {wanted} votes in {took:.1f} s: {len(crowd.acknowledged) / took:.1f} votes/s"
        )
        for endpoint, seconds in crowd.seconds.items():
            cuts = statistics.quantiles(seconds, n=20)
            print(f"/{endpoint}: median {statistics.median(seconds):.2f} s, 95% under {cuts[-1]:.2f} s")
        print(", ".join(f"{name} {count}" for name, count in counts.items()))
        seen = [call(address, "ranking", "helpful")["table"] for _, address in replicas]
        with Store(database).read() as session:
            own = ranking(votes_frame(session), "helpful").to_json()["table"]
        print("replicas and database agree on the ranking:", all(table == own for table in seen))
        for process, _ in replicas:
            process.kill()
            process.wait()
        sys.exit(int(any(counts[fault] for fault in ("lost", "doubled", "misattributed"))))


def kill(database: str, replicas: list, crowd: Crowd, wanted: int) -> None:
    """Kills one replica after the other in the middle of the votes, and starts each again at its address."""
    for number in range(crowd.kills):
        while len(crowd.acknowledged) < wanted * (number + 1) // (crowd.kills + 1):
            time.sleep(0.01)
        process, address = replicas[number % len(replicas)]
        process.kill()
        process.wait()
        print(f"kill -9 after {len(crowd.acknowledged)} votes were told", flush=True)
        replicas[number % len(replicas)] = start(database, urlsplit(address).port or 0)


if __name__ == "__main__":
    main()
