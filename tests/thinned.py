"""The data that ships, thinned: `python -m tests.thinned prepare MODEL` does what `tradewind prepare MODEL` does, on a part of
it.
"""

import sys
from collections.abc import Callable

import pareto.contrast
import pareto.prepare
import steering.calibrate
import steering.library

EVERY, PAIRS = 4, 16
"""One in so many concepts and prompts stays, and one in so many judged pairs and contrasts."""


def thin(patch: Callable[[object, str, object], None]) -> None:
    """Thins what `tradewind prepare` works on. patch: setattr, or monkeypatch.setattr."""
    for module, name, every in (
        (pareto.contrast, "read", PAIRS),
        (pareto.prepare, "head_pairs", PAIRS),
        (pareto.prepare, "standard_prompts", EVERY),
        (pareto.prepare, "alike_prompts", EVERY),
        (steering.calibrate, "training", EVERY),
    ):
        patch(module, name, _thinned(getattr(module, name), every))
    concepts = dict([*steering.library.shipped().items()][::EVERY])
    patch(steering.library, "shipped", lambda: concepts)


def _thinned(whole: Callable[..., list], every: int) -> Callable[..., list]:
    return lambda *arguments: whole(*arguments)[::every]


if __name__ == "__main__":
    import tradewind

    thin(setattr)
    sys.exit(tradewind.main())
