"""A concept of one's own: from a sentence, from a control vector, and what a person is told of their examples."""

import base64
import json
import threading

import pytest

from common.jsons import shown
from lm import Stopped, load
from steering import Concept, Library, train
from steering.controller import Controller
from steering.teaching import _different, _tidy, drafted
from tests.tiny import tiny

LOUD = Concept(
    "loud", tuple(f"LOOK AT {n} NOW" for n in range(10)), tuple(f"see {n} later" for n in range(10))
)


@pytest.fixture(scope="module")
def library() -> Library:
    model = load(str(tiny("llama")))
    made = Library(model, {})
    made.add(LOUD, train(model, LOUD))
    return made


@pytest.fixture
def controller(library) -> Controller:
    return Controller(library)


def test_the_model_writes_pairs_from_one_sentence(controller):
    *states, last = controller.write("tab", {"sentence": "like a very\nloud person"})
    fractions = [state["fraction"] for state in states]
    assert fractions == sorted(fractions) and last["fraction"] is None
    drafts = last["drafts"]
    assert (
        len(drafts["positive"]) == len(drafts["negative"])
        and f"{len(drafts['positive'])} pairs" in last["note"]
    )
    assert all(text and "\n" not in text for side in drafts.values() for text in side)
    assert not set(drafts["positive"]) & set(drafts["negative"])


@pytest.mark.parametrize("sentence", ["", "   ", None, "x" * 301])
def test_a_description_is_one_sentence(controller, sentence):
    *_, last = controller.write("tab", {"sentence": sentence})
    assert "give one sentence of 1 to 300." in last["problem"]


def test_writing_stops(library):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        drafted(library.model, "loud", lambda share: None, stop)


def test_drafts_are_whole_sentences_that_differ():
    assert _tidy(" One thing.\nAnother thing! And a") == "One thing. Another thing!"
    assert _tidy("no end here") == "no end here"
    pairs = [
        ("A ship at sea", "A car on land"),
        ("A ship at sea!", "Something else"),
        ("", "x"),
        ("Same text", "same text."),
    ]
    assert _different(pairs) == [("A ship at sea", "A car on land")]


def test_a_control_vector_comes_back_as_a_concept_of_the_tab(controller, library):
    name, content = controller.vector("tab", "loud", "gguf")
    assert name.startswith("loud-") and name.endswith(".gguf") and content[:4] == b"GGUF"
    *_, last = controller.train("tab", {"name": "copy", "gguf": base64.b64encode(content).decode()})
    done = last["done"]
    assert done["name"] == "copy" and done["curves"]["accuracy"] == [] and done["costs"] and done["opens"]
    assert "a vector comes without texts" in last["note"] and done["texts"]["positive"] == ()
    plan = {"targets": [{"concept": "copy"}], "budget": done["opens"]}
    asked = {"prompt": "Why?", "plan": plan, "seed": 1, "max_new_tokens": 6, "temperature": 0.0, "run": 1}
    *_, (state, _) = controller.run("tab", asked)
    assert state["phase"] == "done" and "imported" in state["snippet"]


@pytest.mark.parametrize(
    "gguf, says",
    [
        (base64.b64encode(b"GGUF but no more").decode(), "no whole GGUF control vector"),
        ("no base64!", "did not arrive whole"),
        (7, "too large"),
        ("A" * 22_000_000, "too large"),
    ],
)
def test_a_damaged_vector_is_refused_in_one_sentence(controller, gguf, says):
    *_, last = controller.train("tab", {"name": "copy", "gguf": gguf})
    assert says in last["problem"] and last["problem"].endswith(".")


def test_ones_own_concept_may_be_taught_again_and_a_shipped_one_not(controller):
    texts = {"positive": [f"GO {n}" for n in range(9)], "negative": [f"go {n}" for n in range(9)]}
    for _ in range(2):
        *_, last = controller.train("tab", {"name": "mine", **texts})
        assert last["done"]["texts"]["positive"] == tuple(texts["positive"])
    *_, last = controller.train("tab", {"name": "loud", **texts})
    assert last["problem"] == "The name 'loud' is taken: give another."


@pytest.mark.parametrize(
    "positive, negative, says",
    [
        (["GO now"] * 9, [f"go {n}" for n in range(9)], "only 1 differ"),
        ([], [f"go {n}" for n in range(9)], "positive side has 0 texts"),
        (
            [f"Go there {n}, please, and come back at once" for n in "abcdefghi"],
            [f"{n} {n} sleeps" for n in "abcdefghi"],
            "near copies",
        ),
        (
            [f"arr {n} sea" for n in "abcdefghi"],
            [f"well {n} land" for n in "jklmnopqr"],
            "Single words tell 100 % of the examples apart",
        ),
        ([f"GO {n}" for n in range(9)], [f"go {n}" for n in range(9)], "9 examples a side are few"),
    ],
)
def test_a_person_is_told_what_their_examples_lack(controller, positive, negative, says):
    *_, last = controller.train("tab", {"name": "mine", "positive": positive, "negative": negative})
    assert says in (last.get("problem") or last["note"])


@pytest.mark.parametrize("value", [5, None, True, "", [1]])
def test_what_is_no_text_is_told_as_it_stands_in_the_file(controller, value):
    *_, last = controller.train("tab", {"name": "mine", "lines": json.dumps({"positive": value})})
    assert last["problem"] == f"mine, line 1, positive is {shown(value)}: give a text that is not empty."
