"""GCAV: steering with concept activation vectors (arXiv 2501.05764)."""

from steering.cav import CAV, Settings, train
from steering.concepts import Concept, ConceptError, shipped
from steering.library import Library
from steering.plan import Plan, PlanError, Target
from steering.steer import Steered, pair, steer

__all__ = [
    "CAV",
    "Concept",
    "ConceptError",
    "Library",
    "Plan",
    "PlanError",
    "Settings",
    "Steered",
    "Target",
    "pair",
    "shipped",
    "steer",
    "train",
]
