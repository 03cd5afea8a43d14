"""Chats, single prompts and continuations, from JSON and command lines to token ids."""

import argparse
import json

import pytest

from lm import load
from lm.codec import PromptError
from lm.prompts import MAX_CHARACTERS, MAX_TURNS, add_arguments, of_arguments, prompt_ids, read
from tests.tiny import THINKING, tiny

TEMPLATE = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
USER = {"role": "user", "content": "Hi"}
CHAT = [{"role": "system", "content": "Be kind."}, USER, {"role": "assistant", "content": "Hello!"}, USER]


@pytest.fixture(scope="module")
def model():
    model = load(str(tiny("llama")))
    model.tokenizer.chat_template = TEMPLATE
    return model


def text(model, asked) -> str:
    return model.tokenizer.decode(prompt_ids(model, asked))


@pytest.mark.parametrize(
    ("asked", "whole"),
    [
        ("Hi", "[user]Hi[assistant]"),
        ([USER], "[user]Hi[assistant]"),
        ({"prompt": "Hi"}, "[user]Hi[assistant]"),
        (CHAT, "[system]Be kind.[user]Hi[assistant]Hello![user]Hi[assistant]"),
        ({"messages": CHAT}, "[system]Be kind.[user]Hi[assistant]Hello![user]Hi[assistant]"),
        ({"prompt": None, "messages": None, "continue": "Once upon"}, "Once upon"),
        ("half \ud83d", "[user]half �[assistant]"),
        ({"continue": "half \ud83d"}, "half �"),
    ],
)
def test_three_ways_to_ask_become_tokens_and_come_back_from_json(model, asked, whole):
    assert text(model, asked) == whole
    again = read(json.loads(json.dumps(read(asked).to_json())))
    assert again == read(asked) and text(model, again) == whole


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ({}, "prompt, messages, continue"),
        ({"prompt": "a", "continue": "b"}, "Prompt and continue are given"),
        ({"prompt": 3}, "Prompt is 3: give a text"),
        ({"prompt": CHAT}, 'Prompt is [{"role": "system", "content": '),
        ({"prompt": "a", "thinking": 1}, "Thinking is 1: give true or false"),
        ({"continue": "a", "thinking": True}, "no turns, so leave it off"),
        ({"prompt": "a", "thinking": True}, "no switch for thinking"),
        ({"messages": "Hi"}, "Messages is 'Hi': give a list"),
        ({"continue": ["x"]}, "continued"),
        ({"continue": ""}, "empty"),
        (3, "list of objects"),
        (["Hi"], "list of objects"),
        ([{"role": "user"}], "has the fields role: give role and content"),
        ([USER | {"name": "x"}], "role, content, name"),
        ([{"role": "tool", "content": "x"}], "'tool': give system, user or assistant"),
        ([{"role": "user", "content": None}], "Content is null: give a text"),
        ([USER, {"role": "assistant", "content": "x"}], "last turn is the assistant's"),
        ([], "0 turns"),
        ([USER] * (MAX_TURNS + 1), f"{MAX_TURNS + 1} turns"),
        ("x" * (MAX_CHARACTERS + 1), "4,001 characters"),
        ([{"role": "user", "content": "x" * 6_000}] * 3, "18,000 characters"),
        ({"continue": "x" * 16_001}, "16,001 characters"),
        ({"continue": "x" * 3_000}, "3,000 tokens"),
        ([{"role": "user", "content": "x" * 1_000}] * 3, "drop the first turns"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(model, asked, says):
    with pytest.raises(PromptError) as refused:
        prompt_ids(model, asked)
    told = str(refused.value)
    assert says in told and told[0].isupper() and told.endswith(".") and "\n" not in told


def arguments(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(given)


def test_a_command_line_asks_in_three_ways(tmp_path):
    file = tmp_path / "chat.json"
    file.write_text("\ufeff" + json.dumps(CHAT[1:]), encoding="utf-8")
    assert of_arguments(arguments("--prompt", "Hi")) == read("Hi")
    assert of_arguments(arguments("--chat", str(file), "--system", "Be kind.")) == read(CHAT)
    assert of_arguments(arguments("--prompt", "Hi", "--system", "Be kind.")) == read(CHAT[:2])
    assert of_arguments(arguments("--continue", "Once")) == read({"continue": "Once"})


@pytest.mark.parametrize("asked", [{"prompt": "Hi"}, {"messages": CHAT}, {"messages": [USER]}])
def test_thinking_stands_beside_a_chat_and_comes_back_from_json(asked):
    model = load(str(tiny("qwen3")))
    model.tokenizer.chat_template = THINKING
    on = read(asked | {"thinking": True})
    assert read(json.loads(json.dumps(on.to_json()))) == on != read(asked)
    assert read(asked | {"thinking": False}) == read(asked) == read(asked | {"thinking": None})
    assert text(model, on) + "<think>\n\n</think>\n\n" == text(model, asked)


def test_a_command_line_asks_for_thinking():
    assert of_arguments(arguments("--prompt", "Hi", "--thinking")) == read({"prompt": "Hi", "thinking": True})
    system = of_arguments(arguments("--prompt", "Hi", "--thinking", "--system", "Be kind."))
    assert system == read({"messages": CHAT[:2], "thinking": True})
    with pytest.raises(PromptError, match="--thinking goes with"):
        of_arguments(arguments("--continue", "Once", "--thinking"))


def test_what_a_command_line_cannot_ask_is_one_sentence(tmp_path):
    file = tmp_path / "chat.json"
    for content in ("", "{", "[" * 100_000, '"Hi"', '{"a": 1}'):
        file.write_text(content)
        if content == '"Hi"':
            assert of_arguments(arguments("--chat", str(file))) == read("Hi")
            continue
        with pytest.raises(PromptError):
            of_arguments(arguments("--chat", str(file)))
    with pytest.raises(PromptError, match="no JSON file"):
        of_arguments(arguments("--chat", str(tmp_path / "none")))
    with pytest.raises(PromptError, match="--system goes with"):
        of_arguments(arguments("--continue", "Once", "--system", "x"))
    for both in (("--prompt", "a", "--continue", "b"), ()):
        with pytest.raises(SystemExit):
            arguments(*both)
