"""A grid of trainings: one manifest of independent jobs, which any number of processes work off.

A job is trained, then scored; what is done stays done. A process that is killed at any step loses at most
that
step: another one, or the same again, goes on. Two processes never do one job at once, since each holds its
lock.
"""

import fcntl
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from common.command import typed
from common.jsons import JsonObject
from lm import Adapter, LanguageModel, Policy
from lm.paths import replacing
from pareto import checkpoint
from pareto.checkpoint import CURVES, Checkpoint
from pareto.combiners import COMBINERS
from pareto.curve import CurveTrainer
from pareto.evaluate import ANSWER, evaluate, merged
from pareto.fleet import Fleet
from pareto.front import LOWEST, Front
from pareto.policy import title_at
from pareto.rewards import Head, Reward, scorer
from pareto.settings import Settings, SettingsError
from pareto.train import Trainer

MANIFEST, SCORE, FRONT = "manifest.json", "score.json", "front.json"
PREFERENCES = ((0.1, 0.9), (0.3, 0.7), (0.5, 0.5), (0.7, 0.3), (0.9, 0.1))
"""Of two objectives, where none are given."""
MAX_SHIPPED = 16
EXPONENTS = (1.0, 2.0)
"""GAPO's p."""
UNTRAINED, CURVE = ("base", "soup"), "curve"
"""Methods of jobs that are made without a training of their own; and of those that share one."""
SHORT = {"linear": "linear", "normalized": "normalised"}
"""Names of methods in the names of checkpoints, where the title is long."""
Event = Callable[[str, float, str], None]
"""Hears a job's id, the share of it that is done, and a word on how it goes."""


@dataclass(frozen=True)
class Job:
    """One point and seed. method: a combiner's key, "single", "soup", "curve" or "base"; unit: jobs of one
    unit are done by one process, in order, since soups are made of the ends, and a curve is one training.
    """

    id: str
    group: str
    name: str
    method: str
    unit: str
    seed: int
    preference: tuple[float, ...] | None = None
    p: float | None = None


def title(method: str, preference: Sequence[float] | None, p: float | None, objectives: Sequence[str]) -> str:
    """What a checkpoint is called."""
    if method != CURVE and preference is not None and max(preference) == 1:
        return f"{objectives[list(preference).index(1)]} alone"
    written = SHORT.get(method, COMBINERS[method].title if method in COMBINERS else method)
    placed = written if preference is None else title_at(written, preference)
    return placed if p is None else f"{placed} p={p:g}"


def plan(
    objectives: Sequence[str], preferences: Sequence[tuple[float, ...]], seeds: Sequence[int]
) -> list[Job]:
    """All jobs, the most telling first: the ends and their soups, P-GAPO and linear, the curve, seed after
    seed; then the other combiners. A curve is looked at where the others are trained, and at its ends.
    """

    def job(
        method: str, seed: int, preference: tuple[float, ...] | None = None, p: float | None = None
    ) -> Job:
        unit = {"single": "ends", "soup": "ends", CURVE: CURVE}.get(method, "")
        if method == "single" and preference:
            group = objectives[preference.index(1)]
        else:
            shown = () if preference is None else preference[: max(1, len(preference) - 1)]
            parts = [*shown, *([p] if p is not None else [])]
            group = "-".join([method, *(f"{part:g}" for part in parts)])
        id = f"{group}-s{seed}"
        name = title(method, preference, p, objectives)
        return Job(id, group, name, method, f"{unit}-s{seed}" if unit else id, seed, preference, p)

    ends = _units(len(objectives))
    first = [key for key in ("pgapo", "linear") if key in COMBINERS]
    jobs = [Job("base", "base", "base model", "base", "base", 0)]
    for seed in seeds:
        jobs += [job("single", seed, end) for end in ends]
        jobs += [job("soup", seed, preference) for preference in preferences]
        jobs += [job(method, seed, preference) for preference in preferences for method in first]
        jobs += [job(CURVE, seed, preference) for preference in dict.fromkeys([*preferences, *ends])]
    for seed in seeds:
        for key, combiner in COMBINERS.items():
            if key not in first:
                exponents = EXPONENTS if key == "gapo" else (None,)
                chosen = preferences if combiner.takes_preference else (None,)
                jobs += [job(key, seed, preference, p) for p in exponents for preference in chosen]
    return jobs


class Grid:
    """Jobs in a folder: manifest.json, a folder a job with its checkpoint and score.json, front.json."""

    def __init__(
        self,
        folder: Path,
        model: LanguageModel,
        rewards: Mapping[str, Head | Reward],
        prompts: Sequence[str],
        held_out: Sequence[tuple[str, str]],
        settings: Settings,
        jobs: Sequence[Job],
        samples: int = 2,
        alike: Sequence[tuple[str, str]] = (),
    ):
        """Raises SettingsError where the folder holds another grid. alike: see pareto.evaluate."""
        self.folder, self.model, self.rewards = folder.resolve(), model, dict(rewards)
        self.prompts, self.held_out, self.settings = list(prompts), list(held_out), settings
        self.jobs, self.samples, self.alike = list(jobs), samples, list(alike)
        manifest = {
            "model": model.name,
            "model_hash": model.hash,
            "objectives": list(rewards),
            "rewards": {name: reward.identity for name, reward in rewards.items()},
            "settings": asdict(replace(settings, seed=0, rows_at_once=Settings.rows_at_once)),
            "samples": samples,
            "jobs": [asdict(job) for job in jobs],
        }
        manifest = json.loads(json.dumps(manifest))
        path = self.folder / MANIFEST
        with locked(self.folder / "manifest.lock"):
            if not path.exists():
                _write(path, manifest)
            elif (known := json.loads(path.read_text("utf-8"))) != manifest:
                changed = [key for key in manifest if known.get(key) != manifest[key]]
                raise SettingsError(
                    f"{self.folder} holds a grid of other {', '.join(changed)}: give another --out, or the same arguments."
                )

    def done(self, job: Job) -> bool:
        """Whether a job has been scored."""
        return (self.folder / job.id / SCORE).exists()

    def part(self, number: int, parts: int) -> list[Job]:
        """The jobs of part `number` of `parts`, from 1; units stay whole."""
        units = list(dict.fromkeys(job.unit for job in self.jobs))
        mine = set(units[number - 1 :: parts])
        return [job for job in self.jobs if job.unit in mine]

    def run(self, jobs: Sequence[Job], tell: Event = lambda id, share, note: None, at_once: int = 1) -> None:
        """Does those of `jobs` that are neither done nor held by another process. at_once: see `train`."""
        if at_once > 1:
            self.train(jobs, tell, at_once)
        for unit in dict.fromkeys(job.unit for job in jobs):
            self._do_unit(unit, [job for job in jobs if job.unit == unit], tell)

    def train(self, jobs: Sequence[Job], tell: Event, at_once: int) -> None:
        """Trains those of `jobs` that are neither done nor held by another process, and scores none; at_once:
        trainings that make their steps together, see pareto.fleet.
        """
        with ExitStack() as held:
            free = {
                unit: held.enter_context(locked(self.folder / f"{unit}.lock", wait=False))
                for unit in dict.fromkeys(job.unit for job in jobs)
            }
            left = {self._training(job): job for job in jobs if free[job.unit] and not self.done(job)}
            trainers = {self._trainer(job): name for name, job in left.items() if name is not None}
            for alike in _grouped(trainers):
                for at in range(0, len(alike), at_once):
                    Fleet(alike[at : at + at_once]).run(partial(self._tell_run, tell, trainers))

    def _do_unit(self, unit: str, jobs: Sequence[Job], tell: Event) -> None:
        left = [job for job in jobs if not self.done(job)]
        if not left:
            return
        with locked(self.folder / f"{unit}.lock", wait=False) as free:
            for job in left if free else ():
                self._do(job, tell)
                with locked(self.folder / "front.lock"):
                    self.front().save(self.folder / FRONT)

    def _do(self, job: Job, tell: Event) -> None:
        folder = self.folder / job.id
        if self._training(job) is not None:
            self._trainer(job).run(lambda row: self._tell_step(tell, job.id, row))
        began = time.monotonic()
        numbers = evaluate(
            Policy(self.model, adapter=self.adapter(job)),
            self.model,
            {name: scorer(self.model, reward) for name, reward in self.rewards.items()},
            self.held_out,
            alike=self.alike,
            samples=self.samples,
            max_new_tokens=min(ANSWER, self.settings.max_new_tokens),
            progress=lambda share: tell(job.id, 0.9 + 0.1 * share, "scoring"),
        )
        about = {
            "id": job.id,
            "name": job.name,
            "method": job.method,
            "preference": job.preference,
            "p": job.p,
            "seed": job.seed,
            "steps": 0 if job.method == "base" else self.settings.steps,
        }
        folder.mkdir(exist_ok=True)
        _write(folder / SCORE, about | numbers | {"scoring_seconds": time.monotonic() - began})

    def _training(self, job: Job) -> str | None:
        """The folder of the training that a job's policy comes from; None where it has none of its own."""
        if job.method in UNTRAINED:
            return None
        return job.unit if job.method == CURVE else job.id

    def _trainer(self, job: Job) -> Trainer:
        folder = self.folder / (self._training(job) or job.id)
        settings = replace(self.settings, seed=job.seed, p=self.settings.p if job.p is None else job.p)
        card = {
            "name": CURVE if job.method == CURVE else job.name,
            "data": [f"{len(self.prompts)} prompts"],
            "licence": "that of the base model, the prompts and the reward models",
            "command": typed(),
        }
        if job.method == CURVE:
            return CurveTrainer(self.model, self.rewards, self.prompts, self._along(settings), folder, card)
        method = "linear" if job.method == "single" else job.method
        settings = replace(settings, method=method, preference=job.preference)
        return Trainer(self.model, self.rewards, self.prompts, settings, folder, card)

    def _along(self, settings: Settings) -> Settings:
        """Of a curve: as many answers a step as the trainings of one method at all preferences together."""
        points = len({job.preference for job in self.jobs if job.method == "soup"})
        prompts = points * settings.prompts
        return replace(settings, preference=None, prompts=prompts, positions=math.gcd(prompts, 2 * points))

    def _tell_run(self, tell: Event, ids: Mapping[Trainer, str], run: Trainer, row: JsonObject) -> None:
        self._tell_step(tell, ids[run], row)

    def _tell_step(self, tell: Event, id: str, row: JsonObject) -> None:
        tell(id, 0.9 * row["step"] / self.settings.steps, f"step {row['step']}, KL {row['kl']:.2f}")

    def adapter(self, job: Job) -> Adapter | None:
        if job.method == "base":
            return None
        if job.method not in ("soup", CURVE):
            return Checkpoint.load(self.folder / job.id, self.model).adapter
        assert job.preference is not None  # `plan` gives every mix a preference
        return Adapter.mix(
            [
                (Checkpoint.load(folder, self.model).adapter, share)
                for folder, share in zip(self._ends(job), job.preference, strict=True)
                if share
            ]
        )

    def _ends(self, job: Job) -> list[Path]:
        """The folders of the checkpoints that a mix is made of, an objective each."""
        if job.method == CURVE:
            return [self.folder / job.unit / name for name in self.rewards]
        ends = [end for end in self.jobs if end.method == "single" and end.seed == job.seed]
        place = {end.preference.index(1): end.id for end in ends if end.preference is not None}
        return [self.folder / place[k] for k in range(len(self.rewards))]

    def scored(self) -> list[JsonObject]:
        """The scores of the jobs that are done, in the manifest's order."""
        return [
            json.loads((self.folder / job.id / SCORE).read_text("utf-8"))
            for job in self.jobs
            if self.done(job)
        ]

    def front(self) -> Front:
        """What is scored so far, each point a mean over its seeds."""
        objectives = tuple(self.rewards)
        groups: dict[str, list[JsonObject]] = {}
        names = {job.id: job for job in self.jobs}
        for point in self.scored():
            groups.setdefault(names[point["id"]].group, []).append(point)
        points = [
            merged(points, objectives) | {"id": group, "name": points[0]["name"]}
            for group, points in groups.items()
        ]
        about = {
            "rewards": {
                name: {"hash": reward.hash, "mean": reward.mean, "std": reward.std}
                if isinstance(reward, Head)
                else {"identity": reward.identity}
                for name, reward in self.rewards.items()
            },
            "command": typed(),
        }
        reference = (LOWEST,) * len(objectives)
        return Front(self.model.name, self.model.hash, reference, tuple(points), about, objectives)

    def ship(self, checkpoints: Path, front: Path) -> dict[str, list[str]]:
        """Writes the front, and of each point the first seed's checkpoint in 16 bits, up to MAX_SHIPPED, in
        the manifest's order.

        Returns
        -------
        dict
            shipped: ids; left: ids of older checkpoints of this model that are not on this front.
        """
        chosen: dict[str, Path] = {}
        for job in filter(self.done, self.jobs):
            if job.method == CURVE:
                ends = dict(zip(_units(len(self.rewards)), self._ends(job), strict=True))
                if job.preference in ends:
                    chosen.setdefault(job.group, ends[job.preference])
            elif job.method not in UNTRAINED:
                chosen.setdefault(job.group, self.folder / job.id)
        ids = list(chosen)[:MAX_SHIPPED]
        for id in ids:
            trained = Checkpoint.load(chosen[id], self.model)
            card = trained.card | {"shipped_from": str(chosen[id].relative_to(self.folder))}
            checkpoint.save(checkpoints / id, _half(trained.adapter), card, trained.curves)
        self.front().save(front)
        there = [shipped.id for shipped in checkpoint.shipped(self.model, checkpoints)]
        return {"shipped": ids, "left": [id for id in there if id not in ids]}

    def status(self) -> dict[str, Any]:
        """How far the grid is, and an estimate of the seconds that the rest takes one process: from the mean
        of the steps and of the scorings so far.
        """
        left = [job for job in self.jobs if not self.done(job)]
        trained = {name for job in self.jobs if (name := self._training(job))}
        curves = {name: _curves(self.folder / name) for name in trained}
        steps = [row["seconds"] for rows in curves.values() for row in rows]
        scorings = [point["scoring_seconds"] for point in self.scored()]
        missing = sum(self.settings.steps - len(rows) for rows in curves.values())
        known = steps and (scorings or not left)
        return {
            "jobs": len(self.jobs),
            "done": len(self.jobs) - len(left),
            "under_way": [job.id for job in left if curves.get(self._training(job) or "")],
            "steps_left": missing,
            "seconds_left": missing * _mean(steps) + len(left) * _mean(scorings) if known else None,
            "front": str(self.folder / FRONT) if scorings else None,
        }


def _units(objectives: int) -> list[tuple[float, ...]]:
    """The preferences for one objective alone."""
    return [tuple(float(i == k) for i in range(objectives)) for k in range(objectives)]


def _half(adapter: Adapter) -> Adapter:
    """The same in 16 bits, which halves the file."""
    return replace(adapter, parts={key: (a.half(), b.half()) for key, (a, b) in adapter.parts.items()})


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _curves(folder: Path) -> list[JsonObject]:
    """The steps so far of a training; those of a finished curve lie with its ends."""
    path = next((path for path in (folder / CURVES, *folder.glob(f"*/{CURVES}")) if path.exists()), None)
    return [] if path is None else [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _grouped(trainers: Iterable[Trainer]) -> list[list[Trainer]]:
    """Trainings that can make their steps together; curves take more answers a step, so they form a group of
    their own.
    """
    groups: dict[tuple[int, int], list[Trainer]] = {}
    for trainer in trainers:
        groups.setdefault((trainer.settings.prompts, trainer.settings.positions), []).append(trainer)
    return list(groups.values())


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Holds the lock of a file, which the system gives back when the process ends, however it ends; yields
    whether it was free.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def _write(path: Path, value: Any) -> None:
    """JSON, replaced at once or not at all."""
    with replacing(path) as part:
        part.write_text(json.dumps(value) + "\n")
