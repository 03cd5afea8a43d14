"""Who answers prompts: a model with edits and an adapter. All tabs, commands and the API share its name."""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from common.jsons import shown
from lm.adapter import Adapter
from lm.edits.edit import Edit
from lm.model import LanguageModel
from lm.prompts import Asked, fitting_ids, follows, prompt_ids
from lm.rows import Row, Run, Sampling

BASE = "base"
BASE_ABOUT = {
    "id": BASE,
    "name": "base model",
    "method": BASE,
    "preference": None,
    "steps": 0,
    "seed": None,
}
SEED_STEP = 1_000_003
"""Seeds between two answers to the same prompt."""
TEMPERATURE = 0.7
MIXES = ("soup", "curve")
"""Methods whose policies lie between two ends that ship or were added: `curve:0.35` is one of them."""
GRAMMAR = (
    "base, plan:{...}, checkpoint:ID, mix:A+B@0.35 (the share of A), curve:0.35 or soup:0.35 (the weight "
    "of helpfulness), the last four also with *1.5 behind them (times the trained change)"
)
NUMBER = re.compile(r"\d{0,3}\.?\d{1,20}(e-\d{1,2})?", re.ASCII)
"""A share or a scale, as names write it."""
SCALED = "scaled"
"""Method of policies whose change of the weights is not as large as it was trained."""
MAX_SCALE = 3.0


def seeds(seed: int, count: int, *, first: int = 0, sample: int = 0) -> list[int]:
    """Seeds of prompts `first`, `first` + 1, ...: no two prompts, and no two samples of one, share their
    noise.
    """
    start = seed + first + sample * SEED_STEP
    return [number % 2**63 for number in range(start, start + count)]


class PolicyError(ValueError):
    """A name that stands for no policy; the message says what names are like."""


@dataclass(frozen=True, eq=False)
class Policy:
    """A model with edits and an adapter, or as it is.

    make_edits: makes the edits when the policy first answers, since their vectors may have to be trained
    first. by_prompt: gives the edits of one prompt, where they depend on it. temperature: at which its tokens
    are drawn where nobody says otherwise. parts: what was added to the model. about: what tables and plots
    call it.
    """

    model: LanguageModel
    name: str = BASE
    make_edits: Callable[[], tuple[Edit, ...]] = tuple
    adapter: Adapter | None = None
    temperature: float = TEMPERATURE
    by_prompt: Callable[[Asked], tuple[Edit, ...]] | None = None
    parts: Mapping[str, Any] = field(default_factory=lambda: {BASE: True})
    about: Mapping[str, Any] = field(default_factory=lambda: dict(BASE_ABOUT))

    @cached_property
    def edits(self) -> tuple[Edit, ...]:
        """The edits of the residual stream. Raises ValueError where they cannot be made."""
        return self.make_edits()

    def edits_for(self, prompt: Asked) -> tuple[Edit, ...]:
        """The edits with which a prompt is answered. Raises ValueError where they cannot be made."""
        return self.edits if self.by_prompt is None else self.by_prompt(prompt)

    @property
    def spec(self) -> dict[str, Any]:
        """What it is, as it is told after a vote: the model and what was added to it."""
        return {"model": self.model.name, "model_hash": self.model.hash, **self.parts}

    def row(self, prompt: Asked, sampling: Sampling) -> Row:
        """The row that answers a prompt, to be decoded beside others. Raises ValueError."""
        ids = prompt_ids(self.model, prompt)
        return Row(ids, sampling, self.edits_for(prompt), self.adapter, follows=follows(prompt, ids))

    def check(self, prompt: Asked, max_new_tokens: int) -> None:
        """Raises ValueError where the policy cannot be made, or the prompt cannot be answered."""
        _ = self.edits
        fitting_ids(self.model, prompt, max_new_tokens)

    def respond(
        self,
        prompts: Sequence[Asked],
        *,
        seed: int,
        max_new_tokens: int,
        first: int = 0,
        sample: int = 0,
        stop: threading.Event | None = None,
    ) -> list[Run]:
        """One run a prompt, with seeds as `seeds` spreads them; as far as it is there when `stop` is set."""
        rows = [
            self.row(prompt, Sampling(self.temperature, number, max_new_tokens))
            for prompt, number in zip(
                prompts, seeds(seed, len(prompts), first=first, sample=sample), strict=True
            )
        ]
        return self.model.generate(rows, stop=stop)

    def scaled(self, scale: float, id: str) -> "Policy":
        """The policy whose change of the weights is `scale` times this one's: nearer to the base model below
        1, extrapolated above. id: what it is known by.
        """
        assert self.adapter is not None  # names of others take no scale
        about = {"id": id, "name": f"{self.about['name']} × {scale:g}", "method": SCALED}
        return replace(
            self,
            name=f"{self.name}*{scale:g}",
            adapter=Adapter.mix([(self.adapter, scale)]),
            parts={**self.parts, "scale": scale},
            about={**self.about, **about},
        )


class Policies:
    """Policies by their names, in one grammar: `base`, `checkpoint:ID`, `mix:A+B@0.35`, `curve:0.35`,
    `soup:0.35`, `plan:{...}`, and `curve:0.35*1.5` with any number of times the trained change.

    Older forms are understood: a checkpoint's bare ID, A+B@0.35, a plan's JSON, and an entry of a policies
    file.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        checkpoint: Callable[[str], Policy] | None = None,
        mix: Callable[[str, str, float], Policy] | None = None,
        between: Callable[[str, float], Policy] | None = None,
        plan: Callable[[str | Mapping[str, Any]], Policy] | None = None,
    ):
        """checkpoint: of an ID, a folder or a hub id; mix: of two of them and the share of the first;
        between: of a method of MIXES and the share of its first end; plan: of a plan's JSON. What is missing
        is refused.
        """
        self.model = model
        self._checkpoint, self._mix, self._between, self._plan = checkpoint, mix, between, plan

    def __call__(self, name: str | Mapping[str, Any]) -> Policy:
        """The policy of a name. Raises ValueError where there is none."""
        kind, argument = parse(name)
        if kind == BASE:
            return Policy(self.model)
        if kind == "plan":
            return self._known(self._plan, kind)(argument)
        argument, scale = scaled(argument)
        if argument == BASE and scale != 1:
            raise PolicyError("The base model has no trained change to scale: name a checkpoint or a mix.")
        policy = self._trained(kind, argument)
        if scale == 0:  # nothing of the trained change is left
            return Policy(self.model)
        id = f"{kind}:{_weight(kind, argument):g}" if kind in MIXES else argument
        return policy if scale == 1 else policy.scaled(scale, f"{id}*{scale:g}")

    def _trained(self, kind: str, argument: str) -> Policy:
        if kind == "mix":
            return self._known(self._mix, kind)(*_mixed(argument))
        if kind in MIXES:
            return self._known(self._between, kind)(kind, _weight(kind, argument))
        return self._known(self._checkpoint, kind)(argument)

    def _known(self, make: Callable[..., Policy] | None, kind: str) -> Callable[..., Policy]:
        if make is None:
            raise PolicyError(f"Policies of the kind {kind} are not known here: name one of another kind.")
        return make


def between(name: str) -> tuple[str, float] | None:
    """The method and the weight of a name such as `curve:0.35` or `curve:0.35*1.5`; None for other names.
    Raises PolicyError.
    """
    kind, colon, argument = name.partition(":")
    return (kind, _weight(kind, scaled(argument)[0])) if colon and kind in MIXES else None


def scaled(name: str) -> tuple[str, float]:
    """A name without its scale, and the scale: `curve:0.35*1.5` has 1.5, names without one have 1. Raises
    PolicyError.
    """
    bare, star, scale = name.partition("*")
    if not star or not bare:
        return name, 1.0
    if not NUMBER.fullmatch(scale) or float(scale) > MAX_SCALE:
        raise PolicyError(
            f"The scale {shown(scale)} of a policy is no number from 0 to {MAX_SCALE:g}: give one after the *, as in curve:0.35*1.5."
        )
    return bare, float(scale)


def parse(name: str | Mapping[str, Any]) -> tuple[str, Any]:
    """(kind, argument) of a policy's name. Raises PolicyError."""
    if isinstance(name, Mapping):
        return _entry(name)
    kind, colon, argument = name.strip().partition(":")
    if kind == BASE and not colon:
        return BASE, ""
    if colon and kind in ("checkpoint", "mix", "plan") and argument.strip():
        return kind, argument.strip()
    if colon and kind in MIXES:
        return kind, argument
    if name.lstrip().startswith("{"):
        return "plan", name
    if "+" in name and "@" in name:
        return "mix", name.strip()
    if not name.strip():
        raise PolicyError(f"The policy has no name: give {GRAMMAR}.")
    return "checkpoint", name.strip()


def _entry(entry: Mapping[str, Any]) -> tuple[str, Any]:
    if "targets" in entry:
        return "plan", entry
    if entry.get(BASE) is True:
        return BASE, ""
    kind = next((kind for kind in ("checkpoint", "mix", "plan") if kind in entry), None)
    if kind is None:
        raise PolicyError(
            f"Policy {entry.get('name')!r} has neither a plan, nor a checkpoint, nor a mix, nor base: true."
        )
    if kind != "plan" and not isinstance(entry[kind], str):
        raise PolicyError(
            f"The {kind} of policy {entry.get('name')!r} is {shown(entry[kind])}: give a text, as in "
            f"{'A+B@0.35' if kind == 'mix' else 'pgapo-0.5'}."
        )
    return parse(entry[kind]) if kind == "mix" and between(entry[kind]) else (kind, entry[kind])


def _mixed(names: str) -> tuple[str, str, float]:
    both, _, share = names.rpartition("@")
    ends = both.split("+")
    weight = _share(share)
    if len(ends) != 2 or not all(ends) or weight is None:
        raise PolicyError(
            f"{shown(names)} is no mix: give A+B@0.35, two checkpoints and the share of the first from 0 to 1."
        )
    return ends[0], ends[1], weight


def _weight(method: str, text: str) -> float:
    weight = _share(text)
    if weight is None:
        raise PolicyError(
            f"{shown(f'{method}:{text}')} is no {method}: give {method}: and the weight of helpfulness "
            f"from 0 to 1, as in {method}:0.35."
        )
    return weight


def _share(text: str) -> float | None:
    """A number from 0 to 1."""
    return float(text) if NUMBER.fullmatch(text) and float(text) <= 1 else None
