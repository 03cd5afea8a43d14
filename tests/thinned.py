"""The data that ships, thinned: `python -m tests.thinned prepare MODEL` does what `tradewind prepare MODEL` does, on a quarter
of it.
"""

import sys
from collections.abc import Callable

import pareto.contrast
import pareto.prepare
import steering.calibrate
import steering.library

EVERY = 4
"""One in so many concepts, judged pairs, contrasts and prompts stays."""


def thin(patch: Callable[[object, str, object], None]) -> None:
    """Thins what `tradewind prepare` works on. patch: setattr, or monkeypatch.setattr."""
    for module, names in (
        (pareto.contrast, ("read",)),
        (steering.calibrate, ("training",)),
        (pareto.prepare, ("head_pairs", "standard_prompts", "alike_prompts")),
    ):
        for name in names:
            patch(module, name, _thinned(getattr(module, name)))
    concepts = dict([*steering.library.shipped().items()][::EVERY])
    patch(steering.library, "shipped", lambda: concepts)


def _thinned(whole: Callable[..., list]) -> Callable[..., list]:
    return lambda *arguments: whole(*arguments)[::EVERY]


if __name__ == "__main__":
    import tradewind

    thin(setattr)
    sys.exit(tradewind.main())
