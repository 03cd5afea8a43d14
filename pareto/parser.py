"""The options of `python -m pareto`."""

import argparse
from pathlib import Path

from common.arguments import Commands, Parser, integer, number
from common.bounds import MAX_NEW_TOKENS
from lm.prompts import add_arguments
from pareto import contrast
from pareto.arguments import objective, share
from pareto.evaluate import ANSWER, HELD_OUT, SAMPLES
from pareto.rewards import FOLDER as REWARDS
from pareto.rewards import KINDS, OBJECTIVES
from pareto.settings import BOUNDS, CHOICES, Settings


def parser() -> argparse.ArgumentParser:
    """The whole of it."""
    parser = Parser(
        prog="python -m pareto", description="Train towards helpfulness and harmlessness, score, plot."
    )
    shared = Parser(add_help=False)
    shared.add_argument("--model", help="folder or hub id (default: $TRADEWIND_MODEL or the embedded model)")
    shared.add_argument("--json", action="store_true", help="print JSON")
    rewarding = Parser(add_help=False)
    rewarding.add_argument(
        "--reward",
        action="append",
        default=[],
        metavar="OBJECTIVE=WHAT",
        help="in place of the shipped head: " + ", ".join(kind.title for kind in KINDS),
    )
    rewarding.add_argument(
        "--objectives",
        metavar="NAMES",
        help="as in helpful,brevity (default: helpful, harmless and what --reward names)",
    )
    commands = parser.commands()
    _train(commands, [shared, rewarding])
    _grid(commands, [shared, rewarding])
    _rewards(commands, [shared, rewarding])
    _contrast(commands, [shared])
    _evaluate(commands, [shared, rewarding])
    _front(commands, [shared])
    _respond(commands, [shared])
    return parser


def _train(commands: Commands, parents: list[Parser]) -> None:
    sub = commands.add_parser(
        "train",
        parents=parents,
        help="train a checkpoint; started again, it goes on where it stopped",
    )
    sub.add_argument("--out", type=Path, required=True, help="the checkpoint's folder")
    sub.add_argument(
        "--prompts",
        type=Path,
        nargs="+",
        default=contrast.TRAIN_PROMPTS,
        help="JSON Lines of prompt and kind (default: those that ship)",
    )
    sub.add_argument(
        "--preference",
        nargs="+",
        metavar="OBJECTIVE=WEIGHT",
        help="weights that sum to 1, as in helpful=.9,harmless=.1; without names: of helpful, then harmless",
    )
    _settings_arguments(sub, [*CHOICES, *BOUNDS])


def _grid(commands: Commands, parents: list[Parser]) -> None:
    sub = commands.add_parser(
        "grid",
        parents=parents,
        help="train and score methods x preferences x seeds; started again, also elsewhere, it goes on",
    )
    sub.add_argument("--out", type=Path, required=True, help="the grid's folder, outside of the project")
    sub.add_argument(
        "--prompts", type=Path, nargs="+", default=contrast.TRAIN_PROMPTS, help="JSON Lines to train on"
    )
    sub.add_argument("--held-out", type=Path, default=HELD_OUT, help="JSON Lines to score on")
    sub.add_argument("--seeds", type=integer(1, 100), default=3, help="trainings of each point")
    sub.add_argument(
        "--samples", type=integer(1, 100), default=SAMPLES, help="answers to each prompt that are scored"
    )
    sub.add_argument(
        "--preference",
        nargs="+",
        action="append",
        default=[],
        metavar="OBJECTIVE=WEIGHT",
        help="once for each point (default: .1, .3, .5, .7, .9 of the first of two objectives)",
    )
    sub.add_argument(
        "--part", type=share, default=(1, 1), metavar="I/N", help="do only this share of the jobs"
    )
    sub.add_argument(
        "--at-once",
        type=integer(1, 256),
        default=1,
        help="trainings of this process that make their steps together, in one batch: for a GPU",
    )
    sub.add_argument("--status", action="store_true", help="tell how far it is, and do nothing")
    sub.add_argument(
        "--ship",
        action="store_true",
        help="make what is scored the model's front, and a seed of each point a checkpoint of the project",
    )
    _settings_arguments(
        sub, [name for name in (*CHOICES, *BOUNDS) if name not in ("method", "seed", "p", "positions")]
    )


def _rewards(commands: Commands, parents: list[Parser]) -> None:
    sub = commands.add_parser(
        "rewards",
        parents=parents,
        help="accuracy of the rewards on preference pairs; or fit a head",
    )
    sub.add_argument("--pairs", type=Path, help="JSON Lines of prompt, chosen, rejected")
    sub.add_argument("--most", type=integer(1, 10**9), help="at most so many pairs, drawn at random (seed 0)")
    sub.add_argument(
        "--longest-prompt",
        type=integer(1, 10**6),
        default=220,
        help="leave out pairs whose chat prompt has more tokens",
    )
    sub.add_argument(
        "--fit",
        type=objective,
        metavar="OBJECTIVE",
        help="fit the head of this objective, any name, and save it",
    )
    sub.add_argument(
        "--tune",
        choices=OBJECTIVES,
        help="tune the blocks below this objective's head with LoRA, and save both",
    )
    sub.add_argument(
        "--block", type=integer(0, 1000), default=17, help="with --fit: the block that the head reads"
    )
    sub.add_argument(
        "--also",
        type=Path,
        help="with --fit: pairs of another kind, learned from beside the first and measured apart",
    )
    sub.add_argument("--also-most", type=integer(1, 10**7), help="with --also: at most so many of them")
    sub.add_argument(
        "--contrast",
        action="store_true",
        help="answers against refusals on prompts that sound alike, safe and unsafe: measured, and with --fit learned from",
    )
    sub.add_argument(
        "--tune-gate",
        action="store_true",
        help="with --fit harmless --contrast: tune the blocks below the gate that tells unsafe prompts, for minutes "
        "on a GPU, or half an hour without",
    )
    sub.add_argument(
        "--cut",
        type=integer(1, 4096),
        help="with --fit: answers are read up to so many tokens, as policies that are trained give them",
    )
    sub.add_argument(
        "--spoil",
        type=integer(0, 10**6),
        default=0,
        help="with --fit: learn from so many chosen answers against spoiled ones, too",
    )
    sub.add_argument(
        "--out", type=Path, default=REWARDS, help="with --fit, --tune: folder of what is made, and its card"
    )
    sub.add_argument("--licence", help="with --fit, --tune: of the pairs, for the card")
    sub.add_argument("--failures", help="with --fit, --tune: known failures, for the card")


def _contrast(commands: Commands, parents: list[Parser]) -> None:
    sub = commands.add_parser(
        "contrast",
        parents=parents,
        help="sample answers and refusals to prompts that sound alike, for rewards --contrast",
    )
    sub.add_argument(
        "--out", type=Path, default=contrast.FOLDER, help="folder of train.jsonl and held_out.jsonl"
    )
    sub.add_argument("--part", choices=contrast.PARTS, required=True)
    sub.add_argument(
        "--ordinary", type=integer(0, 10**4), default=120, help="so many ordinary prompts besides"
    )
    sub.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        help="answers freely beside the base model (repeat it for more)",
    )


def _evaluate(commands: Commands, parents: list[Parser]) -> None:
    sub = commands.add_parser("evaluate", parents=parents, help="score a checkpoint on held-out prompts")
    sub.add_argument(
        "checkpoint",
        help="base, checkpoint:ID (or a folder, or a hub id), mix:A+B@0.35, the share of A, or curve:0.35 or "
        "soup:0.35, the weight of helpfulness; all but base with *1.5 behind it: so many times the trained change",
    )
    sub.add_argument("--prompts", type=Path, default=HELD_OUT, help="JSON Lines of prompt and kind")
    sub.add_argument(
        "--part",
        choices=("front", "rest"),
        help="of the held-out prompts: those on which the front's points are scored, or the others",
    )
    sub.add_argument("--samples", type=integer(1, 100), default=SAMPLES)
    sub.add_argument("--seed", type=integer(*BOUNDS["seed"]), default=0)
    sub.add_argument("--max-new-tokens", type=integer(1, MAX_NEW_TOKENS), default=ANSWER)
    sub.add_argument(
        "--add",
        action="store_true",
        help="put the point on the model's stored front, scored on the prompts of the points there",
    )


def _front(commands: Commands, parents: list[Parser]) -> None:
    sub = commands.add_parser("front", parents=parents, help="the stored front")
    sub.add_argument("--front", type=Path, help="another front file")


def _respond(commands: Commands, parents: list[Parser]) -> None:
    sub = commands.add_parser("respond", parents=parents, help="a checkpoint's answer")
    sub.add_argument("--checkpoint", required=True, help="as for evaluate")
    add_arguments(sub)
    sub.add_argument("--seed", type=integer(*BOUNDS["seed"]), default=0)
    sub.add_argument("--max-new-tokens", type=integer(1, MAX_NEW_TOKENS), default=64)
    sub.add_argument("--temperature", type=number(0, 10), default=0.7)
    sub.add_argument("--top-p", type=number(0, 1), default=1.0, help="below 1: draw from the nucleus")


def _settings_arguments(parser: argparse.ArgumentParser, names: list[str]) -> None:
    """An option for each of these settings."""
    for name in names:
        default = getattr(Settings, name)
        option = "--prompts-per-step" if name == "prompts" else "--" + name.replace("_", "-")
        target = "per_step" if name == "prompts" else name
        if name in CHOICES:
            parser.add_argument(option, choices=CHOICES[name], default=default)
        else:
            kind = (number if isinstance(default, float) else integer)(*BOUNDS[name])
            parser.add_argument(option, dest=target, type=kind, default=default)
