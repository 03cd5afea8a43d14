"""The prompts of assets/prompts: those to calibrate on, and those that no vector and no calibration met."""

import json
import random
from pathlib import Path

from steering.concepts import Concept

FOLDER = Path(__file__).parents[1] / "assets" / "prompts"
PROVOKED = {"toxicity", "refusal"}
"""Concepts that harmless prompts hardly bring up: half of their prompts are unsafe ones."""


def training(concept: Concept, count: int) -> list[str]:
    """Prompts to calibrate on, in an order that is always the same."""
    return _drawn("train", concept, count)


def held_out(concept: Concept, count: int) -> list[str]:
    """Prompts to evaluate on, in an order that is always the same."""
    return _drawn("held_out", concept, count)


def harmless(count: int) -> list[str]:
    """Training prompts that anybody may ask."""
    return _kinds("train")["helpful"][:count]


def _kinds(name: str) -> dict[str, list[str]]:
    lines = [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()]
    kinds = {
        kind: [line["prompt"] for line in lines if line["kind"] == kind] for kind in ("helpful", "unsafe")
    }
    for prompts in kinds.values():
        random.Random(0).shuffle(prompts)
    return kinds


def _drawn(name: str, concept: Concept, count: int) -> list[str]:
    kinds = _kinds(name)
    if concept.name not in PROVOKED:
        return kinds["helpful"][:count]
    both = [prompt for pair in zip(kinds["helpful"], kinds["unsafe"], strict=True) for prompt in pair]
    return both[:count]
