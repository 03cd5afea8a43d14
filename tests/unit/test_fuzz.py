"""The endpoints, called as nobody should: every answer is a result or one sentence, whatever comes."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

import arena
from lab.panel import compose
from lm import load
from tests.tiny import tiny
from ui.server import mounted

BAD: list[Any] = [
    None, True, -1, 10**30, 1.5, float("nan"), "x" * 20_000, "", [[[[1]]]], {"a": {"b": [1]}}, ["\ud800"], "\x00", [None] * 3,
    {"__type__": "update"}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
]  # fmt: skip
PLAN = {"targets": [{"concept": "nobody"}]}
"""Of a concept that is not there: nothing is learned or decoded."""
CALLS: dict[str, list[Any]] = {
    "steer": ["Hi", PLAN, 0, 2, 0.0, None, None, None, None, 1.0, False],
    "sweep": ["Hi", PLAN, [0.5], None, 0, 2, 0.0, 1.0],
    "respond": ["Hi", ["nobody"], 0, 2, 0.7, None, None, 1.0, False],
    "evaluate": ["nobody", 4, 0],
    "battle": ["Ada"],
    "vote": ["b", "Ada", "a", "b", ""],
    "answer": ["b", "Ada", {"helpful": "a"}, ""],
    "undo": ["b", "Ada"],
    "ranking": ["helpful"],
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The whole page on a tiny model."""
    store = arena.Store(f"sqlite:///{tmp_path_factory.mktemp('fuzz') / 'votes.sqlite'}")
    with TestClient(mounted(compose(load(str(tiny("llama"))), store), "")) as client:
        yield client


def answered(client: TestClient, name: str, values: list[Any]) -> str | None:
    """The sentence of a call; None where it has a result."""
    url = f"/gradio_api/call/{name}"
    reply = client.post(
        url, content=json.dumps({"data": values}), headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 200, reply.text
    told = client.get(f"{url}/{reply.json()['event_id']}").text
    kind, data = (line.split(": ", 1)[1] for line in told.strip().split("\n")[-2:])
    return None if kind == "complete" else json.loads(data)["error"]


def test_every_endpoint_is_tried(client: TestClient) -> None:
    listed = client.get("/gradio_api/info").json()["named_endpoints"]
    taken = {name.strip("/"): len(told["parameters"]) for name, told in listed.items() if told["parameters"]}
    assert taken == {name: len(values) for name, values in CALLS.items()}


@pytest.mark.parametrize("name", CALLS)
def test_whatever_comes_is_answered_by_a_result_or_a_sentence(client: TestClient, name: str) -> None:
    good = CALLS[name]
    swapped = [[*good[:at], bad, *good[at + 1 :]] for at in range(len(good)) for bad in BAD]
    for values in [*swapped, *(good[:count] for count in range(len(good)))]:
        said = answered(client, name, values)
        assert said is None or re.fullmatch(r"[A-Zmpt'“][^\n]{9,400}[.!]", said), (values, said)
        assert said is None or not re.search(r"Traceback|Error\b|\.py|/file=|fault of the app", said), (
            values,
            said,
        )
        if len(values) < len(good) or "/etc/passwd" in str(values):
            assert said is not None


def test_more_than_is_taken_changes_nothing(client: TestClient) -> None:
    assert answered(client, "battle", ["Ada", 1, [2]]) == answered(client, "battle", ["Ada"])
