"""What the tabs lack of a model. It imports nothing that trains, so that the app starts without it."""

from collections.abc import Sequence

from lm import LanguageModel
from pareto.front import stored
from steering import Library

STEER, TRADE_OFFS = "steer", "trade-offs"
PARTS = (STEER, TRADE_OFFS)
PROGRESS = "progress.json"
"""Where a preparation says how far it is, in the model's lab folder."""


def lacking(model: LanguageModel, parts: Sequence[str] = PARTS) -> list[str]:
    """The parts of PARTS that a model lacks."""
    return [part for part in parts if not (_steers if part == STEER else _trades)(model)]


def _steers(model: LanguageModel) -> bool:
    library = Library(model)
    return all(map(library.calibrated, library.concepts))


def _trades(model: LanguageModel) -> bool:
    return bool(stored(model).points)
