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


def uncalibrated(model: LanguageModel) -> list[str]:
    """The concepts without calibrated vectors."""
    library = Library(model)
    return [name for name in library.concepts if not library.calibrated(name)]


def _steers(model: LanguageModel) -> bool:
    return not uncalibrated(model)


def _trades(model: LanguageModel) -> bool:
    return bool(stored(model).points)
