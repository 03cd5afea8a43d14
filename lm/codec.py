"""Between text and token ids: all that tokenizers and their chat templates do differently, in one place."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from lm.control import ControlTokens
from lm.unicode import well_formed

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

Message = Mapping[str, str]
TODAY = date(2024, 7, 26)
"""The day that every chat template is told, so that a prompt has the same tokens tomorrow."""
_DIRECTIVES = {f"%{letter}": TODAY.strftime(f"%{letter}") for letter in "aAbBcdGHIjmMpSuUVwWxXyYfzZ"}
_DIRECTIVES |= {"%e": f"{TODAY.day:2}", "%F": "2024-07-26", "%D": "07/26/24", "%T": "00:00:00", "%R": "00:00"}
_UNPADDED = {f"%-{name[1]}": value.lstrip("0") or "0" for name, value in _DIRECTIVES.items()}
_STRFTIME_NOW = (
    "{% macro strftime_now(format) %}{{ format"
    + "".join(
        f" | replace({name!r}, {value!r})" for name, value in (_DIRECTIVES | _UNPADDED | {"%%": "%"}).items()
    )
    + " }}{% endmacro %}\n"
)
"""Replaces the template function that tells today's date, on a line of its own, which leaves no text."""
CONTEXT = 8
"""Tokens before a text that tell how it begins."""
THINKING = ("enable_thinking", "thinking")
"""The switches that templates of reasoning models know; other templates ignore them."""
_UNTIDY = re.compile(r" (n?'?|'[vr])$")
"""The beginning of what transformers closes up: " .", " n't", " 've"."""
_ANSWER = "\x1aanswer\x1a"
"""A text that no template holds, to see where one writes what it is given."""


class PromptError(ValueError):
    """A prompt that cannot be answered; the message says why."""

    field = "prompt"


class Codec:
    """A tokenizer as the rest of lm uses it. name: of its model, for messages."""

    def __init__(self, name: str, tokenizer: "PreTrainedTokenizerFast"):
        self.name, self.tokenizer = name, tokenizer

    def chat_ids(self, messages: Sequence[Message], *, thinking: bool = False) -> list[int]:
        """Token ids of a chat up to where the assistant answers. Without a chat template, its turns are plain
        text with a blank line in between. thinking: whether the model thinks first, where its template has
        that switch.

        Raises PromptError with what the template says where it refuses the chat.
        """
        if thinking and not self.knows_thinking:
            raise PromptError(f"The chat template of {self.name} has no switch for thinking: leave it off.")
        texts = [well_formed(message["content"]) for message in messages]
        typed = any(map(self._control.named_in, texts))
        texts = [*map(self._control.marked, texts)] if typed and self.has_template else texts
        turns = [{**message, "content": text} for message, text in zip(messages, texts, strict=True)]
        if not self.has_template:
            return self.text_ids("\n\n".join(turn["content"] for turn in turns))
        if turns[0]["role"] == "system" and not self.knows_system:
            self._rendered(turns[1:], opens=True)  # a template that refuses every chat says why
            raise PromptError(
                f"The chat template of {self.name} knows no system message: "
                "say it in the first prompt, or take another model."
            )
        opened = self._opened(turns, thinking)
        if not self._hears_user:
            raise PromptError(
                f"The chat template of {self.name} leaves out what the user says: give plain text to be continued, "
                "or take another model."
            )
        return self._marked_ids(opened) if typed else self._plain_ids(opened)

    @property
    def has_template(self) -> bool:
        """Whether the model was taught chats in a form of its own."""
        template = self.tokenizer.chat_template
        return bool(template.strip() if isinstance(template, str) else template)

    @cached_property
    def knows_system(self) -> bool:
        """Whether the chat template writes a system message: some refuse it, others leave it out."""
        if not self.has_template:
            return True
        return self._hears(("system", "user"), parts=self._in_parts)

    @cached_property
    def knows_thinking(self) -> bool:
        """Whether the chat template has a switch by which the model thinks before it answers."""
        if not self.has_template:
            return False
        turns = [{"role": "user", "content": "Hi"}]
        try:
            off, on = (self._rendered(turns, opens=True, thinking=switch) for switch in (False, True))
        except PromptError:
            return False
        return off != on

    def text_ids(self, text: str) -> list[int]:
        """Token ids of plain text that begins a sequence: with the tokens that the tokenizer puts before a
        text, and without those it puts behind.
        """
        return [*self._prefix, *self.answer_ids(text)]

    def answer_ids(self, text: str) -> list[int]:
        """Token ids of a text that follows others, without any that the tokenizer adds. The name of a control
        token, such as <|im_end|>, is read as text like all else.
        """
        text = well_formed(text)
        if self._control.named_in(text):
            return self._marked_ids(self._control.marked(text))
        return self._plain_ids(text)

    def stream(self, before: Sequence[int] = ()) -> "TextStream":
        """The text of token ids that come one by one. before: tokens whose text it goes on from."""
        return TextStream(self, before)

    def piece(self, id: int) -> str:
        """The text of one token within others; the name of a special one."""
        if id in self.special:
            return self._raw.id_to_token(id) or ""
        stream = self.stream()
        return "".join([*map(stream.push, [*self.answer_ids("a"), id]), stream.flush()])[1:]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids without special tokens, as the tokenizer tells it."""
        text = self.untidied(ids)
        return self.tokenizer.clean_up_tokenization(text) if self.tidies else text

    def untidied(self, ids: Sequence[int]) -> str:
        """The same, before marks are closed up."""
        return self._raw.decode(ids, skip_special_tokens=True)

    @cached_property
    def tidies(self) -> bool:
        """Whether transformers closes up what the tokenizer leaves apart, as in "so , it 's"."""
        tokenizer = self.tokenizer
        return bool(tokenizer.clean_up_tokenization_spaces) and (
            type(self._raw.model).__name__ != "BPE"
            or bool(tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output)
        )

    @cached_property
    def special(self) -> frozenset[int]:
        """Tokens that have no text."""
        return frozenset(id for id, token in self._raw.get_added_tokens_decoder().items() if token.special)

    @cached_property
    def byte_ids(self) -> frozenset[int]:
        """Tokens that stand for a byte each (byte fallback), by which characters outside the vocabulary are
        spelled.
        """
        ids = (self._raw.token_to_id(f"<0x{byte:02X}>") for byte in range(256))
        return frozenset(id for id in ids if id is not None)

    @property
    def _raw(self) -> "Tokenizer":
        return self.tokenizer.backend_tokenizer

    @cached_property
    def _prefix(self) -> list[int]:
        """What the tokenizer puts before a text, found with a text whose own tokens are known."""
        bare = self._plain_ids("a")
        whole: list[int] = self.tokenizer("a")["input_ids"]
        starts = (at for at in range(len(whole)) if whole[at : at + len(bare)] == bare)
        return whole[: next(starts, 0)]

    @cached_property
    def _control(self) -> ControlTokens:
        return ControlTokens(self._raw)

    def _plain_ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _marked_ids(self, text: str) -> list[int]:
        """Token ids of a text that marks the names of control tokens that people wrote."""
        try:
            return self._control.ids(text)
        except ValueError as error:
            raise PromptError(str(error)) from error

    @cached_property
    def _in_parts(self) -> bool:
        """Whether the chat template takes no plain text, only a list of parts, as for messages with images."""
        return not self._hears(("user",), parts=False) and self._hears(("user",), parts=True)

    def _hears(self, roles: Sequence[str], *, parts: bool, refused: bool = False) -> bool:
        """Whether the template's output depends on the first role's words; `refused` where the template
        refuses the chat.
        """
        chats = (
            [{"role": role, "content": text if role == roles[0] else "Hi"} for role in roles]
            for text in ("a", "b")
        )
        try:
            first, other = (self._written(chat, parts=parts, opens=True) for chat in chats)
        except PromptError:
            return refused
        return first != other

    @cached_property
    def _hears_user(self) -> bool:
        return self._hears(("user",), parts=self._in_parts, refused=True)

    def _opened(self, turns: Sequence[Message], thinking: bool) -> str:
        """The chat as text, with the head of the assistant's answer. A template that cannot open an answer
        shows that head where it writes one.
        """
        text = self._rendered(turns, opens=True, thinking=thinking)
        if text != self._rendered(turns, opens=False, thinking=thinking):
            return text
        turns = [*turns, {"role": "assistant", "content": _ANSWER}]
        answered = self._rendered(turns, opens=False, thinking=thinking)
        head, separator, _ = answered.removeprefix(text).partition(_ANSWER)
        return text + head if separator and answered.startswith(text) and head.strip() else text

    def _rendered(self, turns: Sequence[Message], *, opens: bool, thinking: bool = False) -> str:
        return self._written(turns, parts=self._in_parts, opens=opens, thinking=thinking)

    def _written(self, turns: Sequence[Message], *, parts: bool, opens: bool, thinking: bool = False) -> str:
        """The chat as text, with the switches that templates of reasoning models know; others overlook them."""
        written: list[Any] = [
            {**turn, "content": [{"type": "text", "text": turn["content"]}] if parts else turn["content"]}
            for turn in turns
        ]
        template = self._template
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    written,
                    chat_template=template,
                    tokenize=False,
                    add_generation_prompt=opens,
                    enable_thinking=thinking,
                    thinking=thinking,
                )
            )
        except Exception as error:  # any error: a template is a program of the model's author
            message = " ".join(str(error).split()) or type(error).__name__
            remedy = "give plain text to be continued, mend the template"
            if [turn["role"] for turn in turns] != ["user"]:
                remedy = "leave out the system turn, let user and assistant alternate"
            raise PromptError(
                f"The chat template of {self.name} refuses this chat ({message[:200].rstrip('.')}): "
                f"{remedy}, or take another model."
            ) from error

    @property
    def _template(self) -> str:
        named = self.tokenizer.chat_template
        if isinstance(named, dict) and "default" not in named:
            raise PromptError(
                f"The chat templates of {self.name} are called {' and '.join(sorted(named))}, and none default: "
                "give plain text to be continued, or call one of them default."
            )
        template = self.tokenizer.get_chat_template()
        return _STRFTIME_NOW + template if "strftime_now" in template else template


class TextStream:
    """The text of tokens that come one by one: the pieces, joined, are what the tokenizer tells of them all.

    A piece is held back as long as later tokens can change it: a character whose bytes are not all there, bytes in
    a row, which count as broken all together, and a space that a mark may close up.
    """

    def __init__(self, codec: Codec, before: Sequence[int] = ()):
        self._codec = codec
        self._ids = self._context(before)
        self._told, self._text = len(self._ids), codec.untidied(self._ids)
        self._apart = ""

    def _context(self, before: Sequence[int]) -> list[int]:
        """The last tokens before the text; none where these have no text of their own, or one that more bytes change."""
        unsure = self._codec.special | self._codec.byte_ids
        context = [*takewhile(lambda id: id not in unsure, reversed(before[-CONTEXT:]))][::-1]
        return [] if self._codec.untidied(context).endswith("\N{REPLACEMENT CHARACTER}") else context

    def push(self, id: int) -> str:
        """Takes in a token. Returns the text that is certain now; often nothing."""
        if id in self._codec.special:
            return ""
        self._ids.append(id)
        text = self._codec.untidied(self._ids)
        unsure = id in self._codec.byte_ids or text.endswith("\N{REPLACEMENT CHARACTER}")
        return "" if unsure else self._tidied(self._tell(text))

    def flush(self) -> str:
        """The text that was held back, where no token follows."""
        return self._tidied(self._tell(self._codec.untidied(self._ids)), last=True)

    def _tell(self, text: str) -> str:
        """What is new. The tokens that it came of stay as context of the next: a token's space may depend on
        whether it comes first.
        """
        piece = text[len(self._text) :]
        if piece:
            self._ids = self._ids[self._told :]
            self._told, self._text = len(self._ids), self._codec.untidied(self._ids)
        return piece

    def _tidied(self, piece: str, *, last: bool = False) -> str:
        """What is certain of a piece and those that were held back, with marks closed up."""
        if not self._codec.tidies:
            return piece
        self._apart += piece
        text = self._codec.tokenizer.clean_up_tokenization(self._apart)
        if not last and any(map(_UNTIDY.search, (self._apart, text))):
            return ""
        self._apart = ""
        return text
