"""python -m pareto train|grid|rewards|contrast|evaluate|front|respond"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from common.command import exit_code, typed
from common.jsons import JsonObject
from lm import LanguageModel, Policy, Sampling, SourceError, load
from lm.prompts import of_arguments
from pareto import combine, contrast
from pareto.arguments import replacements, weights, writable
from pareto.checkpoint import FOLDER as CHECKPOINTS
from pareto.checkpoint import find, shipped
from pareto.combiners import COMBINERS
from pareto.curve import CurveTrainer
from pareto.evaluate import (
    ANSWER,
    HELD_OUT,
    SAMPLES,
    alike_prompts,
    asked_of,
    evaluate,
    part_of,
    standard_heads,
    standard_rewards,
)
from pareto.fit import contrast_accuracy, fit, score_pairs
from pareto.front import Front, filed, path_of, stored
from pareto.grid import CURVE, PREFERENCES, Grid, Job, plan, title
from pareto.pairs import Pair, PairError, messages, read_pairs, read_prompts
from pareto.parser import parser
from pareto.policy import policies
from pareto.rewards import OBJECTIVES, Head, HeadReward, Reward, heads, named, scorer
from pareto.settings import BOUNDS, CHOICES, Settings, SettingsError, ordered
from pareto.table import table
from pareto.train import Trainer
from pareto.tune import tune

BAR = 28
LICENCE = "Apache-2.0 (base model and prompts); the helpfulness head was fitted on CC BY-NC 4.0 annotations"
OTHERS_LICENCE = "that of the base model, the prompts and the reward models"


def _bar(text: str) -> Callable[[float], None]:
    """A progress bar on stderr with the time that is left."""
    started = time.monotonic()

    def show(fraction: float) -> None:
        left = (time.monotonic() - started) * (1 - fraction) / max(fraction, 1e-9)
        _note(
            f"\r{text} [{_full(fraction)}] {fraction:4.0%}, {left:5.0f} s left",
            end="\n" if fraction >= 1 else "",
        )

    return show


def _full(fraction: float) -> str:
    full = round(BAR * fraction)
    return "=" * full + " " * (BAR - full)


def _note(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


def _rewards(words: list[str], model: LanguageModel, wanted: str | None = None) -> dict[str, Head | Reward]:
    """The shipped heads, with what --reward names in their place or beside them, in the order of a
    preference.

    words: of --reward; wanted: names of the objectives, where they are fewer. Raises ValueError.
    """
    replaced = replacements(words)
    names = ordered(list(dict.fromkeys([*OBJECTIVES, *replaced])))
    if wanted is not None:
        names = ordered(list(dict.fromkeys(wanted.split(","))))
        if unknown := [name for name in names if name not in (*OBJECTIVES, *replaced)]:
            raise ValueError(
                f"--objectives has {', '.join(unknown)}: give --reward OBJECTIVE=WHAT for it, too."
            )
    own = heads(model, [name for name in names if name not in replaced])
    return {name: named(replaced[name], model) if name in replaced else own[name] for name in names}


def _scorers(args: argparse.Namespace, model: LanguageModel) -> dict[str, Reward]:
    rewards = _rewards(args.reward, model, args.objectives)
    return {name: scorer(model, reward) for name, reward in rewards.items()}


def _policy(name: str, model: LanguageModel) -> Policy:
    return policies(model, lambda id: find(id, model), lambda: shipped(model))(name)


def _train(args: argparse.Namespace, model: LanguageModel) -> JsonObject | None:
    """What was trained; None in all processes but the first."""
    _ = model.stack  # refuses a model that cannot be trained, before anything else is read
    writable(args.out, "--out")
    prompts = [prompt for path in args.prompts for prompt in read_prompts(path)]
    rewards = _rewards(args.reward, model, args.objectives)
    settings = Settings(
        preference=_preference(args, list(rewards)),
        prompts=args.per_step,
        **{name: getattr(args, name) for name in (*CHOICES, *BOUNDS) if name != "prompts"},
    )
    p = settings.p if settings.method == "gapo" else None
    card = {
        "name": title(settings.method, settings.preference, p, list(rewards)),
        "data": [f"{' '.join(path.name for path in args.prompts)} ({len(prompts)} prompts)"],
        "licence": OTHERS_LICENCE if args.model or args.reward else LICENCE,
        "command": typed(),
    }
    kind = CurveTrainer if settings.positions else Trainer
    trainer = kind(model, rewards, [text for _, text in prompts], settings, args.out, card)
    first_process = trainer.accelerator.is_main_process
    trainer.run(_steps(trainer) if first_process else lambda row: None)
    trainer.accelerator.end_training()  # threads that still talk to other processes at the end can abort this one
    if not first_process:
        return None
    return {
        "checkpoint": str(args.out),
        "steps": trainer.step,
        "processes": trainer.accelerator.num_processes,
        "last": trainer.curves[-1],
    }


def _steps(trainer: Trainer) -> Callable[[JsonObject], None]:
    """A line on stderr for each step of a training."""
    started, first, steps = time.monotonic(), trainer.step, trainer.settings.steps

    def show(row: JsonObject) -> None:
        left = (time.monotonic() - started) / (row["step"] - first) * (steps - row["step"])
        scores = ", ".join(f"{name} {value:+.2f}" for name, value in row["reward"].items())
        _note(
            f"[{_full(row['step'] / steps)}] step {row['step']}/{steps}: {scores}, KL {row['kl']:.2f}, "
            f"cosine {row['cosine']:+.2f}, {row['tokens_per_second']:.0f} tokens/s, {left:.0f} s left"
        )

    return show


def _grid(args: argparse.Namespace, model: LanguageModel) -> JsonObject:
    """How far the grid is when this process has done its part."""
    _ = model.stack  # refuses a model that cannot be trained, before anything else is read
    writable(args.out, "--out")
    rewards = _rewards(args.reward, model, args.objectives)
    names = list(rewards)
    if not args.preference and len(names) != 2:
        raise ValueError(
            f"--preference is missing: give it once for each point, with weights of {', '.join(names)}."
        )
    preferences = [weights(words, names) for words in args.preference] or PREFERENCES
    for preference in preferences:
        combine.preference(preference, len(names))
    known = {
        name: getattr(args, name) for name in (*CHOICES, *BOUNDS) if hasattr(args, name) and name != "prompts"
    }
    settings = Settings(preference=(1 / len(names),) * len(names), prompts=args.per_step, **known)
    jobs = plan(names, preferences, range(args.seeds))
    grid = Grid(
        args.out,
        model,
        rewards,
        [text for path in args.prompts for _, text in read_prompts(path)],
        read_prompts(args.held_out),
        settings,
        [job for job in jobs if settings.suit_curves or job.method != CURVE],
        args.samples,
        alike_prompts() if args.held_out == HELD_OUT else (),
    )
    if args.ship:
        return grid.ship(CHECKPOINTS, path_of(model.name))
    if not args.status:
        part = grid.part(*args.part)
        grid.run(part, _progress(grid, part), args.at_once)
    return grid.status()


def _progress(grid: Grid, part: list[Job]) -> Callable[[str, float, str], None]:
    """Tells on stderr how a part of a grid goes."""

    def show(id: str, done: float, note: str) -> None:
        count = sum(grid.done(job) for job in part)
        left = grid.status()["seconds_left"]
        about = "" if left is None else f", about {left / 3600:.1f} h left for one process"
        _note(f"[{_full((count + done) / len(part))}] {count} of {len(part)} jobs, {id}: {note}{about}")

    return show


def _preference(args: argparse.Namespace, objectives: list[str]) -> tuple[float, ...] | None:
    takes = COMBINERS[args.method].takes_preference
    if args.preference:
        if not takes:
            raise SettingsError(f"--preference is given, and {args.method} takes none: leave it out.")
        return weights(args.preference, objectives)
    return (1 / len(objectives),) * len(objectives) if takes and not args.positions else None


def _drawn(path: Path, args: argparse.Namespace, model: LanguageModel, most: int | None) -> list[Pair]:
    pairs = read_pairs(path)
    random.Random(0).shuffle(pairs)
    pairs = [pair for pair in pairs if len(model.chat_ids(messages(pair.prompt))) <= args.longest_prompt]
    if not pairs:
        raise PairError(
            f"No pair of {path} has a prompt of at most {args.longest_prompt} tokens: raise --longest-prompt."
        )
    return pairs[:most]


def _pairs(args: argparse.Namespace, model: LanguageModel) -> JsonObject:
    if args.pairs is None and (args.fit or args.tune):
        raise ValueError("--pairs is missing: --fit and --tune learn from it.")
    if args.tune_gate and not (args.contrast and args.fit == "harmless"):
        raise ValueError("--tune-gate is given without a gate: give --fit harmless and --contrast, too.")
    pairs = _drawn(args.pairs, args, model, args.most) if args.pairs else []
    tests = contrast.read(contrast.FOLDER / "held_out.jsonl") if args.contrast else []
    if args.fit or args.tune:
        return _made_head(args, model, pairs, tests)
    return {
        name: (score_pairs(model, reward, pairs) if pairs else {})
        | ({"contrast": contrast_accuracy(model, reward, tests)} if tests else {})
        for name, reward in _scorers(args, model).items()
    }


def _made_head(
    args: argparse.Namespace, model: LanguageModel, pairs: list[Pair], tests: list[contrast.Contrast]
) -> JsonObject:
    """Fits or tunes a head, and writes it with its card, which it returns."""
    args.out.mkdir(parents=True, exist_ok=True)
    if args.tune:
        reward, report = tune(model, pairs, heads(model, [args.tune])[args.tune], progress=_bar("tuning"))
        reward.save(args.out / f"{args.tune}-tuned")
        head = reward.head
    else:
        head, report = _fit(args, model, pairs)
        if tests:
            report["contrast"] = contrast_accuracy(model, HeadReward(model, head), tests)
        head.save(args.out / f"{args.fit}.safetensors")
    card = {
        **head.constants,
        "model": model.name,
        "hash": head.hash,
        "pairs": [path.name for path in (args.pairs, args.also) if path],
        "licence": args.licence,
        "command": typed(),
        "known_failures": args.failures,
    } | report
    (args.out / f"{args.fit or args.tune + '-tuned'}.json").write_text(json.dumps(card, indent=1) + "\n")
    return card


def _fit(args: argparse.Namespace, model: LanguageModel, pairs: list[Pair]) -> tuple[Head, JsonObject]:
    return fit(
        model,
        pairs,
        args.fit,
        args.block,
        also=_drawn(args.also, args, model, args.also_most or args.most) if args.also else (),
        cut=args.cut,
        spoil=args.spoil,
        contrasts=contrast.read(contrast.FOLDER / "train.jsonl") if args.contrast else (),
        tune_gate=args.tune_gate,
        progress=_bar("reading"),
    )


def _contrast(args: argparse.Namespace, model: LanguageModel) -> JsonObject:
    rows = contrast.collect(
        model,
        contrast.prompts_of(args.part, args.ordinary),
        contrast.phrases(args.part),
        [None, *(find(name, model).adapter for name in args.checkpoint)],
        seed=contrast.PARTS.index(args.part) * 10**6,
        progress=_bar("sampling"),
    )
    args.out.mkdir(parents=True, exist_ok=True)
    contrast.write(args.out / f"{args.part}.jsonl", rows)
    return {
        "prompts": len(rows),
        "answers": sum(len(row.answers) for row in rows),
        "refusals": sum(len(row.refusals) for row in rows),
    }


def _evaluate(args: argparse.Namespace, model: LanguageModel) -> JsonObject:
    policy = _policy(args.checkpoint, model)
    if args.add:
        _check_addable(args, filed(model), policy.about["id"])
        rewards, (prompts, samples) = standard_rewards(model), asked_of(filed(model))
    else:
        prompts = part_of(filed(model), args.part) if args.part else read_prompts(args.prompts)
        rewards, samples = _scorers(args, model), args.samples
    measured = evaluate(
        policy,
        model,
        rewards,
        prompts,
        alike=alike_prompts() if args.prompts == HELD_OUT else (),
        samples=samples,
        seed=args.seed,
        max_new_tokens=args.max_new_tokens,
        progress=_bar(policy.about["id"]),
    )
    point = {**policy.about, **measured, "engine": type(model.engine).__name__}
    if args.add:
        constants = {
            name: {"hash": head.hash, "mean": head.mean, "std": head.std}
            for name, head in standard_heads(model).items()
        }
        front = filed(model)
        about = {"command": "python -m pareto evaluate CHECKPOINT --add", **front.about, "rewards": constants}
        replace(front, about=about).with_point(point).save(path_of(model.name))
    return point


def _check_addable(args: argparse.Namespace, front: Front, id: str) -> None:
    """Raises ValueError where a new point could not be compared with those of the front."""
    if (
        args.reward
        or args.objectives
        or args.part
        or (args.prompts, args.samples, args.max_new_tokens) != (HELD_OUT, SAMPLES, ANSWER)
    ):
        raise ValueError(
            "--add takes the shipped rewards, prompts, samples and length, so that points are of one kind: leave them out."
        )
    if any(point["id"] == id and len(point.get("runs", [])) > 1 for point in front.points):
        raise ValueError(
            f"--add: {id} is on the front as a mean over several trainings, which one would replace: "
            "give the checkpoint another name."
        )


def _respond(args: argparse.Namespace, model: LanguageModel) -> JsonObject:
    policy = _policy(args.checkpoint, model)
    sampling = Sampling(args.temperature, args.seed, args.max_new_tokens, args.top_p)
    run = model.generate([policy.row(of_arguments(args), sampling)])[0]
    return {
        "id": policy.about["id"],
        "text": run.text,
        "tokens": len(run.ids),
        "seconds": run.seconds,
        "finish": run.finish,
    }


def _front(args: argparse.Namespace, model: LanguageModel) -> JsonObject:
    return (Front.load(args.front) if args.front else stored(model)).to_dict()


def main() -> int:
    """Runs a command; errors that the caller can mend are one line on stderr and exit code 2."""
    args = parser().parse_args()
    command = {
        "train": _train,
        "grid": _grid,
        "rewards": _pairs,
        "contrast": _contrast,
        "evaluate": _evaluate,
        "front": _front,
        "respond": _respond,
    }[args.command]

    def run() -> None:
        model = load(args.model, engine="auto" if args.command == "respond" else "rows")
        if result := command(args, model):
            print(
                table(result)
                if args.command == "front" and not args.json
                else json.dumps(result, indent=None if args.json else 1)
            )

    return exit_code(run, SourceError)


if __name__ == "__main__":
    sys.exit(main())
