"""One prompt, unsteered, steered and, if wanted, with the request in words: one batch, one seed."""

import dataclasses
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from common.bounds import MAX_NEW_TOKENS
from common.jsons import JsonObject, shown
from lm import Decoding, Edit, Policy, Row, Run, Sampling
from lm.edits.trace import MAX_TARGETS
from lm.prompts import Asked, follows, prompt_ids
from steering.edits import Steering, edits, feasible, reader, steering
from steering.library import Library
from steering.messages import SideName
from steering.metrics import Metrics, history, measure
from steering.plan import Plan, PlanError, require_once
from steering.requests import requested, strongest, wish

RIVALS = ("request", "both")
"""A third text beside the two: its prompt asks for the concepts, without steering, or with both."""
MAX_WATCHED = 6


@dataclass(frozen=True)
class Side:
    """One text of a comparison: its row, the edits of the plan that the row holds, or readers in their place,
    and the same prompt as the base model is given it.
    """

    name: SideName
    row: Row
    edits: tuple[Edit, ...]
    plain: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """A decode of a plan on a model: the unsteered side, the steered one, and the rival where there is one.

    watchers: edits that read further concepts on every side, after the plan's edits. begin: how many
    tokens of the answer were given.
    """

    decoding: Decoding
    steering: Steering
    temperature: float
    sides: tuple[Side, ...]
    watchers: tuple[Edit, ...] = ()
    watched: tuple[str, ...] = ()
    begin: tuple[int, ...] = ()


@dataclass(frozen=True)
class Steered:
    """One side of a comparison, ready to be shown."""

    run: Run
    metrics: Metrics
    edits: tuple[Edit, ...]

    def to_dict(self) -> JsonObject:
        """The contract's object: text, tokens, metrics; and what each token's edits read and wrote."""
        return {
            "text": self.run.text,
            "tokens": self.run.pieces,
            "metrics": dataclasses.asdict(self.metrics),
            "trace": history(self.run, self.edits),
        }


def pair(
    library: Library,
    prompt: Asked,
    plan: Plan,
    *,
    seed: int = 0,
    max_new_tokens: int = 96,
    temperature: float = 0.0,
    top_p: float = 1.0,
    rival: str | None = None,
    watch: Sequence[str] = (),
    begin: Sequence[int] = (),
    prompts: Mapping[str, Asked] = MappingProxyType({}),
    stop: threading.Event | None = None,
) -> Pair:
    """Starts all sides. Raises PlanError or PromptError before anything is computed.

    temperature, top_p: see lm.Sampling. rival: one of RIVALS. watch: concepts that are read on every side and
    steered on none. begin: token ids with which every answer begins. prompts: what other sides than the
    steered one answer, by name, where that is not `prompt`: a chat after answers of their own.
    """
    if not 1 <= max_new_tokens <= MAX_NEW_TOKENS:
        raise PlanError(f"max_new_tokens is {max_new_tokens}: give a number from 1 to {MAX_NEW_TOKENS}.")
    if rival is not None and rival not in RIVALS:
        raise PlanError(f"Rival is {shown(rival)}: give one of {', '.join(RIVALS)}, or null.")
    sampling = Sampling(temperature, seed, max_new_tokens, top_p)
    applied = feasible(steering(plan, library, prompt))
    base, steered = (prompt_ids(library.model, each) for each in (prompts.get("unsteered", prompt), prompt))
    watchers = watching(library, watch, applied.layers)
    asked: list[tuple[SideName, tuple[int, ...], tuple[int, ...], tuple[Edit, ...]]]
    asked = [("unsteered", base, base, applied.readers), ("steered", steered, steered, applied.edits)]
    if rival is not None:
        before = prompts.get("requested", prompt)
        wanted = requested(before, wishes(library, plan), strongest(library.model))
        pushed = feasible(steering(plan, library, wanted))
        asked.append(
            (
                "requested",
                prompt_ids(library.model, wanted),
                prompt_ids(library.model, before),
                pushed.edits if rival == "both" else pushed.readers,
            )
        )
    sides = []
    for name, ids, plain, own in asked:
        own = tuple(started_at(edit, len(ids)) for edit in own) if begin else own
        after = follows(prompt, ids) + len(begin)
        row = Row((*ids, *begin), sampling, (*own, *watchers), follows=after)
        sides.append(Side(name, row, own, (*plain, *begin)))
    decoding = library.model.decode([side.row for side in sides], stop=stop)
    return Pair(decoding, applied, temperature, tuple(sides), watchers, tuple(watch), tuple(begin))


def wishes(library: Library, plan: Plan) -> list[str]:
    """What a plan asks for, in words."""
    return [wish(library.concepts[each.concept], each.direction) for each in plan.targets]


def started_at(edit: Edit, answer: int) -> Edit:
    """The edit for a row whose prompt holds a part of the answer, which begins at position `answer`."""
    if not edit.answer_only:
        return edit
    return dataclasses.replace(edit, answer_only=False, start=answer - 1)


def watching(library: Library, names: Sequence[str], layers: Sequence[int]) -> tuple[Edit, ...]:
    """Edits that read concepts and push nothing, as few a layer as MAX_TARGETS allows. Raises PlanError."""
    require_once("Watch", names)
    if len(names) > MAX_WATCHED:
        raise PlanError(f"Watch names {len(names)} concepts: give at most {MAX_WATCHED}.")
    cavs = [library.cav(name) for name in names]
    groups = [cavs[at : at + MAX_TARGETS] for at in range(0, len(cavs), MAX_TARGETS)]
    return tuple(reader(group, layer) for group in groups for layer in layers)


def finish(library: Library, pair: Pair) -> tuple[Steered, ...]:
    """Measures what a decode has brought so far, side by side."""
    names = [*(target.concept for target in pair.steering.plan.targets), *pair.watched]
    concepts = [library.concepts[name] for name in names]
    runs, own = pair.decoding.runs, [side.edits for side in pair.sides]
    plain = [side.plain for side in pair.sides]
    numbers = measure(library.model, runs, own, concepts, plain, temperature=pair.temperature)
    return tuple(Steered(*each) for each in zip(runs, numbers, own, strict=True))


def steer(library: Library, prompt: Asked, plan: Plan, **settings: Any) -> dict[str, JsonObject]:
    """Every side's text with tokens, metrics and trace, as the endpoint /steer
    gives them; settings as for `pair`.

    The steered side has "plan" too: the layers, the cosines between the targets' directions, feasible.
    """
    started = pair(library, prompt, plan, **settings)
    for _ in started.decoding:
        pass
    both: dict[str, JsonObject] = {
        side.name: shown.to_dict()
        for side, shown in zip(started.sides, finish(library, started), strict=True)
    }
    both["steered"] |= {"plan": started.steering.to_dict()}
    return both


def policy(library: Library, plan: Plan) -> Policy:
    """The model steered by a plan, whose vectors are made when it first answers."""
    return Policy(
        library.model,
        f"plan:{plan.to_json()}",
        partial(edits, dataclasses.replace(plan, when=None), library),
        by_prompt=None if plan.when is None else partial(edits, plan, library),
        parts={"plan": json.loads(plan.to_json())},
        about={"id": f"plan:{plan.title}", "name": plan.title, "method": "steered", "preference": None},
    )
