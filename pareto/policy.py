"""Checkpoints, and mixes of them, as policies."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lm import Adapter, LanguageModel, Policies, Policy
from lm.policy import MIXES
from pareto.checkpoint import Checkpoint, CheckpointError
from pareto.heads import OBJECTIVES


def title_at(method: str, weights: Sequence[float]) -> str:
    """What a method's point at a preference is called: "curve 0.3 : 0.7"."""
    return f"{method} {' : '.join(f'{weight:g}' for weight in weights)}"


def policies(
    model: LanguageModel,
    find: Callable[[str], Checkpoint],
    known: Callable[[], Iterable[Checkpoint]],
    plan: Callable[[str | Mapping[str, Any]], Policy] | None = None,
) -> Policies:
    """Policies by their names. find: the checkpoint of an id, a folder or a hub id; known: those among which
    the two ends of `curve:0.35` and `soup:0.35` are; plan: of a plan's JSON.
    """

    def between(method: str, weight: float) -> Policy:
        pair = ends(method, known())
        if pair is None:
            raise CheckpointError(
                f"A {method} needs its two checkpoints, one for each objective alone: add them first."
            )
        return mixed(model, *pair, weight)

    return Policies(
        model,
        checkpoint=lambda id: tuned(model, find(id)),
        mix=lambda first, second, share: mixed(model, find(first), find(second), share),
        between=between,
        plan=plan,
    )


def ends(method: str, checkpoints: Iterable[Checkpoint]) -> tuple[Checkpoint, Checkpoint] | None:
    """The checkpoints that a method of MIXES mixes, the first objective's and the second's, where both are
    there: of the standard objectives, else of others that both have.
    """
    groups: dict[tuple[str, ...], dict[int, Checkpoint]] = {OBJECTIVES: {}}
    for checkpoint in checkpoints:
        preference = checkpoint.card.get("preference") or ()
        if len(preference) > 1 and max(preference) == 1 and checkpoint.on_curve == (method == "curve"):
            objectives = tuple(checkpoint.card.get("objectives", OBJECTIVES))
            groups.setdefault(objectives, {}).setdefault(preference.index(1), checkpoint)
    pairs = [(group[0], group[1]) for group in groups.values() if {0, 1} <= group.keys()]
    return pairs[0] if method in MIXES and pairs else None


def tuned(model: LanguageModel, checkpoint: Checkpoint) -> Policy:
    """The model with a checkpoint's adapter."""
    name = f"checkpoint:{checkpoint.id}"
    return Policy(model, name, adapter=checkpoint.adapter, parts=checkpoint.identity, about=known(checkpoint))


def mixed(model: LanguageModel, first: Checkpoint, second: Checkpoint, share: float) -> Policy:
    """Interpolated weights, `share` of the first checkpoint, the rest of the second: a rewarded soup, or a
    curve's policy at that preference.
    """
    weighted = [(end.adapter, part) for end, part in ((first, share), (second, 1 - share)) if part]
    preference = _between(first, second, share)
    method = "curve" if first.on_curve and second.on_curve else "soup"
    called = method if preference == [share, 1 - share] else f"{method} of {first.name} and {second.name},"
    about = {
        "id": f"{first.id}+{second.id}@{share:g}",
        "name": title_at(called, (share, 1 - share)),
        "method": method,
        "preference": preference,
        "steps": first.card.get("steps"),
        "seed": first.card.get("seed"),
    }
    parts = {"mix": [first.id, second.id], "share": share}
    return Policy(model, f"mix:{about['id']}", adapter=Adapter.mix(weighted), parts=parts, about=about)


def known(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a checkpoint's point on the front is called."""
    card = checkpoint.card
    if {*card.get("objectives", OBJECTIVES)} != {
        *OBJECTIVES
    }:  # no place among preferences of the front's objectives
        return {
            "id": checkpoint.id,
            "name": checkpoint.name,
            "method": "own",
            "preference": None,
            "steps": card.get("steps"),
            "seed": card.get("seed"),
        }
    about = {name: card.get(name) for name in ("preference", "steps", "seed")}
    single = bool(card.get("preference")) and max(card["preference"]) == 1
    trained = "single" if single else card["method"]
    method = "curve" if checkpoint.on_curve else trained
    return {"id": checkpoint.id, "name": checkpoint.name, "method": method, **about}


def _between(first: Checkpoint, second: Checkpoint, share: float) -> list[float] | None:
    """The preference of a mix, where both ends were trained for preferences over the same objectives."""
    ends = [end.card.get("preference") for end in (first, second)]
    if not all(ends) or first.card.get("objectives") != second.card.get("objectives"):
        return None
    return [share * a + (1 - share) * b for a, b in zip(*ends, strict=True)]
