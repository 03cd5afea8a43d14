"""What a client asks for, read into prompts and samplings."""

import pytest

from api.asked import Refused, parse
from lm import Policies, load
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


@pytest.mark.parametrize("prompt", [[[True]], [[1, "a"]], [[1], ["a"]], [[1.5]], [{}]])
def test_token_ids_are_whole_numbers(policies, prompt):
    with pytest.raises(Refused, match="^(A prompt|Prompt) is .*: give a text or a list"):
        parse({"model": "base", "prompt": prompt}, lambda name: (policies, name), chat=False)
