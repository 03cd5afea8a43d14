"""What the Steer tab asks: every column answers the same words, each after its own earlier answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lm import LanguageModel
from lm.codec import PromptError
from lm.prompts import FIELDS, Chat, Prompt, Turn, fitting_ids, read, switched

UNSTEERED, STEERED, REQUESTED = SIDES = ("unsteered", "steered", "requested")
MAX_EARLIER = 64
"""Turns before the newest one."""


@dataclass(frozen=True)
class Prompts:
    """What each column answers, by the name of its side. dropped: earlier turns that the
    model's context has no room for.
    """

    sides: Mapping[str, Prompt]
    dropped: int = 0

    @property
    def alike(self) -> bool:
        """Whether all columns answer the same prompt."""
        return len({repr(prompt) for prompt in self.sides.values()}) == 1

    @classmethod
    def read(cls, asked: Mapping[str, Any], model: LanguageModel, max_new_tokens: int) -> "Prompts":
        """The prompts of a request: `prompt`, `messages` or `continue` for all columns, or `prompt` after a
        `history` of {"prompt", "unsteered", "steered"} under a `system` message; a turn may have "requested",
        too. `thinking`: see lm.prompts.

        Of a history that is too long the first turns are dropped, from all columns alike. Raises PromptError.
        """
        system, history = asked.get("system") or "", asked.get("history") or []
        if not system and not history:
            return cls(dict.fromkeys(SIDES, read({name: asked.get(name) for name in (*FIELDS, "thinking")})))
        conversation = _Conversation.of(asked.get("prompt"), history, system, switched(asked))
        return _fitting(conversation, model, max_new_tokens)


@dataclass(frozen=True)
class _Conversation:
    prompt: str
    history: tuple[Mapping[str, str], ...]
    system: str
    thinking: bool

    @classmethod
    def of(cls, prompt: Any, history: Any, system: Any, thinking: bool) -> "_Conversation":
        if not isinstance(history, list) or not all(map(_is_turn, history)):
            raise PromptError(
                "History must be a list of turns, each with the texts prompt, unsteered and steered."
            )
        if len(history) > MAX_EARLIER:
            raise PromptError(
                f"The conversation has {len(history)} turns before this one: "
                f"answer again from an earlier turn, at most {MAX_EARLIER} are kept."
            )
        return cls(prompt, tuple(history), system, thinking)

    def chat(self, side: str, first: int) -> Chat:
        """What a column answers, from turn `first` on."""
        system = [Turn("system", self.system)] if self.system else []
        earlier = [
            Turn(role, turn.get(key, turn[UNSTEERED]))
            for turn in self.history[first:]
            for role, key in (("user", "prompt"), ("assistant", side))
        ]
        return Chat((*system, *earlier, Turn("user", self.prompt)), self.thinking)


def _is_turn(turn: Any) -> bool:
    return (
        isinstance(turn, Mapping)
        and {"prompt", UNSTEERED, STEERED} <= turn.keys() <= {"prompt", *SIDES}
        and all(isinstance(text, str) for text in turn.values())
    )


def _fitting(conversation: _Conversation, model: LanguageModel, max_new_tokens: int) -> Prompts:
    last = len(conversation.history)
    for first in range(last + 1):
        try:
            chats: dict[str, Prompt] = {side: conversation.chat(side, first) for side in SIDES}
            for chat in chats.values():
                fitting_ids(model, chat, max_new_tokens)
            return Prompts(chats, first)
        except PromptError:
            if first == last:
                raise
    raise AssertionError("the last turn alone fits or is refused")
