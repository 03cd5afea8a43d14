"""Who asks on the Steer tab, and for what."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from common.bounds import MAX_NEW_TOKENS, MAX_SEED, MAX_TEMPERATURE
from common.jsons import shown
from lm import LanguageModel, Run
from lm.prompts import Prompt
from steering.conversation import STEERED, Prompts
from steering.library import Library
from steering.plan import Layers, Plan
from steering.steer import MAX_WATCHED, Pair
from ui import sessions
from ui.validation import bounded, whole

MAX_SWEPT = 120
"""Texts of 64 tokens that a script may sweep at once."""

Item = TypeVar("Item", int, str)


@dataclass(frozen=True)
class Request:
    """What a page or a script asks for; every number is within bounds."""

    prompts: Prompts
    plan: Plan
    seed: int = 0
    max_new_tokens: int = 96
    temperature: float = 0.0
    top_p: float = 1.0
    rival: str | None = None
    watch: tuple[str, ...] = ()
    begin: tuple[int, ...] = ()

    @property
    def prompt(self) -> Prompt:
        """What the steered side answers."""
        return self.prompts.sides[STEERED]

    @classmethod
    def parse(cls, asked: Mapping[str, Any], model: LanguageModel) -> "Request":
        """Raises ValueError with one sentence where something is missing or out of bounds."""
        length = whole(asked, "max_new_tokens", 1, MAX_NEW_TOKENS)
        return cls(
            Prompts.read(asked, model, length),
            Plan.from_json(asked.get("plan") or {}),
            whole(asked, "seed", 0, MAX_SEED),
            length,
            float(bounded(asked, "temperature", 0, MAX_TEMPERATURE)),
            float(bounded({"top_p": 1.0, **asked}, "top_p", 0, 1)),
            asked.get("rival"),
            tuple(_listed(asked, "watch", str, MAX_WATCHED)),
            tuple(_listed(asked, "begin", int, MAX_NEW_TOKENS)),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of `pair`."""
        names = ("seed", "max_new_tokens", "temperature", "top_p", "rival", "watch", "begin")
        return {name: getattr(self, name) for name in names} | {
            "prompts": {} if self.prompts.alike else self.prompts.sides
        }


@dataclass(frozen=True, eq=False)
class Complete:
    """A run of the page that came to its end: its number, what was asked, and its sides."""

    number: int
    request: Request
    pair: Pair


@dataclass
class Session(sessions.Session):
    """One browser tab: its concepts, its last complete run, and the newest run's number. Its works are "run",
    "sweep" and "train".
    """

    library: Library
    newest: int = 0
    last: Complete | None = None
    sent: Complete | None = None
    own: int = 0
    ready: set[str] = field(default_factory=set)


Send = Callable[[Request, list[tuple[str, Plan | None, Run]], str | None], str]
"""Takes a request and its runs (policy name, plan, run) to the Compare tab, and returns a sentence;
ValueError where it cannot.
"""


def swept(request: Request, magnitudes: Any, bands: Any) -> list[Layers]:
    """The bands of layers that a script sweeps over `magnitudes`; the plan's own where it gives none. Raises
    ValueError.
    """
    if not isinstance(magnitudes, list) or not all(type(value) in (int, float) for value in magnitudes):
        raise ValueError(f"Magnitudes is {shown(magnitudes)}: give a list of numbers.")
    if not isinstance(bands, list | None):
        raise ValueError(f"Bands is {shown(bands)}: give a list of bands, each auto or a list of layers.")
    plan = json.loads(request.plan.to_json())
    layers = [Plan.from_json(plan | {"layers": band}).layers for band in bands or [plan["layers"]]]
    if not 0 < len(magnitudes) * len(layers) * request.max_new_tokens <= MAX_SWEPT * 64:
        raise ValueError(
            f"{len(magnitudes)} magnitudes over {len(layers)} bands: "
            f"give 1 to {MAX_SWEPT} texts of 64 tokens."
        )
    return layers


def _listed(asked: Mapping[str, Any], name: str, kind: type[Item], most: int) -> list[Item]:
    values = asked.get(name) or []
    if not isinstance(values, list) or len(values) > most or not all(type(value) is kind for value in values):
        kinds = "token ids" if kind is int else "names"
        raise ValueError(f"{name.capitalize()} is {str(values)[:60]}: give a list of at most {most} {kinds}.")
    return values
