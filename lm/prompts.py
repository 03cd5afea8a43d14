"""Three ways to ask: a chat of several turns, a single prompt (a chat of one), plain text to be continued.

In JSON a prompt is a text, a list of {"role", "content"}, {"messages": that list}, or {"continue":
text}. With {"thinking": true} beside "prompt" or "messages" the model thinks before it answers, where
its chat template has that switch.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.jsons import shown
from common.reading import text_of
from lm.codec import PromptError
from lm.model import LanguageModel
from lm.unicode import well_formed

MAX_CHARACTERS, MAX_CHAT_CHARACTERS, MAX_TURNS = 4_000, 16_000, 64
"""Of a single prompt; of all turns of a chat, or of a text to be continued; turns of a chat."""
MAX_PROMPT_TOKENS = 2_048
ROLES = ("system", "user", "assistant")
FIELDS = ("prompt", "messages", "continue")
"""Under which a request names what is asked: one of them."""


@dataclass(frozen=True)
class Turn:
    """What one side of a chat says."""

    role: str
    content: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise PromptError(f"Role is {shown(self.role)}: give system, user or assistant.")
        if not isinstance(self.content, str):
            raise PromptError(f"Content is {shown(self.content)}: give a text.")
        object.__setattr__(self, "content", well_formed(self.content))


@dataclass(frozen=True)
class Chat:
    """Turns that the assistant answers. A single prompt is a chat of one turn."""

    turns: tuple[Turn, ...]
    thinking: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.turns) <= MAX_TURNS:
            raise PromptError(f"The chat has {len(self.turns)} turns: give 1 to {MAX_TURNS}.")
        if self.turns[-1].role != "user":
            raise PromptError(f"The last turn is the {self.turns[-1].role}'s: end with the user's.")
        if not self.turns[-1].content.strip():
            raise PromptError("The prompt is empty: write what the model answers.")
        most = MAX_CHARACTERS if self.single else MAX_CHAT_CHARACTERS
        _bounded("prompt" if self.single else "chat", sum(len(turn.content) for turn in self.turns), most)

    @property
    def single(self) -> bool:
        """Whether it is one prompt and nothing else."""
        return len(self.turns) == 1

    @property
    def text(self) -> str:
        """What a person reads."""
        if self.single:
            return self.turns[0].content
        return "\n\n".join(f"{turn.role.capitalize()}: {turn.content}" for turn in self.turns)

    def to_json(self) -> str | list[dict[str, str]] | dict[str, Any]:
        """A single prompt as its text, else the turns, with thinking where it is on; `read` gives it back."""
        turns = [dict(vars(turn)) for turn in self.turns]
        if self.thinking:
            return {"messages": turns, "thinking": True}
        return self.text if self.single else turns

    def ids(self, model: LanguageModel) -> list[int]:
        """Token ids up to where the assistant answers."""
        return model.chat_ids([vars(turn) for turn in self.turns], thinking=self.thinking)


@dataclass(frozen=True)
class Continuation:
    """Plain text that the model goes on with."""

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise PromptError("The text to be continued is empty: write its beginning.")
        _bounded("text", len(self.text), MAX_CHAT_CHARACTERS)
        object.__setattr__(self, "text", well_formed(self.text))

    def to_json(self) -> dict[str, str]:
        """`read` gives it back."""
        return {"continue": self.text}

    def ids(self, model: LanguageModel) -> list[int]:
        """Token ids, with what the tokenizer puts before a text."""
        return model.text_ids(self.text)


@dataclass(frozen=True)
class Tokens:
    """Token ids that the model goes on with, as they are. In JSON a list of whole numbers."""

    tokens: tuple[int, ...]

    @property
    def text(self) -> str:
        """What a person reads."""
        return f"{len(self.tokens)} tokens"

    def to_json(self) -> list[int]:
        """`read` gives it back."""
        return list(self.tokens)

    def ids(self, model: LanguageModel) -> list[int]:
        """The same. Raises PromptError where the model has no such token."""
        least, most = min(self.tokens), max(self.tokens)
        if not 0 <= least <= most < model.engine.vocabulary:
            raise PromptError(
                f"Token ids run from {least} to {most}: the model knows 0 to {model.engine.vocabulary - 1}."
            )
        return list(self.tokens)


Prompt = Chat | Continuation | Tokens
Asked = Prompt | str | Sequence[Mapping[str, str]] | Sequence[int] | Mapping[str, Any]
"""A prompt, or its JSON."""


def read(asked: Asked) -> Prompt:
    """The prompt that JSON stands for. Raises PromptError."""
    if isinstance(asked, Chat | Continuation | Tokens):
        return asked
    if isinstance(asked, str):
        return Chat((Turn("user", asked),))
    if isinstance(asked, Mapping):
        return _of_fields(asked)
    if isinstance(asked, list | tuple) and asked and all(type(id) is int for id in asked):
        return Tokens(tuple(asked))
    if not isinstance(asked, list | tuple) or not all(isinstance(turn, Mapping) for turn in asked):
        raise PromptError("The chat must be a list of objects with role and content.")
    if unlike := next((turn for turn in asked if turn.keys() != {"role", "content"}), None):
        raise PromptError(
            f"A turn has the fields {', '.join(map(str, unlike)) or 'none'}: give role and content."
        )
    return Chat(tuple(Turn(**turn) for turn in asked))


def prompt_ids(model: LanguageModel, asked: Asked) -> tuple[int, ...]:
    """A prompt as token ids within bounds. Too long a chat is refused, never cut: who asks drops its first
    turns. Raises PromptError.
    """
    prompt = read(asked)
    ids = prompt.ids(model)
    if len(ids) > MAX_PROMPT_TOKENS:
        raise PromptError(
            f"The prompt has {len(ids):,} tokens, "
            f"and at most {MAX_PROMPT_TOKENS:,} are taken: shorten it, or drop the first turns."
        )
    return tuple(ids)


def follows(asked: Asked, ids: Sequence[int]) -> int:
    """How many of a prompt's token ids the answer's text goes on from: all but those of a chat, after which it
    begins anew.
    """
    return 0 if isinstance(read(asked), Chat) else len(ids)


def fitting_ids(model: LanguageModel, asked: Asked, max_new_tokens: int) -> tuple[int, ...]:
    """The same, where the answer has room in the model's context too. Raises PromptError."""
    ids = prompt_ids(model, asked)
    if len(ids) + max_new_tokens > model.context:
        raise PromptError(
            f"The prompt has {len(ids):,} tokens, with "
            f"{max_new_tokens} new ones more than the {model.context:,} that the model reads: shorten it."
        )
    return ids


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a command by which a prompt is given."""
    ways = parser.add_mutually_exclusive_group(required=True)
    ways.add_argument("--prompt", help="one message to the model")
    ways.add_argument("--chat", type=Path, metavar="FILE", help='JSON: a list of {"role", "content"}')
    ways.add_argument("--continue", dest="continued", metavar="TEXT", help="plain text to go on with")
    parser.add_argument("--system", metavar="TEXT", help="with --prompt or --chat: the system's message")
    parser.add_argument(
        "--thinking",
        action="store_true",
        help="with --prompt or --chat: the model thinks first, where its chat template has that switch",
    )


def of_arguments(args: argparse.Namespace) -> Prompt:
    """The prompt of a command line. Raises PromptError."""
    if args.continued is not None:
        if args.system is not None or args.thinking:
            option = "--thinking" if args.system is None else "--system"
            raise PromptError(f"{option} goes with --prompt or --chat: a text to be continued has no turns.")
        return Continuation(args.continued)
    prompt = read(args.prompt) if args.chat is None else read(_file(args.chat))
    if not isinstance(prompt, Chat):
        return prompt
    system = () if args.system is None else (Turn("system", args.system),)
    return Chat((*system, *prompt.turns), args.thinking or prompt.thinking)


def _of_fields(fields: Mapping[str, Any]) -> Prompt:
    given = [name for name in FIELDS if fields.get(name) is not None]
    if len(given) != 1:
        raise PromptError(
            f"{' and '.join(given).capitalize()} are given: give one of them."
            if given
            else f"Prompt is missing: give one of {', '.join(FIELDS)}."
        )
    value, thinking = fields[given[0]], switched(fields)
    if given[0] == "continue":
        if thinking:
            raise PromptError("Thinking is on: a text to be continued has no turns, so leave it off.")
        return Continuation(value)
    if isinstance(value, str) != (given[0] == "prompt"):
        raise PromptError(f"{given[0].capitalize()} is {shown(value)}: {_KINDS[given[0]]}.")
    prompt = read(value)
    return replace(prompt, thinking=True) if thinking and isinstance(prompt, Chat) else prompt


def switched(fields: Mapping[str, Any]) -> bool:
    """Whether a request has thinking on. Raises PromptError."""
    value = fields.get("thinking") or False
    if not isinstance(value, bool):
        raise PromptError(f"Thinking is {shown(value)}: give true or false.")
    return value


_KINDS = {"prompt": "give a text", "messages": "give a list of objects with role and content"}


def _bounded(name: str, characters: int, most: int) -> None:
    if characters > most:
        raise PromptError(
            f"The {name} has {characters:,} characters, and at most {most:,} are taken: shorten it."
        )


def _file(path: Path) -> Any:
    try:
        return json.loads(text_of(path))
    except (OSError, ValueError, RecursionError) as error:
        raise PromptError(f"{path} is no JSON file of a chat ({error}): give a list of turns.") from None
