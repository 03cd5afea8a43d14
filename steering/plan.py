"""Plans: what is steered, where and how strongly. A plan is JSON, and JSON is the share link."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import torch

from lm import Edit
from lm.edits.edit import least_write
from steering.cav import CAV, best_layers

if TYPE_CHECKING:
    from steering.library import Library

Layers = Literal["auto"] | tuple[int, ...]
DIRECTIONS, METHODS, SCOPES = ("amplify", "remove"), ("gcav", "diffmean", "fixed"), ("all", "answer")
MOST_TARGETS, MOST_STRENGTH = 3, 100.0
LEAST_P, MOST_P = 1e-6, 1 - 1e-6


class PlanError(ValueError):
    """A plan that is malformed or cannot be applied; the message says why."""


@dataclass(frozen=True)
class Target:
    """A concept, whether to amplify or remove it, and the probability p0 that it shall reach or fall to."""

    concept: str
    direction: str = "amplify"
    p0: float = 0.99

    def __post_init__(self) -> None:
        if not isinstance(self.concept, str) or not self.concept:
            raise PlanError(f"concept is {self.concept!r}: give its name")
        if self.direction not in DIRECTIONS:
            raise PlanError(f"direction is {self.direction!r}: give amplify or remove")
        if (
            isinstance(self.p0, bool)
            or not isinstance(self.p0, (int, float))
            or not LEAST_P <= self.p0 <= MOST_P
        ):
            raise PlanError(f"p0 is {self.p0!r}: give a probability from {LEAST_P} to {MOST_P}")

    @property
    def goal(self) -> float:
        """logit(p0)."""
        return math.log(self.p0 / (1 - self.p0))

    @property
    def sense(self) -> int:
        """+1 to amplify, -1 to remove."""
        return 1 if self.direction == "amplify" else -1


@dataclass(frozen=True)
class Plan:
    """Targets, blocks ("auto" or a tuple), method, token scope, cap on |eps| / |e|.

    method: "gcav" (logistic direction), "diffmean" (difference of means, the classifier's threshold) or
    "fixed" (CAA: `strength` times the difference of the sides' means, at every position, no gate).
    """

    targets: tuple[Target, ...]
    layers: Layers = "auto"
    method: str = "gcav"
    strength: float | None = None
    scope: str = "all"
    cap: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.targets) <= MOST_TARGETS:
            raise PlanError(f"a plan has {len(self.targets)} targets: give 1 to {MOST_TARGETS}")
        names = [target.concept for target in self.targets]
        if len(set(names)) < len(names):
            raise PlanError(f"targets name a concept twice ({', '.join(names)}): give each once")
        if self.layers != "auto" and not (
            isinstance(self.layers, tuple)
            and self.layers
            and all(type(layer) is int and layer >= 0 for layer in self.layers)
        ):
            raise PlanError(f'layers is {self.layers!r}: give "auto" or a list of block numbers from 0')
        if self.layers != "auto" and len(set(self.layers)) < len(self.layers):
            raise PlanError(f"layers is {list(self.layers)}: give each block once")
        if self.method not in METHODS:
            raise PlanError(f"method is {self.method!r}: give one of {', '.join(METHODS)}")
        if self.scope not in SCOPES:
            raise PlanError(f"scope is {self.scope!r}: give all or answer")
        if (self.method == "fixed") != (self.strength is not None):
            raise PlanError("strength goes with the method fixed, and only with it")
        for name, most in (("strength", MOST_STRENGTH), ("cap", 10.0)):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most
            ):
                raise PlanError(f"{name} is {value!r}: give a number from 0 to {most:g}, or null")
        if self.cap == 0:
            raise PlanError("cap is 0, which would forbid all steering: give a positive number or null")

    @classmethod
    def from_json(cls, text: str | Mapping) -> "Plan":
        """Reads a plan from JSON text or the object it stands for. Raises PlanError."""
        if isinstance(text, str):
            if len(text) > 10_000:
                raise PlanError("a plan of more than 10,000 characters is refused")
            try:
                text = json.loads(text)
            except (json.JSONDecodeError, RecursionError) as error:
                raise PlanError(f"the plan is not JSON ({error})") from None
        if not isinstance(text, Mapping):
            raise PlanError("a plan is a JSON object with targets, layers, method, strength, scope, cap")
        fields = dict(text)
        if unknown := fields.keys() - cls.__dataclass_fields__.keys():
            raise PlanError(f"a plan has no field {sorted(unknown)[0]!r}")
        targets = fields.get("targets")
        if not isinstance(targets, list) or not all(isinstance(target, Mapping) for target in targets):
            raise PlanError("targets must be a list of objects with concept, direction, p0")
        try:
            fields["targets"] = tuple(Target(**target) for target in targets)
        except TypeError:
            raise PlanError("a target has concept, direction and p0, and no other field") from None
        if isinstance(fields.get("layers"), list):
            fields["layers"] = tuple(fields["layers"])
        return cls(**fields)

    @property
    def title(self) -> str:
        """What the plan asks for, in a few words."""
        goals = [f"{'more' if target.sense > 0 else 'less'} {target.concept}" for target in self.targets]
        if self.method == "fixed":
            return f"{', '.join(goals)}, fixed {self.strength:g}"
        return ", ".join(f"{goal} {target.p0:g}" for goal, target in zip(goals, self.targets, strict=True))

    def to_json(self) -> str:
        """The plan as JSON; `from_json` gives it back."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Report:
    """What a plan comes to on a model: its blocks, the `cosines` of its directions, and whether strengths
    exist that reach all targets.
    """

    layers: tuple[int, ...]
    cosines: dict[str, float]
    feasible: bool


def layers_of(plan: Plan, cavs: Sequence[CAV]) -> tuple[int, ...]:
    """The blocks that a plan steers. Raises PlanError where one is missing."""
    count = cavs[0].w.shape[0]
    if plan.layers == "auto":
        return best_layers(cavs)
    if bad := [layer for layer in plan.layers if layer >= count]:
        raise PlanError(f"layers names block {bad[0]}, but the model has blocks 0 to {count - 1}")
    return tuple(sorted(plan.layers))


def edits(plan: Plan, library: "Library") -> tuple[Edit, ...]:
    """The edits of the residual stream that carry out a plan. Raises PlanError where it cannot be applied."""
    cavs = [library.cav(target.concept) for target in plan.targets]
    made = []
    for layer in layers_of(plan, cavs):
        edit = _edit(plan, cavs, layer)
        if plan.method != "fixed" and not _feasible(edit):
            raise PlanError(
                f"the targets contradict each other at layer {layer}: no strengths reach all of them; drop one or change its direction"
            )
        made.append(edit)
    return tuple(made)


def _feasible(edit: Edit) -> bool:
    """Whether the solver that will be applied finds strengths that reach all goals from a state where none is
    met.
    """
    goal, sense = edit.goal.double(), edit.sense.double()
    return bool(least_write((goal - sense)[None], edit.gram, goal, sense)[1])


def _edit(plan: Plan, cavs: Sequence[CAV], layer: int) -> Edit:
    write = torch.stack([(cav.direction if plan.method == "gcav" else cav.diffmean)[layer] for cav in cavs])
    sense = torch.tensor([target.sense for target in plan.targets])
    return Edit(
        layer,
        torch.stack([cav.w[layer] for cav in cavs]),
        torch.stack([cav.b[layer] for cav in cavs]),
        write,
        torch.tensor([target.goal for target in plan.targets]),
        sense,
        None
        if plan.strength is None
        else sense * plan.strength * torch.stack([cav.gap[layer] for cav in cavs]),
        plan.cap,
        plan.scope == "answer",
    )


def readers(plan: Plan, library: "Library") -> tuple[Edit, ...]:
    """Edits that read what a plan would steer and write nothing (for the unsteered row)."""
    cavs = [library.cav(target.concept) for target in plan.targets]
    none = torch.zeros(len(cavs), dtype=torch.int64)
    return tuple(
        Edit(layer, edit.read, edit.bias, edit.write, edit.goal, none)
        for layer in layers_of(plan, cavs)
        for edit in [_edit(plan, cavs, layer)]
    )


def cosines(plan: Plan, library: "Library") -> dict[str, float]:
    """Cosine between the directions of each two targets, mean over the plan's blocks, by "one / other".
    Opposed goals of concepts near 1 and equal goals of concepts near -1 contradict each other.
    """
    names = [target.concept for target in plan.targets]
    writes = torch.stack([edit.write for edit in readers(plan, library)])
    found = (writes @ writes.mT).mean(0).tolist()
    return {f"{a} / {b}": found[i][j] for i, a in enumerate(names) for j, b in enumerate(names) if i < j}


def report(plan: Plan, library: "Library") -> Report:
    """Blocks, cosines and feasibility of a plan. Raises PlanError where it names what the model or the
    library lacks.
    """
    found = tuple(edit.layer for edit in readers(plan, library)), cosines(plan, library)
    try:
        edits(plan, library)
    except PlanError:
        return Report(*found, False)
    return Report(*found, True)
