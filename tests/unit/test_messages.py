"""What Python sends to the page: typed, and of the shape of tests/golden, which tests/js draws.

TRADEWIND_WRITE_GOLDEN=1 writes the golden files anew, where a message is meant to change.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from gradio.utils import diff

import arena.messages
import pareto.messages
import steering.messages
from arena import Service
from arena.panel.studies import board_of
from steering.controller import Controller
from tests.arena_canned import fill, judge_all
from tests.messages import misfit, same, shape
from tests.unit.pareto.test_view import ASKED as TUNED
from tests.unit.pareto.test_view import controller as tuned  # noqa: F401
from tests.unit.pareto.test_view import model  # noqa: F401
from tests.unit.steering.conftest import library  # noqa: F401
from tests.unit.steering.test_controller import ASKED
from ui.document import WEB
from ui.parts import module, triggers

pytest_plugins = ["tests.arena_fixtures"]
GOLDEN = Path(__file__).parents[1] / "golden"


def plain(message: Any) -> Any:
    """As JSON brings it."""
    return json.loads(json.dumps(message))


def golden(name: str, made: list[Any]) -> list[Any]:
    """The file's messages; written first where that was asked for."""
    path = GOLDEN / f"{name}.json"
    if os.environ.get("TRADEWIND_WRITE_GOLDEN"):
        path.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    kept: list[Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def check(name: str, hint: Any, made: list[Any]) -> list[Any]:
    """Every message is of its type; first and last have the golden ones' shape."""
    kept = golden(name, [made[0], made[-1]])
    for message in [*made, *kept]:
        assert misfit(message, hint, name) == ""
    for ours, theirs in zip((made[0], made[-1]), kept, strict=True):
        assert same(shape(ours), shape(theirs)), f"{name}: {shape(ours)} is not {shape(theirs)}"
    return made


@pytest.fixture
def steer(library) -> Controller:  # noqa: F811
    return Controller(library)


def test_states_of_the_stage(steer) -> None:
    asked = ASKED | {"run": 1, "rival": "request", "watch": ["long"], "temperature": 0.9}
    states = [plain(state) for state, _ in steer.run("tab", asked)]
    check("stage", steering.messages.Stage, states)


def test_a_frame_of_text_sends_what_is_new(steer, monkeypatch) -> None:
    """Gradio sends what differs between two states: of a growing text the new tokens, and nothing twice."""
    monkeypatch.setattr("steering.stage.frame", lambda: 0.0)
    states = [plain(state) for state, _ in steer.run("tab", ASKED | {"run": 1, "max_new_tokens": 24})]
    streamed = [state for state in states if state["phase"] == "running"]
    assert len(streamed) > 5
    for before, after in zip(streamed, streamed[1:], strict=False):
        for change, path, _ in diff(before, after):
            assert change == "add" and path[0] in ("unsteered", "steered")
            assert path[1] >= len(before[path[0]])


def test_a_refused_request_names_its_field(steer) -> None:
    [(state, _)] = steer.run("tab", ASKED | {"run": 1, "temperature": -1})
    assert misfit(plain(state), steering.messages.Stage) == "" and state["field"] == "temperature"


def test_the_lens(steer) -> None:
    list(steer.run("tab", ASKED | {"run": 1}))
    check("lens", steering.messages.Lens, [plain(steer.inspect("tab", {"run": 1, "side": 1, "index": 2}))])


def test_a_sweep(steer) -> None:
    check("sweep", steering.messages.Work, [plain(state) for state in steer.sweep("tab", ASKED)])


def test_a_training(steer) -> None:
    examples = {"positive": [f"GO {n}" for n in range(10)], "negative": [f"go {n}" for n in range(10)]}
    states = [plain(state) for state in steer.train("tab", {"name": "short"} | examples)]
    check("training", steering.messages.Work, states)


def test_the_texts_of_trade_offs(tuned) -> None:  # noqa: F811
    made = [(plain(state), plain(card)) for state, card in tuned.run("tab", TUNED | {"selected": "helpful"})]
    check("texts", pareto.messages.Texts, [state for state, _ in made])
    check("card", pareto.messages.Card, [card for _, card in made if card])


def test_the_front(tuned) -> None:  # noqa: F811
    from pareto.panel import _front, _paper

    session = tuned.stranger()
    value = plain({**_front(tuned, session, None), "paper": _paper()})
    check("front", pareto.messages.Front, [value])


def test_what_the_controls_open_with(steer, tuned) -> None:  # noqa: F811
    from pareto.panel import _opening as trade_offs
    from steering.panel import _opening as steering_

    made = plain(steering_(steer.library, True))
    assert misfit(made, steering.messages.Opening) == "" and made["compare"]
    assert misfit(plain(trade_offs(tuned, False, 0.1)), pareto.messages.Opening) == ""


def test_the_list_of_studies(lite) -> None:
    fill(lite)
    judge_all(Service(lite), "Ada")
    everything = plain(board_of(lite, "", False))
    picked = plain(board_of(lite, everything["studies"][0]["id"], True))
    for message in (everything, picked):
        assert misfit(message, arena.messages.Board) == ""
    assert json.loads(everything["people"]) == [] and json.loads(picked["people"])[0]["annotator"] == "Ada"


def test_sentences_are_told_as_events_of_the_page() -> None:
    """The names that Python gives the outbox stand in the one list, of which JavaScript knows the rest."""
    events = (WEB / "shared" / "events.js").read_text("utf-8").partition("TRIGGERS")[0]
    listed = {*re.findall(r"^  '?([\w-]+)'?: '", events, re.MULTILINE)}
    told = [name for room in ("steering", "pareto", "arena") for file in Path(room).rglob("*.py")
            for name in re.findall(r'"as": "([\w-]+)"', file.read_text("utf-8"))]  # fmt: skip
    assert told and {*told, "said"} <= listed


def test_gradio_hears_what_the_list_says() -> None:
    for name, events in triggers().items():
        assert (WEB / f"{name}.js").exists()
        assert re.findall(r"'(\w+)'", module(name).partition("// ")[2]) == list(events)
