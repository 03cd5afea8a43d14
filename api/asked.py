"""What a client asks for, within bounds."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from common.bounds import MAX_NEW_TOKENS, MAX_TEMPERATURE
from common.jsons import shown
from lm import Policies, Policy, Sampling
from lm.codec import THINKING
from lm.places import NotInMemory
from lm.policy import BASE, PolicyError, seeds
from lm.policy import parse as parse_name
from lm.prompts import Asked, Continuation, prompt_ids, read

MAX_CHOICES, MAX_STOPS, MAX_STOP, MAX_TOP = 32, 8, 200, 20
"""Choices of a request, prompts times n; stop strings, and characters of each; alternatives of a token."""
SHORT = 16
"""Tokens of a completion where nobody says how many, as OpenAI has it."""
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "best_of": (1,),
    "suffix": ("",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "top_k": (-1, 0),
    "min_p": (0,),
    "repetition_penalty": (1,),
}
"""Fields that change nothing at these values; others are not supported."""
OVERLOOKED = {"user", "metadata", "store", "service_tier", "safety_identifier", "parallel_tool_calls"}
ASKING = {"model", "plan", "n", "seed", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "stream",
          "stream_options", "logprobs", "echo", "top_logprobs", "prompt", "messages", "chat_template_kwargs"}  # fmt: skip


Choose = Callable[[str], tuple[Policies, str]]
"""The policies of the model that a name speaks of, and what the name says beside that."""


class Refused(ValueError):
    """A request that cannot be answered: the HTTP status, the field that is wrong, OpenAI's code."""

    def __init__(self, message: str, param: str | None = None, status: int = 400, code: str | None = None):
        super().__init__(message)
        self.param, self.status, self.code = param, status, code


@dataclass(frozen=True)
class Request:
    """Prompts for one policy, as token ids, and how they are answered. chat: of /v1/chat/completions, else of
    /v1/completions; top: alternatives that are told of each token, None for no log-probabilities at all.
    """

    chat: bool
    policy: Policy
    model: str
    prompts: tuple[tuple[int, ...], ...]
    n: int
    samplings: tuple[Sampling, ...]
    stops: tuple[str, ...]
    top: int | None
    echo: bool
    generates: bool
    streams: bool
    tells_usage: bool

    @property
    def rows(self) -> list[tuple[tuple[int, ...], Sampling]]:
        """Prompt and sampling of each choice."""
        prompts = [ids for ids in self.prompts for _ in range(self.n)]
        return list(zip(prompts, self.samplings, strict=True))


def parse(body: Any, choose: Choose, *, chat: bool) -> Request:
    """Reads the body of a request. Raises Refused, or ValueError with one sentence."""
    if not isinstance(body, Mapping):
        raise Refused("The body is no JSON object: send one.")
    asked = {name: value for name, value in body.items() if value is not None}
    _check_fields(asked, chat)
    with _about("plan" if "plan" in asked else "model"):
        policy = _policy(asked, choose)
    with _about("messages" if chat else "prompt"):
        prompts = tuple(prompt_ids(policy.model, prompt) for prompt in _prompts(asked, chat))
    n = _whole(asked, "n", 1, MAX_CHOICES, 1)
    if len(prompts) * n > MAX_CHOICES:
        raise Refused(
            f"{len(prompts)} prompts with n = {n} are {len(prompts) * n} choices: {MAX_CHOICES} at most.", "n"
        )
    echo = _flag(asked, "echo")
    length = _length(asked, policy, prompts, chat, least=0 if echo else 1)
    temperature = _number(asked, "temperature", 0, MAX_TEMPERATURE, policy.temperature)
    top_p = _number(asked, "top_p", 0, 1, 1)
    seed = _whole(asked, "seed", 0, 2**63 - 1, secrets.randbelow(2**32))
    streams, top = _flag(asked, "stream"), _top(asked, chat)
    if streams and (top or echo):
        raise Refused("Alternatives of tokens and echo are not streamed: leave out stream.", "stream")
    return Request(
        chat,
        policy,
        asked["model"],
        prompts,
        n,
        tuple(Sampling(temperature, each, max(1, length), top_p) for each in seeds(seed, len(prompts) * n)),
        _stops(asked),
        top,
        echo,
        length > 0,
        streams,
        _tells_usage(asked),
    )


@contextmanager
def _about(field: str) -> Iterator[None]:
    """Marks errors that name no field as being about this one."""
    try:
        yield
    except (Refused, NotInMemory):
        raise
    except ValueError as error:
        raise Refused(str(error), field) from error


def _check_fields(asked: Mapping[str, Any], chat: bool) -> None:
    for name, value in asked.items():
        if name in NEUTRAL and value not in NEUTRAL[name]:
            raise Refused(f"{name} {shown(value)} is not supported: leave it out.", name)
        if name not in ASKING | NEUTRAL.keys() | OVERLOOKED:
            raise Refused(f"There is no field {shown(name)}: leave it out.", name)
    for name in ("prompt", "echo") if chat else ("messages", "top_logprobs", "chat_template_kwargs"):
        if name in asked:
            raise Refused(f"{name} goes with the other endpoint: leave it out.", name)


def _policy(asked: Mapping[str, Any], choose: Choose) -> Policy:
    name = asked.get("model")
    if not isinstance(name, str):
        problem = f"Model is {shown(name)}" if "model" in asked else "Model is missing"
        raise Refused(f"{problem}: give a name of /v1/models.", "model")
    policies, own = choose(name)
    if "plan" in asked:
        if own != BASE:
            raise Refused(f"A plan steers the model base, not {shown(name)}: give model base.", "model")
        if not isinstance(asked["plan"], str | Mapping):
            raise Refused("Plan is no JSON object: give a plan.", "plan")
        policy = policies({"plan": asked["plan"]})
    else:
        policy = _named(own, policies)
    _ = policy.edits
    return policy


def _named(name: str, policies: Policies) -> Policy:
    try:
        return policies(name)
    except ValueError as error:
        if _kind(name) == "plan":
            raise Refused(str(error), "model") from error
        raise Refused(str(error), "model", 404, "model_not_found") from error


def _kind(name: str) -> str:
    """What kind of policy a name stands for; nothing where it is no name."""
    try:
        return parse_name(name)[0]
    except PolicyError:
        return ""


def _prompts(asked: Mapping[str, Any], chat: bool) -> list[Asked]:
    if chat:
        if "messages" not in asked:
            raise Refused("Messages are missing: give a list of objects with role and content.", "messages")
        turns = [_turn(each) for each in _list(asked["messages"], "messages")]
        return [read({"messages": turns, "thinking": _thinking(asked)})]
    prompt = asked.get("prompt")
    if isinstance(prompt, str):
        return [Continuation(prompt)]
    several = _list(prompt, "prompt")
    if several and all(type(item) is int for item in several):
        return [read(several)]
    return [Continuation(item) if isinstance(item, str) else read(_tokens(item)) for item in several]


def _tokens(item: Any) -> list[int]:
    """A prompt in token ids."""
    if any(type(token) is not int for token in _list(item, "prompt")):
        raise Refused(f"A prompt is {shown(item)}: give a text or a list of token ids.", "prompt")
    return list(item)


def _thinking(asked: Mapping[str, Any]) -> bool:
    """Whether the model thinks first, by the switches that vLLM and others hand to a chat template."""
    switches = asked.get("chat_template_kwargs", {})
    if not isinstance(switches, Mapping) or not {*switches} <= {*THINKING}:
        raise Refused(
            f"chat_template_kwargs is {shown(switches)}: "
            f"give an object with {' or '.join(THINKING)}, true or false.",
            "chat_template_kwargs",
        )
    return any(_flag(switches, name) for name in switches)


def _turn(message: Any) -> dict[str, Any]:
    """A turn as lm.prompts has it: the developer is the system, a content in text parts is one text."""
    if not isinstance(message, Mapping):
        raise Refused("A message is no object: give role and content.", "messages")
    more = [name for name, value in message.items() if value and name not in ("role", "content", "name")]
    if more:
        raise Refused(f"A message has {more[0]!r:.60}, which is not supported: leave it out.", "messages")
    content = message.get("content")
    if content is None:
        raise Refused("A message has no content: give a text.", "messages")
    if isinstance(content, list):
        texts = [
            part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"
        ]
        if len(texts) < len(content) or not all(isinstance(text, str) for text in texts):
            raise Refused("A message has parts that are no text: give text alone.", "messages")
        content = "".join(map(str, texts))
    role = "system" if message.get("role") == "developer" else message.get("role")
    return {"role": role, "content": content}


_LISTS = {
    "messages": "give a list of objects with role and content",
    "prompt": "give a text or a list that is not empty",
}


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        problem = "an empty list" if value == [] else shown(value)
        raise Refused(f"{name.capitalize()} is {problem}: {_LISTS[name]}.", name)
    if len(value) > 65_536:
        raise Refused(f"{name.capitalize()} has {len(value):,} items: shorten it.", name)
    return value


def _length(
    asked: Mapping[str, Any], policy: Policy, prompts: Sequence[Sequence[int]], chat: bool, least: int
) -> int:
    longest = max(map(len, prompts))
    room = policy.model.context - longest
    name = "max_completion_tokens" if "max_completion_tokens" in asked else "max_tokens"
    usual = max(least, min(room, MAX_NEW_TOKENS if chat else SHORT))
    length = _whole(asked, name, least, MAX_NEW_TOKENS, usual)
    if length > room:
        raise Refused(
            f"The prompt has {longest:,} tokens, with "
            f"{length:,} new ones more than the {policy.model.context:,} that the model reads: shorten it.",
            "messages" if chat else "prompt",
            code="context_length_exceeded",
        )
    return length


def _top(asked: Mapping[str, Any], chat: bool) -> int | None:
    if not chat:
        return _whole(asked, "logprobs", 0, MAX_TOP, 0) if "logprobs" in asked else None
    if not _flag(asked, "logprobs"):
        if "top_logprobs" in asked:
            raise Refused("top_logprobs goes with logprobs: true.", "top_logprobs")
        return None
    return _whole(asked, "top_logprobs", 0, MAX_TOP, 0)


def _stops(asked: Mapping[str, Any]) -> tuple[str, ...]:
    stops = asked.get("stop", "")
    stops = [stops] * bool(stops) if isinstance(stops, str) else stops
    if (
        not isinstance(stops, list)
        or len(stops) > MAX_STOPS
        or not all(isinstance(stop, str) and 0 < len(stop) <= MAX_STOP for stop in stops)
    ):
        raise Refused(
            f"Stop must be a text or up to {MAX_STOPS} texts of 1 to {MAX_STOP} characters.", "stop"
        )
    return tuple(stops)


def _tells_usage(asked: Mapping[str, Any]) -> bool:
    options = asked.get("stream_options", {})
    if not isinstance(options, Mapping):
        raise Refused(
            f"stream_options is {shown(options)}: give an object with include_usage.", "stream_options"
        )
    return _flag({name: value for name, value in options.items() if value is not None}, "include_usage")


def _flag(asked: Mapping[str, Any], name: str) -> bool:
    value = asked.get(name, False)
    if not isinstance(value, bool):
        raise Refused(f"{name} is {shown(value)}: give true or false.", name)
    return value


def _whole(asked: Mapping[str, Any], name: str, least: int, most: int, otherwise: int) -> int:
    return int(_number(asked, name, least, most, otherwise, whole=True))


def _number(
    asked: Mapping[str, Any], name: str, least: float, most: float, otherwise: float, whole: bool = False
) -> float:
    value: float = asked.get(name, otherwise)
    kinds = (int,) if whole else (int, float)
    if type(value) not in kinds or not least <= value <= most:
        raise Refused(
            f"{name} is {shown(value)}: give a {'whole ' * whole}number from {least:,} to {most:,}.", name
        )
    return value
