"""The frontier of a concept: each method's effect on an independent score against its cost, on prompts that
no vector and no calibration has seen.
"""

import dataclasses
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common import digests
from common.jsons import JsonObject
from lm import Edit, Row, Sampling
from lm.compared import Compared, compared
from lm.metrics import repetition
from lm.paths import replacing
from lm.prompts import Asked, Continuation, prompt_ids
from steering.edits import curve_of, edits
from steering.library import Library
from steering.plan import Plan, PlanError, Target
from steering.requests import PLACES, before, requested, strongest, wish
from steering.scorers import scorer

BUDGETS = (0.05, 0.12, 0.25)
P0 = (0.9, 0.999)
"""What the paper's method is asked for, which has no budget."""
TOGETHER = 12
"""Prompts that are answered under every setting, from one seed, before the next ones are."""
BASE, DEFAULT, CONSTANT, PAPER, BOTH = (
    "base",
    "default",
    "constant push",
    "GCAV of the paper",
    "default + request",
)
REQUEST = "request, both"
"""The strongest request: in the user's message and in the system's."""
BEFORE = "before"
"""Where plain text to be continued has a request."""
METHODS = (
    BASE,
    "request, user",
    "request, system",
    REQUEST,
    f"request, {BEFORE}",
    DEFAULT,
    CONSTANT,
    PAPER,
    BOTH,
)
PLAN_METHODS = {DEFAULT: "auto", CONSTANT: "fixed"}
"""Of those methods that are given a budget."""


@dataclass(frozen=True)
class Setting:
    """A method at one setting: a plan, a place where the prompt asks for the concept (see
    PLACES, BEFORE), both or neither.
    """

    method: str
    name: str = ""
    plan: Plan | None = None
    place: str | None = None


@dataclass(frozen=True)
class Text:
    """One answer to a prompt, measured. edits: digest of what steered it. kl: to the base model on the plain
    prompt, nats a token; nll: under the base model; repetition: share of 3-grams that come back.
    """

    method: str
    setting: str
    edits: str
    seed: int
    prompt: str
    score: float
    kl: float
    nll: float
    repetition: float
    text: str


@dataclass(frozen=True)
class Result:
    """One method at one setting, a number a prompt (mean over the seeds)."""

    method: str
    setting: str
    score: np.ndarray
    kl: np.ndarray
    nll: np.ndarray
    repetition: np.ndarray


def settings_of(
    library: Library, name: str, direction: str, methods: Sequence[str] = METHODS, *, continued: bool = False
) -> list[Setting]:
    """All settings of some methods, the base model first. continued: of texts that the model
    goes on with. Raises PlanError where the concept has no independent scorer, or where a
    budget has no calibration to go by.
    """
    if library.concepts[name].scorer is None:
        raise PlanError(
            f"{name} has no independent scorer, and would be judged by the vector itself: "
            "give a concept that has one."
        )
    chat = PLACES if library.model.codec.knows_system else ("user",)
    places = (BEFORE,) if continued else chat
    strongly = BEFORE if continued else strongest(library.model)
    settings = [Setting(BASE), *(Setting(f"request, {place}", place=place) for place in places)]
    for method in (each for each in METHODS if each in methods):
        if method in PLAN_METHODS:
            plans = _by_budget(library, name, direction, PLAN_METHODS[method])
            settings += [Setting(method, f"budget {plan.budget:.2g}", plan) for plan in plans]
        elif method == PAPER:
            paper = [Target(name, direction, p if direction == "amplify" else 1 - p) for p in P0]
            settings += [Setting(PAPER, f"p0 {each.p0:g}", Plan((each,), method="gcav")) for each in paper]
        elif method == BOTH:
            plans = _by_budget(library, name, direction, PLAN_METHODS[DEFAULT])
            middle = plans[len(plans) // 2]
            settings.append(Setting(BOTH, f"budget {middle.budget:.2g}", middle, strongly))
    return [setting for setting in settings if setting.method in methods]


def _by_budget(library: Library, name: str, direction: str, method: str) -> list[Plan]:
    """Plans at BUDGETS as far as a calibration goes, and at its end where that comes first."""
    target = Target(name, direction)
    most = curve_of(method, target, library.cav(name)).max_budget
    budgets = sorted({min(budget, most) for budget in BUDGETS})
    return [Plan((target,), method=method, budget=budget) for budget in budgets]


class Comparison:
    """One concept in one direction, whose settings are all answered to the same prompts from the same seeds.
    continued: the prompts are plain texts that the model goes on with.
    """

    def __init__(
        self,
        library: Library,
        name: str,
        direction: str,
        *,
        methods: Sequence[str] = METHODS,
        tokens: int = 24,
        temperature: float = 0.7,
        continued: bool = False,
    ):
        self.library, self.concept, self.direction = library, library.concepts[name], direction
        self.tokens, self.temperature, self.continued = tokens, temperature, continued
        self.settings = settings_of(library, name, direction, methods, continued=continued)
        assert self.concept.scorer is not None
        self._judge = scorer(self.concept.scorer)
        self.digests = {setting: self.digest(setting) for setting in self.settings}

    @property
    def conditions(self) -> dict[str, Any]:
        """What must be equal, beside the edits, for texts to be compared."""
        return {
            "model": self.library.model.hash,
            "concept": self.concept.name,
            "direction": self.direction,
            "scorer": self.concept.scorer,
            "tokens": self.tokens,
            "temperature": self.temperature,
            **({"continued": True} if self.continued else {}),
        }

    def digest(self, setting: Setting) -> str:
        """Digest of the edits that a setting makes. Texts with another digest do not belong to it."""
        pushes = () if setting.plan is None else edits(setting.plan, self.library)
        parts = [
            (e.read, e.bias, e.push, e.goal, e.sense) if e.fixed is None else (e.push, e.fixed)
            for e in pushes
        ]
        return digests.short(b"".join(part.float().numpy().tobytes() for edit in parts for part in edit))

    def texts(
        self, asked: Sequence[tuple[Setting, str, int]], stop: threading.Event | None = None
    ) -> list[Text]:
        """An answer to each prompt under a setting from a seed. Raises lm.Stopped."""
        rows, plain = [], []
        for setting, prompt, seed in asked:
            prompted = Continuation(prompt) if self.continued else prompt
            request, pushes = self._asked(setting, prompted)
            sampling = Sampling(self.temperature, seed, self.tokens)
            rows.append(Row(prompt_ids(self.library.model, request), sampling, pushes))
            plain.append(prompt_ids(self.library.model, prompted))
        return [
            self._text(*each, answer)
            for each, answer in zip(asked, compared(self.library.model, rows, plain, stop=stop), strict=True)
        ]

    def _text(self, setting: Setting, prompt: str, seed: int, answer: Compared) -> Text:
        run = answer.run
        return Text(
            setting.method,
            setting.name,
            self.digests[setting],
            seed,
            prompt,
            score=round(self._judge(run.text), 5),
            kl=round(float(np.mean(answer.kl)), 5),
            nll=round(float(np.mean(answer.nll)), 5),
            repetition=round(repetition(run.ids), 5),
            text=run.text,
        )

    def _asked(self, setting: Setting, prompt: Asked) -> tuple[Asked, tuple[Edit, ...]]:
        wishes = [wish(self.concept, self.direction)]
        if setting.place == BEFORE:
            asked: Asked = before(prompt, wishes)
        else:
            asked = prompt if setting.place is None else requested(prompt, wishes, setting.place)
        return asked, () if setting.plan is None else edits(setting.plan, self.library, asked)


def frontier(
    comparison: Comparison,
    asked: Sequence[tuple[str, int]],
    path: Path | None = None,
    *,
    together: int = TOGETHER,
    stop: threading.Event | None = None,
) -> Iterator[tuple[float, list[Result]]]:
    """Answers prompts with seeds under all settings of a comparison, some at a time; yields the share done
    and the means so far.

    path: JSON Lines that the texts are added to as they come: a measurement that was stopped goes on from it,
    and one that gets more prompts, seeds or settings measures those alone. Raises lm.Stopped, and ValueError
    where the file holds texts of other conditions.
    """
    known = [] if path is None else _resumed(path, comparison)
    keys = {(text.method, text.setting, text.edits, text.prompt, text.seed): text for text in known}
    texts: list[Text] = []
    for at in range(0, len(asked), together):
        wanted = {
            (setting.method, setting.name, comparison.digests[setting], prompt, seed): (setting, prompt, seed)
            for prompt, seed in asked[at : at + together]
            for setting in comparison.settings
        }
        fresh = comparison.texts([item for key, item in wanted.items() if key not in keys], stop)
        if path is not None:
            _append(path, [dataclasses.asdict(text) for text in fresh])
        texts += [*(keys[key] for key in wanted if key in keys), *fresh]
        yield min(1.0, (at + together) / len(asked)), grouped(texts, comparison.settings)


def spread(prompts: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """Each prompt with one of the seeds: TOGETHER prompts with each in turn."""
    return [(prompt, seeds[i // TOGETHER % len(seeds)]) for i, prompt in enumerate(prompts)]


def _resumed(path: Path, comparison: Comparison) -> list[Text]:
    conditions, texts = load(path) if path.exists() else (comparison.conditions, [])
    if conditions != comparison.conditions:
        raise ValueError(f"{path} was measured with another model, scorer or length: give another folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        _append(part, [conditions, *map(dataclasses.asdict, texts)])
    return texts


def _append(path: Path, lines: Iterable[JsonObject]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def load(path: Path) -> tuple[dict[str, Any], list[Text]]:
    """The conditions and the texts of a file; a last line that was cut short is left out."""
    lines = path.read_text("utf-8").split("\n")[:-1]
    return json.loads(lines[0]), [Text(**json.loads(line)) for line in lines[1:]]


def grouped(texts: Sequence[Text], settings: Sequence[Setting]) -> list[Result]:
    """The texts of each setting as means over the seeds, for the prompts and seeds that all have."""
    kinds: dict[tuple[str, str], dict[tuple[str, int], Text]] = {(s.method, s.name): {} for s in settings}
    for text in texts:
        kinds[text.method, text.setting][text.prompt, text.seed] = text
    shared = [key for key in next(iter(kinds.values())) if all(key in own for own in kinds.values())]
    prompts = list(dict.fromkeys(prompt for prompt, _ in shared))
    results = []
    for kind, own in kinds.items():
        each = [[own[key] for key in shared if key[0] == prompt] for prompt in prompts]
        numbers = [
            np.mean([(text.score, text.kl, text.nll, text.repetition) for text in group], axis=0)
            for group in each
        ]
        results.append(Result(*kind, *np.array(numbers).reshape(-1, 4).T))
    return results


def of(results: Sequence[Result], method: str) -> list[Result]:
    """The settings of a method by rising KL."""
    return sorted(
        (result for result in results if result.method == method), key=lambda result: result.kl.mean()
    )


def to_dict(results: Sequence[Result]) -> list[JsonObject]:
    """Results as plain data."""
    return [
        {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(result).items()
        }
        for result in results
    ]
