"""Plans: what is steered, where and how strongly. A plan is JSON, and JSON is the share link."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from common.jsons import shown

Layers = Literal["auto"] | tuple[int, ...]
DIRECTIONS, SCOPES, SIDES = ("amplify", "remove"), ("all", "answer"), ("above", "below")
METHODS = ("auto", "gcav", "diffmean", "fixed")
MAX_TARGETS, MAX_HELD, MAX_STRENGTH, MAX_CAP, MAX_BUDGET = 3, 3, 100.0, 10.0, 10.0
MIN_P, MAX_P = 1e-6, 1 - 1e-6
MAX_CHARACTERS = 10_000
"""Of a plan as text."""


class PlanError(ValueError):
    """A plan that is malformed or cannot be applied; the message says why."""


def require_once(name: str, items: Sequence[object]) -> None:
    """Raises PlanError where an item stands in a list twice."""
    twice = next((item for at, item in enumerate(items) if item in items[:at]), None)
    if twice is not None:
        raise PlanError(f"{name} names {twice} twice: give it once.")


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def sense_of(direction: str) -> int:
    """+1 to amplify, -1 to remove."""
    return 1 if direction == "amplify" else -1


@dataclass(frozen=True)
class Target:
    """A concept, whether to amplify or remove it, and the probability p0 that
    it reaches at least, or at most.

    p0 at its bound (1e-6 to amplify, 1 - 1e-6 to remove) asks for nothing: the
    target is read and never pushed.
    """

    concept: str
    direction: str = "amplify"
    p0: float = 0.99

    def __post_init__(self) -> None:
        if not isinstance(self.concept, str) or not self.concept:
            raise PlanError(f"Concept is {shown(self.concept)}: give its name.")
        if self.direction not in DIRECTIONS:
            raise PlanError(f"Direction is {shown(self.direction)}: give amplify or remove.")
        if not _is_number(self.p0, MIN_P, MAX_P):
            raise PlanError(f"p0 is {shown(self.p0)}: give a probability from {MIN_P} to {MAX_P}.")

    @property
    def goal(self) -> float:
        """logit(p0)."""
        return math.log(self.p0 / (1 - self.p0))

    @property
    def sense(self) -> int:
        """+1 to amplify, -1 to remove."""
        return sense_of(self.direction)

    @property
    def off(self) -> bool:
        """Whether p0 asks for nothing."""
        return self.p0 == (MIN_P if self.sense > 0 else MAX_P)


@dataclass(frozen=True)
class Condition:
    """Steer only where the prompt reads as a concept: P at or above p, or "below" it. See
    steering.edits.prompt_reading.
    """

    concept: str
    side: str = "above"
    p: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.concept, str) or not self.concept:
            raise PlanError(f"The concept of when is {shown(self.concept)}: give its name.")
        if self.side not in SIDES:
            raise PlanError(f"The side of when is {shown(self.side)}: give above or below.")
        if not _is_number(self.p, 0, 1):
            raise PlanError(f"The p of when is {shown(self.p)}: give a probability from 0 to 1.")

    def met(self, reading: float) -> bool:
        """Whether a prompt with this reading is steered."""
        return reading >= self.p if self.side == "above" else reading < self.p


@dataclass(frozen=True)
class Plan:
    """What is steered, where and how strongly.

    Attributes
    ----------
    targets : concepts, 1 to 3
    layers : layer numbers, or "auto": those that the method takes by itself
    method : "auto" is what the calibration chose for each concept: the direction and the layers with the most
        effect at equal KL. "gcav" is the paper's: the classifier's direction on the layers of best held-out
        accuracy. "diffmean" is the difference of the sides' means behind the classifier's gate. "fixed" (CAA)
        adds the same push at every token, without a gate
    strength : of "fixed", in distances between the sides' means
    scope : "all" tokens from the prompt's first word on, or the "answer" alone
    cap : longest push as a share of the state's length, or None
    budget : mean KL to the base model that the answer may cost, nats a token, shared equally by the targets; 0
        is off. In its place stand p0, or the strength of "fixed", where it is None
    hold : concepts that stay as they are, up to 3: no push has a part along which they are read
    when : what the prompt must read as for anything to be steered (CAST, arXiv 2409.05907), or None
    """

    targets: tuple[Target, ...]
    layers: Layers = "auto"
    method: str = "auto"
    strength: float | None = None
    scope: str = "all"
    cap: float | None = None
    budget: float | None = None
    hold: tuple[str, ...] = ()
    when: Condition | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.targets) <= MAX_TARGETS:
            raise PlanError(f"A plan has {len(self.targets)} targets: give 1 to {MAX_TARGETS}.")
        require_once("Targets", [target.concept for target in self.targets])
        self._check_hold()
        self._check_layers()
        if self.method not in METHODS:
            raise PlanError(f"Method is {shown(self.method)}: give one of {', '.join(METHODS)}.")
        if self.scope not in SCOPES:
            raise PlanError(f"Scope is {shown(self.scope)}: give all or answer.")
        self._check_strength()

    def _check_hold(self) -> None:
        if not isinstance(self.hold, tuple) or not all(isinstance(name, str) and name for name in self.hold):
            raise PlanError(f"Hold is {shown(self.hold)}: give a list of concepts' names.")
        require_once("Hold", self.hold)
        if len(self.hold) > MAX_HELD:
            raise PlanError(f"Hold names {len(self.hold)} concepts: give at most {MAX_HELD}.")
        if both := next((target.concept for target in self.targets if target.concept in self.hold), None):
            raise PlanError(f"Hold names {both}, which is steered: leave it out of one of them.")

    def _check_layers(self) -> None:
        if self.layers == "auto":
            return
        if (
            not isinstance(self.layers, tuple)
            or not self.layers
            or not all(type(layer) is int and layer >= 0 for layer in self.layers)
        ):
            raise PlanError(f'Layers is {shown(self.layers)}: give "auto" or a list of layer numbers from 0.')
        require_once("Layers", self.layers)

    def _check_strength(self) -> None:
        if self.strength is not None and (self.method != "fixed" or self.budget is not None):
            raise PlanError(
                f"Strength is {shown(self.strength)}, and goes with the method fixed without a budget: "
                "leave it out, or give that method."
            )
        if self.method == "fixed" and self.strength is None and self.budget is None:
            raise PlanError("The method fixed needs a strength, or a budget: give one of them.")
        for name, most in (("strength", MAX_STRENGTH), ("cap", MAX_CAP), ("budget", MAX_BUDGET)):
            value = getattr(self, name)
            if value is not None and not _is_number(value, 0, most):
                raise PlanError(
                    f"{name.capitalize()} is {shown(value)}: give a number from 0 to {most:g}, or null."
                )
        if self.cap == 0:
            raise PlanError("Cap is 0, which would forbid all steering: give a positive number or null.")

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> "Plan":
        """Reads a plan from JSON text or the object it stands for. Raises PlanError."""
        fields = _fields(text)
        if unknown := fields.keys() - cls.__dataclass_fields__.keys():
            raise PlanError(f"A plan has no field {sorted(unknown)[0]!r}: leave it out.")
        targets, condition = fields.get("targets"), fields.get("when")
        if not isinstance(targets, list) or not all(isinstance(target, Mapping) for target in targets):
            raise PlanError(
                f"Targets is {shown(targets)}: give a list of objects with concept, direction, p0."
            )
        if not isinstance(condition, Mapping | None):
            raise PlanError(f"When is {shown(condition)}: give an object with concept, side and p, or null.")
        try:
            fields["targets"] = tuple(Target(**target) for target in targets)
        except TypeError:
            raise PlanError("A target has concept, direction and p0: leave any other field out.") from None
        try:
            fields["when"] = None if condition is None else Condition(**condition)
        except TypeError:
            raise PlanError("When has concept, side and p: leave any other field out.") from None
        for name in ("layers", "hold"):
            if isinstance(fields.get(name), list):
                fields[name] = tuple(fields[name])
        return cls(**fields)

    @property
    def concepts(self) -> tuple[str, ...]:
        """All that the plan names, each once: what it steers, holds and asks of the prompt."""
        gate = () if self.when is None else (self.when.concept,)
        return tuple(dict.fromkeys([*(target.concept for target in self.targets), *self.hold, *gate]))

    @property
    def title(self) -> str:
        """What the plan asks for, in a few words."""
        held = f", {' and '.join(self.hold)} held" if self.hold else ""
        if self.when is None:
            return f"{self._goals}{held}"
        return f"{self._goals}{held}, if {self.when.concept} is {self.when.side} {self.when.p:g}"

    @property
    def _goals(self) -> str:
        goals = [f"{'more' if target.sense > 0 else 'less'} {target.concept}" for target in self.targets]
        if self.budget is not None:
            return f"{', '.join(goals)}, {self.budget:g} nats a token"
        if self.method == "fixed":
            return f"{', '.join(goals)}, fixed {self.strength:g}"
        return ", ".join(f"{goal} {target.p0:g}" for goal, target in zip(goals, self.targets, strict=True))

    def to_json(self) -> str:
        """The plan as JSON; `from_json` gives it back."""
        return json.dumps(asdict(self))


def _fields(text: str | Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a plan as JSON text or as an object. Raises PlanError."""
    if isinstance(text, str):
        if len(text) > MAX_CHARACTERS:
            raise PlanError(f"A plan has {len(text):,} characters: give at most {MAX_CHARACTERS:,}.")
        try:
            text = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise PlanError(f"The plan is not JSON ({error}): give an object.") from None
    if not isinstance(text, Mapping):
        raise PlanError(
            f"A plan is {shown(text)}: give a JSON object with "
            "targets, layers, method, strength, scope, cap, budget, hold, when."
        )
    return dict(text)
