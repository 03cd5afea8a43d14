"""A frontier in tables: each method's score and cost, and how far the default is ahead at equal KL."""

from collections.abc import Sequence

import numpy as np

from common.statistics import estimate
from steering.frontier import BASE, BOTH, CONSTANT, DEFAULT, PAPER, REQUEST, Result, of
from steering.plan import sense_of

COMPARED = 0.1
"""KL, nats a token, at which methods are compared prompt by prompt."""
SUMMARISED = {BASE, DEFAULT, CONSTANT, REQUEST, BOTH}
"""Methods that a summary needs."""


def at_equal_kl(results: Sequence[Result], method: str, cost: float = COMPARED) -> np.ndarray:
    """The score of each prompt at a KL, between a method's settings; the base model is at 0 nats, and beyond
    the last setting its score holds.
    """
    own = [results[0], *of(results, method)]
    roots = np.sqrt([result.kl.mean() for result in own])
    return np.array(
        [np.interp(np.sqrt(cost), roots, scores) for scores in np.stack([t.score for t in own]).T]
    )


def markdown(name: str, direction: str, results: Sequence[Result]) -> str:
    """A table of means with 95 % bootstrap intervals over prompts, and the difference at equal KL."""
    lines = [
        f"### {name}, {_way(direction)} ({len(results[0].score)} prompts)",
        "",
        "| method | setting | score | KL, nats a token | surprise, nats | repeated |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        score, cost = _cell(result.score), _cell(result.kl) if result.kl.any() else "0"
        lines.append(
            f"| {result.method} | {result.setting} "
            f"| {score} | {cost} | {result.nll.mean():.2f} | {result.repetition.mean():.3f} |"
        )
    if not of(results, DEFAULT):
        return "\n".join(lines)
    rivals = [rival for rival in (CONSTANT, PAPER) if of(results, rival)]
    differences = ", ".join(f"{rival} {_signed(ahead(results, direction, rival))}" for rival in rivals)
    close = f"At {COMPARED} nats a token the default is ahead of: {differences} (in score, more is better)."
    return "\n".join([*lines, "", close])


def ahead(results: Sequence[Result], direction: str, rival: str) -> np.ndarray:
    """How much further the default moves the score of each prompt than a rival does, at COMPARED nats."""
    further: np.ndarray = at_equal_kl(results, DEFAULT) - at_equal_kl(results, rival)
    return sense_of(direction) * further


def summary(tables: Sequence[tuple[str, str, Sequence[Result]]]) -> str:
    """One row a concept and direction: the default against a constant push at COMPARED nats, against the
    strongest request at that request's KL, and what the request gains from the default beside it.
    """
    lines = [
        "| concept | base | default | constant push | default ahead "
        "| request | its KL | default ahead there | request and default | its KL | gain over the request |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(_summary_row(*table) for table in tables),
    ]
    steps = [step for _, direction, results in tables for step in rising(results, direction)]
    counts = ", ".join(
        f"{rival} {_clear([ahead(results, direction, rival) for _, direction, results in tables])}"
        for rival in (CONSTANT, PAPER)
        if all(of(results, rival) for *_, results in tables)
    )
    return "\n".join(
        [
            *lines,
            "",
            f"The default at {COMPARED} nats a token, "
            f"rows whose interval lies above and below zero: {counts}.",
            "From off over the default's budgets "
            f"the score moves the wanted way in {sum(steps)} of {len(steps)} steps.",
        ]
    )


def _summary_row(name: str, direction: str, results: Sequence[Result]) -> str:
    sense = sense_of(direction)
    [request] = of(results, REQUEST)
    both = of(results, BOTH)[-1]
    cells = [
        f"{name}, {_way(direction)}",
        _short(results[0].score.mean()),
        *(_cell(at_equal_kl(results, method)) for method in (DEFAULT, CONSTANT)),
        _signed(ahead(results, direction, CONSTANT)),
        _cell(request.score),
        _short(request.kl.mean()),
        _signed(sense * (at_equal_kl(results, DEFAULT, request.kl.mean()) - request.score)),
        _cell(both.score),
        _short(both.kl.mean()),
        _signed(sense * (both.score - request.score)),
    ]
    return f"| {' | '.join(cells)} |"


def rising(results: Sequence[Result], direction: str) -> list[bool]:
    """Whether the mean score moves the wanted way at each step, from the base model up the default's budgets."""
    scores = [sense_of(direction) * result.score.mean() for result in (results[0], *of(results, DEFAULT))]
    return [bool(later > earlier) for earlier, later in zip(scores, scores[1:], strict=False)]


def _clear(differences: Sequence[np.ndarray]) -> str:
    """In how many rows the interval of a difference lies above zero, and below; the mean over all rows."""
    intervals = [estimate(values) for values in differences]
    above, below = sum(each.low > 0 for each in intervals), sum(each.high < 0 for each in intervals)
    mean = np.mean([each.mean for each in intervals])
    return f"ahead in {above}, behind in {below} of {len(intervals)}, mean {mean:+.3f}"


def _way(direction: str) -> str:
    return "more" if direction == "amplify" else "less"


def _cell(values: np.ndarray) -> str:
    mean, low, high = (_short(value) for value in estimate(values))
    return f"{mean} [{low}, {high}]"


def _signed(values: np.ndarray) -> str:
    mean, low, high = (f"{value:+.2f}".replace("0.", ".") for value in estimate(values))
    return f"{mean} [{low}, {high}]"


def _short(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"
