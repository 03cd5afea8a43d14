"""`tradewind prepare MODEL`: all that the tabs want of a model, made in one folder. Started again, it goes
on.

What is done is told by the files that are there, so a process may be killed at any time, and any number of
processes share the work: each task is held by the lock of a file.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lab.lacking import PARTS, PROGRESS, STEER, TRADE_OFFS
from lab.pace import METHODS, Pace
from lab.process import write
from lm import LanguageModel
from lm.paths import lab_folder
from pareto import prepare as trade_offs
from pareto.fleet import at_once, together
from pareto.front import stored
from pareto.grid import Grid, Job, locked
from pareto.heads import OBJECTIVES
from pareto.prepare import Wanted
from steering import Library
from steering.calibrate import calibrate

OFTEN = 0.5
"""Seconds between two notes of how far it is."""
ENOUGH = 0.03
"""Share of the work after which its own speed is told, and no longer the measured one."""
Tell = Callable[[float, str], None]
"""Hears the share of a task that is done, and a word on how it goes."""


@dataclass(frozen=True)
class Task:
    """A piece of the work. seconds: what it takes by the measured pace; do: does it where no other process
    does, and waits for that one where what follows needs it.
    """

    title: str
    seconds: float
    kind: str
    done: Callable[[], bool]
    do: Callable[[Tell], None]


@dataclass
class Preparation:
    """The work for one model. only: of PARTS; part, parts: which share of the tasks is this process's; anew:
    what ships with the model is made as well, beside it.
    """

    model: LanguageModel
    wanted: Wanted = field(default_factory=Wanted)
    only: Sequence[str] = PARTS
    part: int = 1
    parts: int = 1
    anew: bool = False

    @cached_property
    def untrained(self) -> str:
        """Why the model cannot be trained, in one sentence; nothing where it can. Its trade-offs are reward heads
        alone then, by which adapters of it and its steered versions are scored.
        """
        try:
            _ = self.model.stack
        except ValueError as error:
            return str(error)
        return ""

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return lab_folder(self.model.hash)

    def tasks(self, pace: Pace) -> list[Task]:
        """What is to be done, in order; what is done already, too."""
        tasks = self._concepts(pace) if STEER in self.only else []
        return tasks + (self._trade_offs(pace) if TRADE_OFFS in self.only and not self._ships() else [])

    def run(self, pace: Pace, tell: Callable[[dict[str, Any]], None]) -> None:
        """Does what is left; tell hears { fraction, note, seconds_left },
        which the page reads in PROGRESS.
        """
        clock = Clock(self.tasks(pace), self.folder / PROGRESS, tell)
        for task in clock.tasks:
            if undone := not task.done():
                task.do(clock.teller(task))
            clock.finish(task, undone)

    def _ships(self) -> bool:
        made = self.anew or trade_offs.front_file(self.model).exists()
        return bool(stored(self.model).points) and not made

    def _concepts(self, pace: Pace) -> list[Task]:
        library = Library(self.model, ships=not self.anew)

        def task(name: str) -> Task:
            def do(tell: Tell) -> None:
                with locked(self.folder / f"concept-{name}.lock", wait=False) as free:
                    if free and not library.calibrated(name):
                        cav = calibrate(
                            library,
                            name,
                            methods=METHODS,
                            progress=lambda share: tell(share, "reading and measuring"),
                        )
                        library.keep(name, cav)

            seconds = pace.concept(self.model, library.concepts[name])
            return Task(f"concept {name}", seconds, "vectors", lambda: library.calibrated(name), do)

        names = list(library.concepts)
        return [task(name) for name in names[self.part - 1 :: self.parts]]

    @cached_property
    def _grid(self) -> Grid:
        """The grid of the trade-offs, whose heads have to be there."""
        return trade_offs.grid_of(self.model, self.wanted)

    def _trade_offs(self, pace: Pace) -> list[Task]:
        heads = [self._head(pace, objective) for objective in self.wanted.heads()]
        if self.untrained:
            return heads
        jobs = trade_offs.jobs_of(OBJECTIVES, self.wanted.seeds)
        units = list(dict.fromkeys(job.unit for job in jobs))[self.part - 1 :: self.parts]
        mine = [job for job in jobs if job.unit in units]

        def put_up(tell: Tell) -> None:
            with locked(self.folder / "front.lock"):
                trade_offs.put_up(self._grid)

        front = Task("front", 1.0, "front", lambda: trade_offs.is_put_up(self.model, mine), put_up)
        return [*heads, *self._trainings(pace, mine), *(self._job(pace, job) for job in mine), front]

    def _head(self, pace: Pace, objective: str) -> Task:
        def do(tell: Tell) -> None:
            with locked(self.folder / f"head-{objective}.lock"):
                if not done():
                    trade_offs.fit_head(
                        self.model, objective, lambda share: tell(share, "reading judged answers")
                    )

        def done() -> bool:
            return trade_offs.has_head(self.model, objective, self.anew)

        return Task(f"reward head {objective}", pace.head(self.model, objective), "reward heads", done, do)

    def _trainings(self, pace: Pace, jobs: Sequence[Job]) -> list[Task]:
        """On a GPU the trainings of all jobs, which make their steps together; each job has its scores left."""
        stack = self.model.stack
        if not together(stack):
            return []
        left = [job for job in jobs if not trade_offs.is_trained(self.model, job)]
        settings = trade_offs.settings_of(self.model, self.wanted)
        shares = dict.fromkeys([job.id for job in left], 0.0)

        def do(tell: Tell) -> None:
            def heard(id: str, share: float, note: str) -> None:
                shares[id] = share
                tell(sum(shares.values()) / len(shares), note)

            self._grid.train(jobs, heard, at_once(stack, settings))

        def done() -> bool:
            return all(trade_offs.is_trained(self.model, job) for job in jobs)

        seconds = sum(pace.training(job, settings) for job in left)
        return [Task(f"{len(left)} trainings together", seconds, "trainings", done, do)]

    def _job(self, pace: Pace, job: Job) -> Task:
        def do(tell: Tell) -> None:
            self._grid.run([job], lambda id, share, note: tell(share, note))

        alone = not together(self.model.stack)
        training = pace.training(job, trade_offs.settings_of(self.model, self.wanted)) if alone else 0.0
        seconds = training + pace.scoring(self.wanted.samples)
        kind = "trainings and scorings" if alone else "scorings"
        return Task(f"policy {job.name}", seconds, kind, lambda: trade_offs.is_scored(self.model, job), do)


class Clock:
    """How far the tasks are, and how long the rest takes: by the measured pace,
    corrected by how the work went so far.
    """

    def __init__(self, tasks: Sequence[Task], file: Path, tell: Callable[[dict[str, Any]], None]):
        self.tasks, self._file, self._tell = list(tasks), file, tell
        self._total = sum(task.seconds for task in tasks) or 1.0
        self._done = self._worked = 0.0
        self._began = self._noted = time.monotonic()

    def teller(self, task: Task) -> Tell:
        """The function by which a task reports its progress."""

        def tell(share: float, note: str) -> None:
            if time.monotonic() - self._noted > OFTEN:
                self._note(f"{task.title}: {note}", share * task.seconds)

        self._note(task.title, 0.0)
        return tell

    def finish(self, task: Task, worked: bool) -> None:
        """Counts a task as done; worked: by this process, just now."""
        self._done += task.seconds
        self._worked += task.seconds if worked else 0.0
        self._note(f"{task.title}: done", 0.0)

    def _note(self, note: str, under_way: float) -> None:
        self._noted = time.monotonic()
        worked, left = self._worked + under_way, self._total - self._done - under_way
        slower = (self._noted - self._began) / worked if worked > ENOUGH * self._total else 1.0
        state = {
            "fraction": min(1.0, 1 - left / self._total),
            "note": note,
            "seconds_left": max(0.0, left * slower),
            "process": os.getpid(),
        }
        write(self._file, state)
        self._tell(state)


def left(tasks: Sequence[Task]) -> float:
    """Seconds that the tasks take which are not done."""
    return sum(task.seconds for task in tasks if not task.done())
