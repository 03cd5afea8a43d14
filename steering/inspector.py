"""One token of a comparison under the lens: what the base and the steered model would have said there, what
every concept reads at every layer, and what was pushed.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from lm import Edit, Row, Sampling, Token
from lm.edits.trace import MAX_TARGETS
from steering.cav import CAV
from steering.edits import reader
from steering.library import Library
from steering.messages import Alternative, Lens, Push, Reading
from steering.metrics import overlaps, pushes
from steering.steer import Pair, started_at

SHOWN = 8
"""Alternatives a model."""


def inspect(library: Library, pair: Pair, side: int, index: int) -> Lens:
    """Token `index` of a side, as plain data. Both models are given that side's prompt
    and the answer up to the token.

    alternatives: the likeliest tokens of either model and the one that was drawn, with both probabilities at
    the temperature of the run. readings: of each concept P at every layer, after the pushes. pushes: of the
    steered model, by layer. prefix: the answer's token ids up to there.
    """
    run, answer = pair.decoding.runs[side], len(pair.sides[side].row.prompt) - len(pair.begin)
    ids = (*run.prompt, *run.ids[:index])
    steered = tuple(started_at(edit, answer) for edit in pair.steering.edits)
    readings, pushed = _readings(library, ids, steered)
    return {
        "side": side,
        "index": index,
        "token": library.model.codec.piece(run.ids[index]),
        "alternatives": _alternatives(library, ids, run.ids[index], steered, pair.temperature or 1.0),
        "prefix": [*pair.begin, *run.ids[:index]],
        "temperature": pair.temperature or 1.0,
        "readings": readings,
        "pushes": pushed,
    }


def _alternatives(
    library: Library, ids: tuple[int, ...], drawn: int, steered: tuple[Edit, ...], temperature: float
) -> list[Alternative]:
    rows = library.model.logprobs(
        [[*ids, drawn]] * 2, [len(ids)] * 2, edits=[(), steered], temperature=temperature
    )
    base, pushed = (row[0].exp() for row in rows)
    likeliest = [id for row in (pushed, base) for id in row.topk(SHOWN).indices.tolist()]
    each = sorted(dict.fromkeys([drawn, *likeliest]), key=lambda id: -float(max(pushed[id], base[id])))
    return [
        {
            "id": id,
            "text": library.model.codec.piece(id),
            "base": round(float(base[id]), 5),
            "steered": round(float(pushed[id]), 5),
            "drawn": id == drawn,
            "ends": id in library.model.stop_ids,
        }
        for id in each
    ]


def _readings(
    library: Library, ids: tuple[int, ...], steered: tuple[Edit, ...]
) -> tuple[list[Reading], list[Push]]:
    names = [name for name in library.concepts if library.ready(name) is not None]
    cavs = [library.cav(name) for name in names]
    groups = [cavs[at : at + MAX_TARGETS] for at in range(0, len(cavs), MAX_TARGETS)]
    readers = tuple(reader(group, layer) for layer in range(library.model.layers) for group in groups)
    sampling = Sampling(max_new_tokens=1)
    started = library.model.decode([Row(ids, sampling, (*own, *readers)) for own in ((), steered)])
    base, pushed = sorted((token for step in started for token in step), key=lambda token: token.row)
    readings: list[Reading] = [
        {
            "name": name,
            "low": library.concepts[name].low,
            "high": library.concepts[name].high,
            "base": plain,
            "steered": moved,
        }
        for name, plain, moved in zip(
            names, _chances(base, readers, cavs), _chances(pushed, readers, cavs), strict=True
        )
    ]
    return readings, _pushes(pushed, steered)


def _chances(token: Token, readers: tuple[Edit, ...], cavs: Sequence[CAV]) -> list[list[float | None]]:
    """P of each concept at each layer; None where an imported vector has no direction."""
    records = token.trace[len(token.trace) - len(readers) :]
    z = [
        float(value)
        for edit, record in zip(readers, records, strict=True)
        for value in record["z"][: len(edit.goal)]
    ]
    chances = expit(np.array(z).reshape(-1, len(cavs))).T
    return [
        [round(float(p), 4) if layer in cav.layers else None for layer, p in enumerate(row)]
        for cav, row in zip(cavs, chances, strict=True)
    ]


def _pushes(token: Token, steered: tuple[Edit, ...]) -> list[Push]:
    trace = token.trace[: len(steered)]
    share = pushes(trace, overlaps(steered)) / trace["norm"]
    return [
        {
            "layer": edit.layer,
            "eps": [round(float(eps), 3) for eps in record["eps"][: len(edit.goal)]],
            "share": round(float(length), 4),
        }
        for edit, record, length in zip(steered, trace, share, strict=True)
    ]
