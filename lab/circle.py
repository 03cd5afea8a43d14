"""The circle: a study's votes train a reward head a question, the heads train a checkpoint, which gets its
place on the front and goes back to the annotators. `python -m lab.circle`, which the page starts, does it in
one go.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select

import arena
from arena import preferences, studies
from arena.answering import generate
from arena.schema import BattleSet
from common.arguments import Parser, integer
from lab.learner import BROUGHT, PROGRESS, brought
from lab.policies import PLAIN
from lab.process import write
from lm import LanguageModel, Policy, SourceError, load
from lm.paths import lab_folder
from pareto.checkpoint import Checkpoint
from pareto.evaluate import alike_prompts, asked_of, evaluate, standard_rewards
from pareto.fit import fit
from pareto.front import put_own, stored
from pareto.pairs import Pair, held_out, messages, read_pairs
from pareto.policy import tuned
from pareto.prepare import MAX_PROMPT, block_of
from pareto.rewards import Head, RewardError
from pareto.settings import BOUNDS, Settings, ordered
from pareto.train import Trainer
from ui.validation import sentence

PARTS = {"heads": 0.3, "training": 0.4, "scores": 0.2, "answers": 0.1}
"""Shares of the work, for the progress that is told."""
MAX_BATTLES, MAX_NEW_TOKENS, OFTEN = 40, 96, 0.5
Tell = Callable[[float, str], None]


@dataclass(frozen=True)
class Circle:
    """What is trained. weights: by question, they sum to 1; id: of the checkpoint that comes of it."""

    study: str
    weights: Mapping[str, float]
    steps: int
    id: str


def run(model: LanguageModel, store: arena.Store, circle: Circle, tell: Tell) -> dict[str, Any]:
    """Goes round once. Returns the result, which is kept beside the model's front: {checkpoint, accuracy by
    question, note, study}. Raises ValueError.
    """
    _ = model.stack  # raises for a model that cannot be trained, before anything is read
    study = studies.detail(store, circle.study)
    pairs = pairs_of(model, store, circle)
    rewards, accuracy = _heads(model, circle, pairs, tell)
    checkpoint = _trained(model, circle, study.study.name, rewards, pairs, tell)
    note = _scored(model, checkpoint, tell)
    name = studies.free_name(store, f"{study.study.name[:60]}, after training")
    _back(model, store, name, study, checkpoint, pairs, tell)
    with store.read() as session:
        back = session.scalars(select(BattleSet.id).where(BattleSet.name == name)).one()
    came = {
        "checkpoint": checkpoint.id,
        "name": checkpoint.name,
        "accuracy": accuracy,
        "note": note,
        "study": back,
        "study_name": name,
    }
    write(lab_folder(model.hash) / BROUGHT, brought(model.hash) | {circle.study: came})
    return came


def pairs_of(model: LanguageModel, store: arena.Store, circle: Circle) -> dict[str, list[Pair]]:
    """The study's preferences by question, of prompts that the model reads.
    Raises ValueError where there are too few.
    """
    folder = lab_folder(model.hash, "votes", circle.study)
    counts = preferences.write(store, folder, circle.study)
    if missing := [key for key in circle.weights if not counts.get(key)]:
        raise ValueError(f"No battle is decided on {', '.join(missing)} yet: judge more battles.")
    read = {key: read_pairs(folder / f"{key}.jsonl") for key in circle.weights}
    return {
        key: [pair for pair in listed if len(model.chat_ids(messages(pair.prompt))) <= MAX_PROMPT]
        for key, listed in read.items()
    }


def _heads(
    model: LanguageModel, circle: Circle, pairs: Mapping[str, list[Pair]], tell: Tell
) -> tuple[dict[str, Head], dict[str, Any]]:
    rewards, accuracy = {}, {}

    def progress(at: int, key: str, fraction: float) -> None:
        done = PARTS["heads"] * (at + fraction) / len(pairs)
        tell(done, f"Reading the answers that people judged, on {key}")

    for at, key in enumerate(ordered(list(circle.weights))):
        rewards[key], report = fit(
            model, pairs[key], key, block_of(model), progress=partial(progress, at, key)
        )
        rewards[key].save(lab_folder(model.hash, "votes", circle.study) / f"{key}.safetensors")
        accuracy[key] = report["accuracy"]
    return rewards, accuracy


def _trained(
    model: LanguageModel,
    circle: Circle,
    study: str,
    rewards: dict[str, Head],
    pairs: Mapping[str, list[Pair]],
    tell: Tell,
) -> Checkpoint:
    weights = {key: circle.weights[key] for key in rewards}
    folder = lab_folder(model.hash, "checkpoints") / circle.id
    card = {
        "name": f"{study[:40]}: {', '.join(f'{key} {weight:g}' for key, weight in weights.items())}"[:80],
        "data": [f"votes of the study “{study}”", f"{len(_asked(pairs))} prompts of it"],
        "licence": "that of the base model, of the study's prompts and of its outputs",
        "command": "trained from the page on a study's votes",
    }
    settings = Settings(
        method="pgapo" if len(weights) > 1 else "linear",
        preference=tuple(weights.values()),
        steps=circle.steps,
    )
    trainer = Trainer(model, dict(rewards), _asked(pairs), settings, folder, card)

    def on_step(row: dict[str, Any]) -> None:
        done = row["step"] / circle.steps
        tell(PARTS["heads"] + PARTS["training"] * done, f"Training, step {row['step']} of {circle.steps}")

    tell(PARTS["heads"], f"Training, step 0 of {circle.steps}")
    trainer.run(on_step)
    return Checkpoint.load(folder, model)


def _asked(pairs: Mapping[str, list[Pair]]) -> list[str]:
    """The prompts without turns that the heads learn from; the others are for the annotators."""
    return _prompts(pairs, lambda prompt: not held_out(prompt))


def _prompts(pairs: Mapping[str, list[Pair]], keep: Callable[[str], bool]) -> list[str]:
    listed = [pair.prompt for of in pairs.values() for pair in of]
    return [prompt for prompt in dict.fromkeys(listed) if isinstance(prompt, str) and keep(prompt)]


def _scored(model: LanguageModel, checkpoint: Checkpoint, tell: Tell) -> str:
    """Puts the checkpoint on the model's front; a sentence where that has no rewards to score it by."""
    policy = tuned(model, checkpoint)

    def progress(fraction: float) -> None:
        done = PARTS["heads"] + PARTS["training"] + PARTS["scores"] * fraction
        tell(done, "Answering the held-out prompts, for its place on the front")

    try:
        rewards = standard_rewards(model)
    except RewardError as error:
        return f"It has no place on the front: {sentence(error)}"
    prompts, samples = asked_of(stored(model))
    scores = evaluate(
        policy, model, rewards, prompts, alike=alike_prompts(), samples=samples, progress=progress
    )
    put_own(model, {**policy.about, **scores})
    return ""


def _back(
    model: LanguageModel,
    store: arena.Store,
    name: str,
    study: studies.Detail,
    checkpoint: Checkpoint,
    pairs: Mapping[str, list[Pair]],
    tell: Tell,
) -> None:
    """A study of the checkpoint against the base model, on prompts
    that neither the heads nor the training saw first.
    """
    plain, trained = Policy(model), tuned(model, checkpoint)
    entrants = {
        PLAIN: arena.Entrant(plain, plain.spec),
        checkpoint.name: arena.Entrant(trained, trained.spec),
    }
    prompts = (_prompts(pairs, held_out) + _asked(pairs))[:MAX_BATTLES]
    outputs: list[arena.Output] = []
    for part in generate(entrants, prompts, max_new_tokens=MAX_NEW_TOKENS):
        outputs += part
        done = 1 - PARTS["answers"] * (1 - len(outputs) / (2 * len(prompts)))
        tell(done, "Answering prompts of the study, for its annotators")
    arena.create(
        store, name, outputs, questions=study.questions, guideline=study.settings.guideline, repeats=0.0
    )


def teller(file: Path) -> Tell:
    """Writes { fraction, note, seconds_left } to a file, now and then."""
    began, noted = time.monotonic(), 0.0

    def tell(fraction: float, note: str) -> None:
        nonlocal noted
        now = time.monotonic()
        if now - noted < OFTEN:
            return
        noted = now
        left = (now - began) * (1 - fraction) / fraction if fraction > 0.02 else None
        write(file, {"fraction": fraction, "note": note, "seconds_left": left})

    return tell


def main() -> int:
    """Exit code 2 where it cannot be done, with one sentence on stderr;
    the votes are those of $DATABASE_URL.
    """
    parser = Parser(
        description="Train a checkpoint on a study's votes, and send it back to the study's people."
    )
    parser.add_argument("--model", help="folder or hub id (default: $TRADEWIND_MODEL or the embedded model)")
    parser.add_argument("--study", required=True, help="id of the study")
    parser.add_argument("--weights", required=True, type=json.loads, help="JSON of a weight a question")
    parser.add_argument("--steps", type=integer(*BOUNDS["steps"]), default=Settings.steps)
    parser.add_argument("--id", required=True, help="id of the checkpoint")
    options = parser.parse_args()
    if hasattr(os, "nice"):
        os.nice(5)  # people who read and judge meanwhile go first
    try:
        model = load(options.model, engine="rows")
        file = lab_folder(model.hash) / PROGRESS
        circle = Circle(options.study, options.weights, options.steps, options.id)
        run(model, arena.Store(), circle, teller(file))
    except (ValueError, SourceError, OSError) as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
