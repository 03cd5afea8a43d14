"""Conversations of the Steer tab: each column reads its own answers, and what has no room is dropped from both alike."""

import pytest

from common.jsons import shown
from lm import Row, Sampling, load
from lm.codec import PromptError
from lm.prompts import prompt_ids
from steering import Library, Plan, train
from steering.controller import Controller
from steering.conversation import MAX_EARLIER, Prompts
from steering.requests import requested
from steering.session import Request
from steering.steer import steer
from tests.tiny import CHATML, THINKING, tiny
from tests.unit.steering.test_controller import ASKED, LOUD, PLAN

EARLIER = {"prompt": "Hi", "unsteered": "Good day.", "steered": "HELLO"}
SILENT = "{% for m in messages if m.role != 'system' %}[{{ m.content }}]{% endfor %}{% if add_generation_prompt %}>{% endif %}"
REFUSING = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + SILENT
)


@pytest.fixture
def model():
    model = load(str(tiny("llama")))
    model.tokenizer.chat_template = CHATML
    return model


@pytest.fixture
def desk(model) -> Controller:
    library = Library(model, {})
    library.add(LOUD, train(model, LOUD))
    return Controller(library)


def written(model, prompt) -> str:
    return model.tokenizer.decode(prompt_ids(model, prompt))


def turns(*said: str) -> str:
    roles = ["user", "assistant"] * len(said)
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in zip(roles, said, strict=False))


@pytest.mark.parametrize("more", [{}, {"history": [EARLIER]}, {"system": "Be kind."}])
def test_every_column_thinks_where_thinking_is_on(model, more):
    model.tokenizer.chat_template = THINKING
    asked = {"prompt": "And you?", **more}
    on, off = (Prompts.read(asked | {"thinking": each}, model, 8) for each in (True, False))
    for side in ("unsteered", "steered", "requested"):
        short, long = written(model, on.sides[side]), written(model, off.sides[side])
        assert short.endswith("assistant\n") and long == short + "<think>\n\n</think>\n\n"
    told = requested(on.sides["steered"], ["Be loud."])
    assert written(model, told).endswith("assistant\n") and "Be loud." in written(model, told)


def test_each_column_goes_on_after_its_own_answers(model):
    both = Prompts.read({"prompt": "And you?", "history": [EARLIER], "system": "Be kind."}, model, 8)
    system, opening = "<|im_start|>system\nBe kind.<|im_end|>\n", "<|im_start|>assistant\n"
    assert written(model, both.sides["unsteered"]) == system + turns("Hi", "Good day.", "And you?") + opening
    assert written(model, both.sides["steered"]) == system + turns("Hi", "HELLO", "And you?") + opening
    assert not both.alike and both.dropped == 0


@pytest.mark.parametrize(
    "asked", [{"prompt": "Hi"}, {"continue": "Once"}, {"prompt": "Hi", "system": "", "history": []}]
)
def test_what_has_no_history_is_one_prompt_for_both(model, asked):
    both = Prompts.read(asked, model, 8)
    assert both.alike and both.dropped == 0


def test_the_first_turns_that_have_no_room_are_dropped_from_both_columns_alike(model):
    long = {"prompt": "p" * 60, "unsteered": "u", "steered": "s" * 100}
    history = [{**long, "prompt": f"{number}" + long["prompt"]} for number in range(4)]
    both = Prompts.read({"prompt": "Now?", "history": history, "system": "Be kind."}, model, 64)
    for side, answer in (("unsteered", "u"), ("steered", "s" * 100)):
        text = written(model, both.sides[side])
        assert [f"{number}ppp" in text for number in range(4)] == [
            number >= both.dropped for number in range(4)
        ]
        assert "Be kind." in text and text.count(f"assistant\n{answer}<") == 4 - both.dropped
    lengths = [
        len(
            prompt_ids(
                model,
                Prompts.read(
                    {"prompt": "Now?", "history": history[first:], "system": "Be kind."}, model, 64
                ).sides["steered"],
            )
        )
        for first in (both.dropped, both.dropped - 1)
    ]
    assert 0 < both.dropped < 4 and lengths[0] + 64 <= model.context and lengths[0] == lengths[1]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"prompt": "x" * 600, "history": [EARLIER]}, "600|6[0-9][0-9] tokens, with 8 new ones"),
        ({"prompt": "", "history": [EARLIER]}, "empty"),
        ({"prompt": "Hi", "history": [{"prompt": "a"}]}, "prompt, unsteered and steered"),
        ({"prompt": "Hi", "history": "a"}, "prompt, unsteered and steered"),
        ({"prompt": "Hi", "history": [EARLIER] * (MAX_EARLIER + 1)}, "65 turns before"),
        ({"prompt": 3, "history": [EARLIER]}, "give a text"),
        ({"prompt": "Hi", "system": 3}, "give a text"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_one_sentence(model, asked, says):
    with pytest.raises(PromptError, match=says):
        Prompts.read(asked, model, 8)


@pytest.mark.parametrize("template", [SILENT, REFUSING])
def test_a_template_without_a_system_message_is_named_and_never_loses_one(model, template):
    model.tokenizer.chat_template = template
    assert not model.codec.knows_system
    with pytest.raises(PromptError, match="knows no system message"):
        Prompts.read({"prompt": "Hi", "system": "Be kind."}, model, 8)
    assert written(model, Prompts.read({"prompt": "Hi"}, model, 8).sides["steered"]) == "[Hi]>"


def test_a_run_answers_both_histories_and_its_program_does_the_same(model, desk):
    asked = ASKED | {"prompt": "And you?", "history": [EARLIER]}
    *_, (state, _) = desk.run("visitor", asked)
    request = Request.parse(asked, model)
    alone = model.generate([Row(prompt_ids(model, request.prompts.sides["unsteered"]), Sampling(0.0, 1, 8))])[
        0
    ]
    assert "".join(token[0] for token in state["unsteered"]) == alone.text
    both = steer(
        desk.library,
        request.prompt,
        Plan.from_json(PLAN),
        seed=1,
        max_new_tokens=8,
        prompts=request.prompts.sides,
    )
    assert [both[side]["text"] for side in ("unsteered", "steered")] == [
        "".join(token[0] for token in state[side]) for side in ("unsteered", "steered")
    ]
    assert (
        f"'unsteered': {request.prompts.sides['unsteered'].to_json()!r}" in state["snippet"]
        and "HELLO" in state["snippet"]
    )


def test_different_histories_are_not_sent_to_a_blind_comparison(desk):
    for _ in desk.run("visitor", ASKED | {"history": [EARLIER]}):
        pass
    assert "send the first turn" in desk.compare("visitor", lambda *_: pytest.fail("it was sent"))


@pytest.mark.parametrize("number", ["1", None, 1.5, True, [1]])
def test_a_run_whose_number_is_none_is_refused_in_one_sentence(desk, number):
    ((state, _),) = desk.run("visitor", ASKED | {"run": number})
    assert (state["phase"], state["problem"]) == ("error", f"Run is {shown(number)}: give a whole number.")
