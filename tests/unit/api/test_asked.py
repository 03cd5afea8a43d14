"""What a client asks for, read into prompts and samplings."""

import json
import math
import re

import pytest

from api.asked import Refused, parse
from lab.policies import planned
from lm import Policies, load
from steering import Library
from tests.tiny import THINKING, tiny

ASKED = {"model": "base", "messages": [{"role": "user", "content": "Hi"}], "seed": 1}


@pytest.fixture(scope="module")
def policies() -> Policies:
    model = load(str(tiny("qwen3")))
    model.tokenizer.chat_template = THINKING
    return Policies(model)


@pytest.mark.parametrize("switch", ["enable_thinking", "thinking"])
def test_a_client_switches_thinking_on(policies, switch):
    def prompt(**more) -> str:
        [ids] = parse(ASKED | more, lambda name: (policies, name), chat=True).prompts
        return policies.model.codec.decode(ids)

    on, off = (prompt(chat_template_kwargs={switch: each}) for each in (True, False))
    assert off == prompt() == on + "<think>\n\n</think>\n\n"


def read(policies: Policies, **more):
    return parse(ASKED | more, lambda name: (policies, name), chat=True)


@pytest.mark.parametrize(
    "content", ["Hi there", [{"type": "text", "text": "Hi there"}], [{"type": "text", "text": "Hi"}, {"type": "text", "text": " there"}]]
)  # fmt: skip
def test_a_message_may_come_in_parts(policies, content):
    plain = read(policies, messages=[{"role": "user", "content": "Hi there"}])
    assert read(policies, messages=[{"role": "user", "content": content}]).prompts == plain.prompts


@pytest.mark.parametrize(
    "part", [None, 3, "Hi", {}, {"type": "text"}, {"type": "text", "text": None}, {"type": "text", "text": 5}, {"type": "image_url"}]
)  # fmt: skip
def test_a_part_that_is_no_text_is_refused(policies, part):
    with pytest.raises(Refused, match="parts that are no text"):
        read(policies, messages=[{"role": "user", "content": [{"type": "text", "text": "Hi"}, part]}])


@pytest.mark.parametrize(
    ("stop", "stops"), [(None, ()), ("", ()), ([], ()), ("a", ("a",)), (["a", "🙂"], ("a", "🙂"))]
)
def test_stop_strings_come_in_several_forms(policies, stop, stops):
    assert read(policies, stop=stop).stops == stops


@pytest.mark.parametrize(
    "neutral",
    [
        {"modalities": ["text"], "response_format": {"type": "text"}, "tools": [], "tool_choice": "none", "logit_bias": {}},
        {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "frequency_penalty": 0, "presence_penalty": 0.0},
        {"user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "parallel_tool_calls": True},
        {"stream_options": None, "n": None, "seed": None, "max_tokens": None, "max_completion_tokens": 9, "logprobs": False},
    ],
)  # fmt: skip
def test_fields_that_ask_for_nothing_are_taken(policies, neutral):
    read(policies, **neutral)


@pytest.mark.parametrize(
    "asking", [{"top_k": 5}, {"min_p": 0.1}, {"repetition_penalty": 1.2}, {"modalities": ["text", "audio"]}, {"response_format": {"type": "json_object"}}]
)  # fmt: skip
def test_fields_that_ask_for_what_is_not_done_are_refused(policies, asking):
    with pytest.raises(Refused, match=f"^{next(iter(asking))} .* is not supported: leave it out"):
        read(policies, **asking)


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ("hi", "Messages is 'hi': give a list of objects with role and content."),
        ([], "Messages is an empty list: give a list of objects with role and content."),
        ([{"role": "user"}], "A message has no content: give a text."),
        ([{"role": "user", "content": None}], "A message has no content: give a text."),
    ],
)
def test_what_messages_have_to_be_is_told(policies, messages, told):
    with pytest.raises(Refused) as caught:
        read(policies, messages=messages)
    assert str(caught.value) == told


@pytest.mark.parametrize("prompt", [[[True]], [[1, "a"]], [[1], ["a"]], [[1.5]], [{}]])
def test_token_ids_are_whole_numbers(policies, prompt):
    with pytest.raises(Refused, match="^(A prompt|Prompt) is .*: give a text or a list"):
        parse({"model": "base", "prompt": prompt}, lambda name: (policies, name), chat=False)


@pytest.mark.parametrize("chat", [True, False])
def test_a_prompt_that_fills_the_context_is_told_by_its_length(policies, chat):
    """And not by a number of new tokens that nobody gave."""
    text = "x" * policies.model.context
    asked = {"messages": [{"role": "user", "content": text}]} if chat else {"prompt": text}
    with pytest.raises(
        Refused, match=r"^The prompt has \d+ tokens, with 1 new ones more than the 512"
    ) as caught:
        parse({"model": "base"} | asked, lambda name: (policies, name), chat=chat)
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "more", [{"tool_calls": [{"id": "a"}]}, {"function_call": {"name": "f"}}, {"audio": {"id": "b"}}]
)
def test_what_a_message_holds_beside_its_text_is_refused_by_name(policies, more):
    with pytest.raises(Refused, match=f"^A message has '{next(iter(more))}', which is not supported"):
        read(policies, messages=[{"role": "assistant", "content": "Hi"} | more, *ASKED["messages"]])


def test_an_answer_of_openais_client_is_a_message(policies):
    empty = {"refusal": None, "annotations": [], "audio": None, "function_call": None, "tool_calls": None}
    turns = [
        {"role": "user", "content": "Hi", "name": "ann"},
        {"role": "assistant", "content": "Yes"} | empty,
    ]
    bare = [{name: turn[name] for name in ("role", "content")} for turn in turns]
    assert (
        read(policies, messages=turns + turns[:1]).prompts == read(policies, messages=bare + bare[:1]).prompts
    )


@pytest.mark.parametrize("options", [3, "usage", [], {"include_usage": "yes"}, {"include_usage": 1}])
def test_options_of_a_stream_are_an_object_of_flags(policies, options):
    with pytest.raises(Refused, match="^(stream_options|include_usage) is .*: give "):
        read(policies, stream=True, stream_options=options)


ODD = [math.nan, math.inf, -math.inf, True, False, -1, 1.5, 10**30, "", "x", [], [None], [True, math.nan], {}, {"a": None}, {"a": [True]}]  # fmt: skip
PYTHON = re.compile(r"\b(nan|inf|None|True|False|NoneType|dict|str|bool|tuple)\b|^'|[\[{] ?'")


@pytest.fixture(scope="module")
def steered(policies) -> Policies:
    library = Library(policies.model)
    return Policies(policies.model, plan=lambda plan: planned(library, plan))


def refused(policies: Policies, chat: bool, body: dict) -> Refused:
    with pytest.raises(Refused) as caught:
        parse(body, lambda name: (policies, name), chat=chat)
    assert not PYTHON.search(str(caught.value)), caught.value
    return caught.value


def odd(name: str, value: object) -> bool:
    """Whether a value of ODD is wrong for a field."""
    numbers = {"temperature": 2, "top_p": 1}
    if name in numbers:
        return type(value) not in (int, float) or not 0 <= value <= numbers[name]
    return value not in {
        "stop": ["", "x", []],
        "logprobs": [True, False],
        "plan": [],
        "stream_options": [{}, {"a": None}, {"a": [True]}],
    }.get(name, [])


@pytest.mark.parametrize(
    "name", ["temperature", "top_p", "n", "seed", "max_tokens", "max_completion_tokens", "stop", "stream_options", "logprobs", "messages", "model", "plan"]
)  # fmt: skip
def test_a_value_that_is_refused_names_its_field_in_json(steered, name):
    for value in ODD:
        if odd(name, value):
            assert refused(steered, True, ASKED | {name: value}).param == name


@pytest.mark.parametrize("field", ["role", "content"])
def test_a_fault_in_a_message_is_about_the_messages_in_json(steered, field):
    for value in [*ODD, None]:
        if not (field == "content" and value == "x"):
            message = {"role": "user", "content": "Hi", field: value}
            assert refused(steered, True, ASKED | {"messages": [message]}).param == "messages"


@pytest.mark.parametrize(
    "prompt", ["", " ", [""], [99_999], [-1], [[1, 10**30]], [[]], [None], [True], [math.nan], {}, 5]
)
def test_a_fault_in_a_prompt_is_about_the_prompt_in_json(steered, prompt):
    assert refused(steered, False, {"model": "base", "prompt": prompt}).param == "prompt"


@pytest.mark.parametrize(
    "fields",
    [
        {"targets": [{"concept": "nothing"}]},
        *({"targets": [{"concept": value}]} for value in (None, True, math.nan, [], {"a": None})),
        *({"targets": [{"concept": "sports", "p0": value}]} for value in (None, True, math.nan, math.inf)),
        *({"targets": [{"concept": "sports"}], name: value} for name in ("layers", "method", "scope", "cap", "hold", "budget", "when") for value in (True, math.nan, [None], {"a": None})),
        {"targets": [{"concept": "sports"}], "when": {"concept": "sports", "p": math.nan}},
        {"targets": [{"concept": "sports"}], "layers": [99]},
        {"targets": [{"concept": "sports"}], "budget": 0.1},
    ],
)  # fmt: skip
def test_a_fault_in_a_plan_is_about_the_plan_in_json(steered, fields):
    assert refused(steered, True, ASKED | {"plan": fields}).param == "plan"
    named = refused(steered, True, ASKED | {"model": f"plan:{json.dumps(fields)}"})
    assert named.param == "model"


def test_a_value_without_end_is_told_by_its_beginning(steered):
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    told = str(refused(steered, True, ASKED | {"n": deep}))
    assert told == f"n is {'[' * 60}…: give a whole number from 1 to 32."
