"""What people write and the control tokens of a chat kept apart: no text becomes a token that has no text."""

import copy
import re
import secrets
from functools import cached_property

from tokenizers import AddedToken, Tokenizer

_KEY = f"\x1a{secrets.token_hex(8)}"
"""Begins what stands for a control token; nobody can write it, as it is another one in each process."""


class ControlTokens:
    """The tokens of a tokenizer that have no text, such as <|im_start|> and </s>.

    Where a person writes the name of one, it is marked (`marked`); `ids` then reads marked names as text, and
    names that a chat template wrote as the tokens.
    """

    def __init__(self, raw: Tokenizer):
        self._raw = raw
        self._added = {id: token for id, token in raw.get_added_tokens_decoder().items() if token.special}
        self._ids = {token.content: id for id, token in self._added.items()}
        names = sorted(self._ids, key=len, reverse=True)
        self._names = re.compile("|".join(map(re.escape, names)) or r"(?!)")

    def named_in(self, text: str) -> bool:
        """Whether the text holds the name of one."""
        return self._names.search(text) is not None

    def marked(self, text: str) -> str:
        """A person's text with a mark in place of each name, so that it stays apart from a template's."""
        return self._names.sub(lambda name: f"{_KEY}text{self._ids[name[0]]};", text)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text in which names are control tokens and marks are the names as text.

        Raises ValueError where the tokenizer cannot read a name as text.
        """
        twinned = self._names.sub(lambda name: _twin(self._ids[name[0]]), text)
        written = re.sub(f"{_KEY}text(\\d+);", lambda mark: self._added[int(mark[1])].content, twinned)
        ids = self._reader.encode(written, add_special_tokens=False).ids
        unknown = self._raw.token_to_id(str(getattr(self._raw.model, "unk_token", None)))
        for id in ids:
            if id in self._added and id != unknown:
                raise ValueError(
                    f"The tokenizer cannot read {self._added[id].content} as text: "
                    "leave it out of what you write."
                )
        return [self._twins.get(id, id) for id in ids]

    @cached_property
    def _reader(self) -> Tokenizer:
        """A tokenizer to which names are text, and twins of them are tokens."""
        reader = copy.deepcopy(self._raw)
        reader.no_truncation()
        reader.no_padding()
        reader.encode_special_tokens = True
        reader.add_tokens(
            [
                AddedToken(
                    _twin(id),
                    lstrip=token.lstrip,
                    rstrip=token.rstrip,
                    single_word=token.single_word,
                    normalized=False,
                )
                for id, token in self._added.items()
            ]
        )
        return reader

    @cached_property
    def _twins(self) -> dict[int | None, int]:
        return {self._reader.token_to_id(_twin(id)): id for id in self._added}


def _twin(id: int) -> str:
    return f"{_KEY}token{id};"
