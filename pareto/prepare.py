"""What the Trade-offs tab needs for a model, made from the data that ships: reward heads, a grid of
trainings, a front.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.command import typed
from lm import LanguageModel
from lm.paths import lab_folder, replacing
from pareto import checkpoint, contrast
from pareto.evaluate import alike_prompts, standard_prompts
from pareto.fit import contrast_accuracy, fit
from pareto.fleet import rows_at_once, together
from pareto.grid import PREFERENCES, SCORE, UNTRAINED, Grid, Job, plan
from pareto.heads import FOLDER, OBJECTIVES
from pareto.pairs import Pair, PairError, messages, read_pairs, read_prompts
from pareto.rewards import Head, HeadReward, Reward, heads
from pareto.settings import Settings

JUDGED = FOLDER / "judged"
DEPTH = 17 / 30
"""The block that a head reads, as a share of the model's, as in the default model."""
CUT, MAX_PROMPT = 40, 220
"""Tokens of an answer that a head learns from, and of a prompt in its chat."""
SPOILED = {"helpful": 60}
"""Answers that a head learns to prefer to themselves spoiled."""
METHODS = ("base", "single", "soup", "pgapo", "linear")
"""What a prepared front holds: P-GAPO and linear scalarisation, the two ends, their soups, the base model."""


@dataclass(frozen=True)
class Wanted:
    """How much is trained. rewards: by objective, those that take a head's place."""

    steps: int = Settings.steps
    seeds: int = 1
    samples: int = 2
    rewards: Mapping[str, Reward | Head] | None = None

    def heads(self) -> list[str]:
        """The objectives whose heads are fitted."""
        return [objective for objective in OBJECTIVES if objective not in (self.rewards or {})]


def head_file(model: LanguageModel, objective: str) -> Path:
    """Where the head of an objective is written."""
    return lab_folder(model.hash, "rewards") / f"{objective}.safetensors"


def has_head(model: LanguageModel, objective: str, anew: bool = False) -> bool:
    """Whether there is a head for this model, fitted here or (not where all is made anew) shipped."""
    shipped = FOLDER / f"{objective}.safetensors"
    fitted = head_file(model, objective).exists()
    return fitted or (not anew and Head.load(shipped).model_hash == model.hash)


def block_of(model: LanguageModel) -> int:
    """The block that heads of a model read: at least one is left above it to be trained."""
    return max(0, min(model.layers - 2, round(DEPTH * model.layers)))


def head_pairs(model: LanguageModel, objective: str) -> list[Pair]:
    """The judged pairs that ship whose prompts the model reads. Raises PairError where there is none."""
    pairs = [
        pair
        for pair in read_pairs(JUDGED / f"{objective}.jsonl")
        if len(model.chat_ids(messages(pair.prompt))) <= MAX_PROMPT
    ]
    if not pairs:
        raise PairError(f"No judged pair has a prompt of at most {MAX_PROMPT} tokens of {model.name}.")
    return pairs


def fit_head(model: LanguageModel, objective: str, progress: Callable[[float], None] | None = None) -> None:
    """Fits a head on the judged pairs and the contrasts that ship, and writes it with its card. Ended at any
    time, it goes on with what it has not read.
    """
    kept = lab_folder(model.hash, "reading", objective)
    head, report = fit(
        model,
        head_pairs(model, objective),
        objective,
        block_of(model),
        cut=CUT,
        spoil=SPOILED.get(objective, 0),
        contrasts=contrast.read(contrast.FOLDER / "train.jsonl"),
        progress=progress,
        kept=kept,
    )
    tests = contrast.read(contrast.FOLDER / "held_out.jsonl")
    about = {
        **head.constants,
        "model": model.name,
        "hash": head.hash,
        "pairs": [f"{objective}.jsonl"],
        "licence": "judged pairs and contrasts: Apache-2.0",
        "command": typed(),
        "contrast": contrast_accuracy(model, HeadReward(model, head), tests),
    }
    file = head_file(model, objective)
    with replacing(file.with_suffix(".json")) as part:
        part.write_text(json.dumps(about | report, indent=1) + "\n")
    with replacing(file) as part:
        head.save(part)
    shutil.rmtree(kept)


def jobs_of(objectives: Sequence[str], seeds: int) -> list[Job]:
    """The jobs of a prepared front: METHODS at five preferences."""
    return [job for job in plan(objectives, PREFERENCES, range(seeds)) if job.method in METHODS]


def settings_of(model: LanguageModel, wanted: Wanted) -> Settings:
    """How each job is trained."""
    settings = Settings(preference=(0.5, 0.5), steps=wanted.steps)
    if together(model.stack):
        return replace(settings, rows_at_once=rows_at_once(model.stack, block_of(model) + 1))
    return settings


def grid_of(model: LanguageModel, wanted: Wanted) -> Grid:
    """The grid of a prepared front; its heads have to be there. Raises ValueError."""
    rewards = wanted.rewards or {}
    known = heads(model, wanted.heads())
    return Grid(
        lab_folder(model.hash, "grid"),
        model,
        {objective: rewards.get(objective) or known[objective] for objective in OBJECTIVES},
        [text for path in contrast.TRAIN_PROMPTS for _, text in read_prompts(path)],
        standard_prompts(),
        settings_of(model, wanted),
        jobs_of(OBJECTIVES, wanted.seeds),
        wanted.samples,
        alike_prompts(),
    )


def is_trained(model: LanguageModel, job: Job) -> bool:
    """Whether a job of the model's grid has its checkpoint, or needs none of its own."""
    folder = lab_folder(model.hash, "grid") / job.id
    return job.method in UNTRAINED or (
        checkpoint.finished(folder) is not None and not (folder / checkpoint.STATE).exists()
    )


def is_scored(model: LanguageModel, job: Job) -> bool:
    """Whether a job of the model's grid is done."""
    return (lab_folder(model.hash, "grid") / job.id / SCORE).exists()


def front_file(model: LanguageModel) -> Path:
    """Where the front is written."""
    return lab_folder(model.hash) / "front.json"


def is_put_up(model: LanguageModel, jobs: Sequence[Job]) -> bool:
    """Whether all of these jobs are scored, and the front holds them."""
    front, grid = front_file(model), lab_folder(model.hash, "grid")
    scores = [grid / job.id / SCORE for job in jobs]
    return front.exists() and all(
        score.exists() and score.stat().st_mtime <= front.stat().st_mtime for score in scores
    )


def put_up(grid: Grid) -> None:
    """Makes what is scored the model's front, and the first seed of each point its checkpoint."""
    grid.ship(lab_folder(grid.model.hash, "checkpoints"), front_file(grid.model))
