"""States of the stage: what the Steer tab shows of a run while it decodes and when it is complete."""

import threading
import time
from collections.abc import Iterator, Sequence

from common.messages import Chart
from lm.edits.trace import CAPPED, UNREACHABLE
from lm.sources import DEFAULT_NAME
from steering import charts, view
from steering.edits import Steering
from steering.library import Library
from steering.messages import Shade, Stage
from steering.session import Complete, Request, Session
from steering.snippet import snippet
from steering.steer import Pair, finish, pair, wishes
from ui.background import frame, reading
from ui.validation import nucleus


def stream(
    session: Session, number: int, request: Request, state: Stage, stop: threading.Event
) -> Iterator[tuple[Stage, Chart | None]]:
    """Decodes a run and yields states of the stage, the last one with the metrics and the heat map.

    state: what the states begin with; it takes in what stands beside the texts. A run that comes to its end
    becomes the session's last one.
    """
    library = session.library
    started = pair(library, request.prompt, request.plan, **request.settings, stop=stop)
    state.update(_about(library, request, started))
    tokens: list[list[Shade]] = [[] for _ in started.sides]
    for shown in _growing(started, state, tokens, stop):
        yield shown, None
    shown = _with_tokens(state, started, tokens)
    if stop.is_set():
        yield {**shown, "phase": "stopped", "note": f"Stopped after {len(tokens[1])} tokens."}, None
        return
    session.last = Complete(number, request, started)
    shown["phase"], shown["note"] = "done", _summary(request, tokens)
    shown["held"] = _held_back(tokens[1], started.steering)
    yield shown, None
    sides = finish(library, started)
    if not stop.is_set():
        targets = [library.concepts[target.concept] for target in request.plan.targets]
        watched = [library.concepts[name] for name in request.watch]
        rows = view.rows(sides, [*targets, *watched], tokens)
        complete: Stage = {**shown, "rows": rows, "held": shown["held"] or view.broken(*sides[:2])}
        yield complete, charts.heat(sides, started.sides[1].edits, targets)


def _growing(
    started: Pair, state: Stage, tokens: list[list[Shade]], stop: threading.Event
) -> Iterator[Stage]:
    """Adds the tokens of each side to `tokens` as they are decoded, and yields a state a frame."""
    shades = [view.Shades(side.edits, started.watchers) for side in started.sides]
    drawn = 0.0
    try:
        for step in started.decoding:
            for token in step:
                tokens[token.row].append(shades[token.row](token))
            now = time.monotonic()
            if now - drawn >= frame() and not stop.is_set():
                drawn = now
                shown = _with_tokens(state, started, tokens)
                yield shown if any(tokens) else {**shown, "note": reading(started.decoding)}
    finally:
        started.decoding.close()


def _with_tokens(state: Stage, started: Pair, tokens: Sequence[Sequence[Shade]]) -> Stage:
    shown = state.copy()
    for side, own in zip(started.sides, tokens, strict=True):
        shown[side.name] = [*own]
    return shown


def _about(library: Library, request: Request, started: Pair) -> Stage:
    """What the stage shows beside the texts."""
    names = [*(target.concept for target in request.plan.targets), *request.watch]
    cavs = [library.cav(name) for name in names]
    return {
        "sides": [side.name for side in started.sides],
        "wish": " ".join(wishes(library, request.plan)) if request.rival else "",
        "begin": library.model.codec.decode(request.begin),
        "layers": [*started.steering.layers],
        "cosines": started.steering.cosines,
        "choice": view.choice(request.plan, cavs[0]),
        "concepts": [view.poles(library.concepts[name]) for name in names],
        "targets": len(request.plan.targets),
        "dropped": request.prompts.dropped,
        "curves": [view.curves(cav) for cav in cavs[: len(request.plan.targets)]],
        "snippet": snippet(
            request.prompt,
            request.plan,
            model=None if library.model.name == DEFAULT_NAME else library.model.name,
            imported=[
                name for name in request.plan.concepts + request.watch if library.concepts[name].source
            ],
            **request.settings,
        ),
    }


def _summary(request: Request, tokens: Sequence[Sequence[Shade]]) -> str:
    how = (
        "the likeliest token each time"
        if request.temperature == 0
        else f"seed {request.seed}, temperature {request.temperature:g}{nucleus(request.top_p)}"
    )
    *first, last = (str(len(side)) for side in tokens)
    counts = f"{', '.join(first)} and {last} tokens, {how}."
    if [token.text for token in tokens[0]] != [token.text for token in tokens[1]]:
        return counts
    if any(token.flag for token in tokens[1]):
        return f"{counts} The texts are equal."
    if any(token.push for token in tokens[1]):
        return f"{counts} The texts are equal: the push was too weak to change a token."
    return f"{counts} The texts are equal: no token of the answer was pushed."


def _held_back(tokens: Sequence[Shade], applied: Steering) -> str:
    """What held pushes back, with the remedy; empty where nothing did."""
    condition, reading = applied.plan.when, applied.reading
    if condition is not None and reading is not None and not condition.met(reading):
        return (
            f"The prompt reads as {condition.concept} with P {reading:.2f}, "
            f"not {condition.side} {condition.p:g}: nothing was pushed."
        )
    capped, stuck = (sum(token.flag == flag for token in tokens) for flag in (CAPPED, UNREACHABLE))
    if stuck:
        return (
            f"At {stuck} of {len(tokens)} tokens no push reaches all targets, so none was made: "
            "drop one or change its direction."
        )
    if capped:
        return (
            f"The cap held back the push at {capped} of {len(tokens)} tokens: "
            "raise it under Method and scope, or ask for less."
        )
    return ""
