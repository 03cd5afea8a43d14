"""The data that ships, thinned: `python -m tests.thinned prepare MODEL` does what `tradewind prepare MODEL` does, on a part of
it.
"""

import sys
from collections.abc import Callable

import pareto.contrast
import pareto.prepare
import steering.calibrate
import steering.library

EVERY, PROMPTS = 4, 12
"""One in so many concepts, judged pairs and contrasts stays, and one in so many prompts that policies answer."""


def thin(patch: Callable[[object, str, object], None]) -> None:
    """Thins what `tradewind prepare` works on. patch: setattr, or monkeypatch.setattr."""
    for module, name, every in (
        (pareto.contrast, "read", EVERY),
        (pareto.prepare, "head_pairs", EVERY),
        (pareto.prepare, "standard_prompts", PROMPTS),
        (pareto.prepare, "alike_prompts", PROMPTS),
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
