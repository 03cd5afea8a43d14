"""The text of an answer, as a client gets it."""

import asyncio

from api.answering import answering
from api.asked import parse
from lm import Policies, load
from lm.caller import Caller
from tests.families import SHAPE, t
from tests.tiny import CHATML, random_model
from tests.tokenizers import byte_fallback


def test_a_completion_keeps_the_space_before_its_first_word_and_a_message_begins_without(tmp_path):
    tokenizer = byte_fallback()
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(tmp_path)
    random_model(t.LlamaConfig(**SHAPE | {"vocab_size": len(tokenizer)})).save_pretrained(tmp_path)
    policies = Policies(load(str(tmp_path)))
    codec, asked = policies.model.codec, {"model": "base", "max_tokens": 8, "temperature": 1}

    async def answer(**fields) -> tuple[str, list[int], list[int]]:
        request = parse(asked | fields, lambda name: (policies, name), chat="messages" in fields)
        async with answering(request, Caller()) as events:
            *_, (choice, _, _) = [event async for event in events]
        return choice.text, [*request.prompts[0]], [token.id for token in choice.tokens]

    spaced = 0
    for seed in range(40):
        text, before, ids = asyncio.run(answer(prompt="hello", seed=seed))
        assert codec.decode(before) + text == codec.decode([*before, *ids])
        spaced += text.startswith(" ")
    assert spaced
    text, _, ids = asyncio.run(answer(messages=[{"role": "user", "content": "Hi"}], seed=0))
    assert text == codec.decode(ids)
