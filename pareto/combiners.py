"""The registry of gradient combinations: what the command line, the legend, the marks and the page read."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from pareto import combine


@dataclass(frozen=True)
class Evidence:
    """What a combiner may use in a step.

    gram: inner products of the objectives' gradients [m, m]; deviations: standard deviation of each
    objective's advantages [m]; p: GAPO's exponent.
    """

    gram: Tensor
    deviations: Tensor
    p: float


@dataclass(frozen=True)
class Combiner:
    """A way to make one direction of several gradients.

    key: its name on the command line and in cards. takes_preference: whether its function is given weights.
    coefficients: of the raw gradients [m], of the evidence and the preference [m] (None where it takes none).
    mark: a symbol of assets/web/tradeoffs/marks.js; color, dark: on a light and on a dark page; edge: a dark
    line round a pale mark.
    """

    key: str
    title: str
    takes_preference: bool
    coefficients: Callable[[Evidence, Tensor], Tensor]
    mark: str
    color: str
    dark: str = ""
    edge: str = ""


COMBINERS = {
    combiner.key: combiner
    for combiner in (
        Combiner("pgapo", "P-GAPO", True, lambda e, w: combine.pgapo(e.gram, w), "circle", "#d55e00"),
        Combiner("gapo", "GAPO", False, lambda e, _: combine.gapo(e.gram, e.p), "square", "#cc79a7"),
        Combiner(
            "mgda", "MGDA", False, lambda e, _: combine.mgda(e.gram), "triangle-up", "#f0e442", edge="#6d6400"
        ),
        Combiner(
            "linear",
            "Linear scalarisation",
            True,
            lambda e, w: combine.linear(e.gram, w),
            "diamond",
            "#009e73",
        ),
        Combiner(
            "normalized",
            "Normalised advantages",
            True,
            lambda e, w: combine.normalized(w, e.deviations),
            "pentagon",
            "#56b4e9",
            dark="#0072b2",
        ),
    )
}
"""Add one here, and it can be trained, scored and plotted."""
