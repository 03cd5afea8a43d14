"""What a client asks for, read into prompts and samplings."""

import pytest

from api.asked import parse
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
