"""From a plan to the edits of the residual stream that carry it out in one model."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from common.jsons import JsonObject
from lm import Edit, LanguageModel
from lm.prompts import Asked, Chat, Continuation, prompt_ids, read
from steering.calibration import Curve
from steering.cav import CAV, among, best_layers, logits
from steering.library import Library
from steering.plan import Plan, PlanError, Target

DIRECTION = "diffmean"
"""What "auto" steers along in a model where nothing was calibrated."""
MIN_FREE = 0.05
"""Share of a direction that must be left beside what is held: its sine to the held read-outs."""


@dataclass(frozen=True, eq=False)
class Steering:
    """A plan on a model: its edits, made once, and those that only read what the
    plan steers (for the base row).

    feasible: whether strengths exist that reach all targets. reading: of the prompt by the plan's condition;
    where that is not met, the edits only read.
    """

    plan: Plan
    edits: tuple[Edit, ...]
    feasible: bool
    reading: float | None = None

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that are steered."""
        return tuple(edit.layer for edit in self.edits)

    @cached_property
    def readers(self) -> tuple[Edit, ...]:
        """The edits without their pushes."""
        return tuple(map(without_push, self.edits))

    @property
    def cosines(self) -> dict[str, float]:
        """Cosine between the directions of each two targets, mean over the layers, by "one / other".

        Near 1, opposed goals contradict each other; near -1, equal goals do.
        """
        names = [target.concept for target in self.plan.targets]
        pushes = torch.stack([edit.push for edit in self.edits])
        mean = (pushes @ pushes.mT).mean(0).tolist()
        return {f"{a} / {b}": mean[i][j] for i, a in enumerate(names) for j, b in enumerate(names) if i < j}

    def to_dict(self) -> JsonObject:
        """Layers, cosines and feasibility, as the endpoint /steer gives them."""
        about = {"layers": self.layers, "cosines": self.cosines, "feasible": self.feasible}
        return about if self.reading is None else about | {"reading": self.reading}


def steering(plan: Plan, library: Library, asked: Asked | None = None) -> Steering:
    """A plan on a model, feasible or not. Raises PlanError where it names what
    the model or the library lacks.

    asked: the prompt; where its own words begin depends on it.
    """
    cavs = [library.cav(target.concept) for target in plan.targets]
    held = [library.cav(name) for name in plan.hold]
    doses = [_dose(plan, target, cav) for target, cav in zip(plan.targets, cavs, strict=True)]
    start = first_word(library.model, asked)
    layers = _known(layers_of(plan, cavs), held)
    whole = tuple(_holding(_edit(plan, cavs, doses, layer, start), held) for layer in layers)
    applied = Steering(plan, whole, plan.method == "fixed" or all(map(_feasible, whole)))
    if plan.when is None:
        return applied
    reading = prompt_reading(library, plan.when.concept, asked)
    pushing = whole if plan.when.met(reading) else applied.readers
    return dataclasses.replace(applied, edits=pushing, reading=reading)


def prompt_reading(library: Library, concept: str, asked: Asked | None) -> float:
    """P(concept) of a prompt's own words, by the mean state over them and the mean
    log-odds over the concept's layers.

    Raises PlanError where there is no one prompt.
    """
    if asked is None:
        raise PlanError("When is decided for each prompt, and here are many or none: leave it out.")
    model, cav, prompt = library.model, library.cav(concept), read(asked)
    ids = prompt_ids(model, prompt)
    end = len(ids) - (model.chat_span[1] if isinstance(prompt, Chat) else 0)
    start = min(first_word(model, prompt), end - 1)
    state = model.read([ids[:end]], pool="mean", starts=[start])
    z = logits(cav, state)[0, list(calibrated_layers(cav))]
    return float(z.mean().sigmoid())


def without_push(edit: Edit) -> Edit:
    """An edit that reads the same and pushes nothing."""
    return dataclasses.replace(edit, sense=torch.zeros_like(edit.sense), fixed=None, cap=None)


def reader(cavs: Sequence[CAV], layer: int) -> Edit:
    """An edit that reads up to MAX_TARGETS concepts at a layer and pushes nothing."""
    zeros = torch.zeros(len(cavs))
    read = torch.stack([cav.w[layer] for cav in cavs])
    bias = torch.stack([cav.b[layer] for cav in cavs])
    return Edit(layer, read, bias, torch.stack([cav.direction[layer] for cav in cavs]), zeros, zeros)


def first_word(model: LanguageModel, asked: Asked | None) -> int:
    """Where a person's own words begin: after the chat template's, and never at the first token, a sink.

    A system message of the person's own takes the place of the template's, a text
    to be continued has no template.
    """
    prompt = None if asked is None else read(asked)
    own = isinstance(prompt, Continuation) or (isinstance(prompt, Chat) and prompt.turns[0].role == "system")
    return 1 if own else max(1, model.chat_span[0])


def edits(plan: Plan, library: Library, asked: Asked | None = None) -> tuple[Edit, ...]:
    """The edits that carry out a plan. Raises PlanError where it cannot be applied."""
    return feasible(steering(plan, library, asked)).edits


def feasible(applied: Steering) -> Steering:
    """The same steering. Raises PlanError where its targets contradict each other."""
    if applied.feasible:
        return applied
    layer = next(edit.layer for edit in applied.edits if not _feasible(edit))
    raise PlanError(
        f"The targets contradict each other at layer {layer}, where no strengths reach all of them: "
        "drop one or change its direction."
    )


def layers_of(plan: Plan, cavs: Sequence[CAV]) -> tuple[int, ...]:
    """The layers that a plan steers: its own, or where it says "auto" the most accurate ones for "gcav", and
    else those that were calibrated for the first target. Raises PlanError where one is missing.
    """
    count = cavs[0].w.shape[0]
    if plan.layers == "auto":
        layers = best_layers(cavs) if plan.method == "gcav" else calibrated_layers(cavs[0])
        return _known(layers, cavs)
    if bad := [layer for layer in plan.layers if layer >= count]:
        raise PlanError(f"Layers names {bad[0]}: give layers of this model, from 0 to {count - 1}.")
    return _known(tuple(sorted(plan.layers)), cavs)


def _known(layers: tuple[int, ...], cavs: Sequence[CAV]) -> tuple[int, ...]:
    for cav in cavs:
        if missing := sorted(set(layers) - set(cav.layers)):
            raise PlanError(
                f"Layers names layer {missing[0]}, for which the imported {cav.concept} has no direction: "
                f"give some of {', '.join(map(str, cav.layers))}."
            )
    return layers


def calibrated_layers(cav: CAV) -> tuple[int, ...]:
    """The layers chosen by effect at equal KL; half to two thirds of the model where nothing was measured."""
    if cav.calibration is not None:
        return cav.calibration.layers
    count = cav.w.shape[0]
    first = count // 2
    return among(cav, range(first, max(first + 1, round(0.65 * count))))


def curve_of(method: str, target: Target, cav: CAV) -> Curve:
    """The calibrated curve of a target. Raises PlanError where there is none."""
    curve = None if cav.calibration is None else cav.calibration.curve(method, target.direction)
    if curve is None:
        raise PlanError(
            f"Budget has no calibration to go by for {target.concept} with the method {method}: run "
            f"`python -m steering calibrate {target.concept}`, or give p0, or the strength of fixed."
        )
    return curve


def _dose(plan: Plan, target: Target, cav: CAV) -> float | None:
    """The dose that a plan's budget buys; None where it is off, or where the plan gives no budget."""
    if not plan.budget:
        return None
    share = plan.budget / len(plan.targets)
    curve = curve_of(plan.method, target, cav)
    if share > curve.max_budget:
        raise PlanError(
            f"Budget is {share:g} nats a token for {target.concept}: give at most {curve.max_budget:.2g}, "
            "which is as far as the calibration goes."
        )
    return curve.dose(share)


def _edit(plan: Plan, cavs: Sequence[CAV], doses: Sequence[float | None], layer: int, start: int) -> Edit:
    each = list(zip(plan.targets, cavs, doses, strict=True))
    sense = torch.tensor([0 if _off(plan, target) else target.sense for target in plan.targets])
    fixed = None
    if plan.method == "fixed":
        strengths = [plan.strength if dose is None else dose for dose in doses]
        gaps = torch.stack([cav.gap[layer] for cav in cavs])
        fixed = sense * torch.tensor([strength or 0.0 for strength in strengths]) * gaps
    return Edit(
        layer,
        torch.stack([cav.w[layer] for cav in cavs]),
        torch.stack([cav.b[layer] for cav in cavs]),
        torch.stack([directions(plan.method, cav)[layer] for cav in cavs]),
        torch.tensor([_goal(target, cav, dose, layer) for target, cav, dose in each]),
        sense,
        fixed,
        plan.cap,
        plan.scope == "answer",
        start,
    )


def _holding(edit: Edit, held: Sequence[CAV]) -> Edit:
    """The edit along the nearest directions that change no reading of the held concepts at its layer; what it
    adds there, the layers above carry on. Raises PlanError where nothing of a direction is left.
    """
    if not held:
        return edit
    read = torch.stack([cav.w[edit.layer] for cav in held]).double()
    push = edit.push.double()
    free = push - torch.linalg.lstsq(read.T, push.T).solution.T @ read
    length = free.norm(dim=1, keepdim=True)
    if (length < MIN_FREE).any():
        raise PlanError(
            f"Hold leaves nothing to steer along at layer {edit.layer}: "
            f"{' and '.join(cav.concept for cav in held)} "
            "is read along the same direction; hold another concept."
        )
    return dataclasses.replace(edit, push=(free / length).to(edit.push.dtype))


def _off(plan: Plan, target: Target) -> bool:
    if plan.budget is not None:
        return plan.budget == 0
    return plan.method != "fixed" and target.off


def directions(method: str, cav: CAV) -> torch.Tensor:
    """The unit vectors [layers, width] that a method pushes along."""
    if method == "auto":
        method = cav.calibration.direction if cav.calibration else DIRECTION
    return cav.direction if method == "gcav" else cav.diffmean


def _goal(target: Target, cav: CAV, dose: float | None, layer: int) -> float:
    """The log-odds that a reading is to reach: logit(p0), or `dose` standard deviations
    beyond the model's own answers.
    """
    if dose is None or cav.calibration is None:
        return target.goal
    return cav.calibration.mean[layer] + target.sense * dose * cav.calibration.spread[layer]


def _feasible(edit: Edit) -> bool:
    """Whether the solver that will be applied finds strengths that reach all goals from a state where none is
    met.
    """
    return bool(edit.strengths((edit.goal - edit.sense).double()[None])[1])
