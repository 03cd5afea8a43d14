"""Answers of a frontier as an outside reader judges them, blind: is the concept there, is the
instruction followed, is the text fluent, each from 0 to 2; an answer is worth the harmonic mean
(AxBench, arXiv 2501.17148, section 3.3).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.jsons import JsonObject
from common.statistics import estimate
from steering.concepts import shipped
from steering.frontier import BASE, BOTH, CONSTANT, DEFAULT, PAPER, REQUEST, Text, load
from steering.requests import wish

METHODS = (BASE, REQUEST, DEFAULT, CONSTANT, PAPER, BOTH)
QUESTIONS = ("concept", "instruction", "fluent")
MAX_RATING = 2


@dataclass(frozen=True)
class Answer:
    """One answer of a method. case: what the answers of all methods to one prompt share."""

    id: int
    case: int
    method: str
    setting: str
    concept: str
    direction: str
    prompt: str
    text: str
    kl: float

    def blind(self) -> JsonObject:
        """What a reader sees."""
        asked = wish(shipped()[self.concept], self.direction)
        return {"id": self.id, "wanted": asked, "prompt": self.prompt, "answer": self.text}


def draw(folder: Path, each: int, seed: int = 0) -> list[Answer]:
    """Answers of every method to some prompts of each concept and direction, in an order that
    tells nothing. A method with several settings is taken at its strongest. Raises ValueError
    where the folder holds too few.
    """
    if each < 1:
        raise ValueError(f"Each is {each}: give at least 1 prompt of each concept and direction.")
    dice = np.random.default_rng(seed)
    drawn = [
        (case, conditions, texts)
        for path in sorted(folder.glob("*.jsonl"))
        for case, conditions, texts in _cases(path, each, dice)
    ]
    if not drawn:
        raise ValueError(f"{folder} holds no texts of a frontier: give the folder of `frontier --folder`.")
    answers = [
        (number, conditions, text) for number, (_, conditions, texts) in enumerate(drawn) for text in texts
    ]
    shuffled = [answers[place] for place in dice.permutation(len(answers))]
    return [
        Answer(
            id, number, text.method, text.setting, conditions["concept"], conditions["direction"],
            text.prompt, text.text, text.kl,
        )
        for id, (number, conditions, text) in enumerate(shuffled)
    ]  # fmt: skip


def _cases(
    path: Path, each: int, dice: np.random.Generator
) -> list[tuple[tuple[str, int], JsonObject, list[Text]]]:
    """Some prompts of a file, each with the text of every method."""
    conditions, texts = load(path)
    strongest = _strongest(texts)
    cases: dict[tuple[str, int], dict[str, Text]] = {}
    for text in texts:
        if strongest.get(text.method) == text.setting:
            cases.setdefault((text.prompt, text.seed), {})[text.method] = text
    whole = [case for case, own in cases.items() if own.keys() == set(METHODS)]
    if len(whole) < each:
        raise ValueError(
            f"{path} has {len(whole)} prompts that every method answered: "
            "give --each at most that, or measure more."
        )
    chosen = [whole[place] for place in sorted(dice.permutation(len(whole))[:each])]
    return [(case, conditions, [cases[case][method] for method in METHODS]) for case in chosen]


def _strongest(texts: Iterable[Text]) -> dict[str, str]:
    """The setting of each method that costs most, on average."""
    costs: dict[str, dict[str, list[float]]] = {}
    for text in texts:
        costs.setdefault(text.method, {}).setdefault(text.setting, []).append(text.kl)
    return {
        method: max(settings, key=lambda name: float(np.mean(settings[name])))
        for method, settings in costs.items()
    }


def save(answers: Sequence[Answer], key: Path, blind: Path) -> None:
    """Writes who wrote the answers, and what a reader gets. Raises ValueError where a file exists."""
    for path in (key, blind):
        if path.exists() or key.resolve() == blind.resolve():
            raise ValueError(f"{path} would be written over: give two new files.")
    key.write_text("".join(json.dumps(asdict(answer)) + "\n" for answer in answers), "utf-8")
    blind.write_text(
        "".join(json.dumps(answer.blind(), ensure_ascii=False) + "\n" for answer in answers), "utf-8"
    )


def read(key: Path, ratings: Sequence[Path]) -> tuple[list[Answer], np.ndarray]:
    """The answers, and their ratings [sittings, answers, 3] by QUESTIONS. Raises ValueError where
    one is missing or out of bounds.
    """
    try:
        answers = [Answer(**row) for row in _rows(key)]
    except TypeError:
        raise ValueError(f"{key} is no key of `blind`: give the file that told who wrote what.") from None
    if not answers or any(
        {answer.method for answer in answers if answer.case == case} != set(METHODS)
        for case in {answer.case for answer in answers}
    ):
        raise ValueError(f"{key} lacks answers of a method: give the whole file that `blind` wrote.")
    return answers, np.array([_sitting(path, [answer.id for answer in answers]) for path in ratings], float)


def _rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON Lines. Raises ValueError."""
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}, is no JSON object: give JSON Lines.")
        rows.append(row)
    return rows


def _sitting(path: Path, ids: Sequence[int]) -> list[list[int]]:
    given = {row.get("id"): row for row in _rows(path)}
    if missing := [id for id in ids if id not in given]:
        raise ValueError(
            f"{path} has no rating of answer {missing[0]} and {len(missing) - 1} more: rate every answer."
        )
    return [_rating(given[id], path) for id in ids]


def _rating(row: Mapping[str, object], file: Path) -> list[int]:
    values = [row.get(question) for question in QUESTIONS]
    for question, value in zip(QUESTIONS, values, strict=True):
        if type(value) is not int or not 0 <= value <= MAX_RATING:
            raise ValueError(
                f"{file}, answer {row.get('id')}: {question} is {value!r}: give 0, 1 or {MAX_RATING}."
            )
    return [value for value in values if isinstance(value, int)]


def worth(ratings: np.ndarray) -> np.ndarray:
    """The harmonic mean of ratings [..., 3], 0 where one of them is 0."""
    seen = (ratings > 0).all(-1)
    values = np.zeros(seen.shape)
    values[seen] = len(QUESTIONS) / (1 / ratings[seen]).sum(-1)
    return values


def table(answers: Sequence[Answer], ratings: np.ndarray) -> str:
    """Means of every method over sittings, with 95 % bootstrap intervals over prompts, what the default is
    ahead of the others, and how far sittings agree.
    """
    cases = sorted({answer.case for answer in answers})
    place = {(answer.method, answer.case): number for number, answer in enumerate(answers)}
    value, parts = worth(ratings).mean(0), ratings.mean(0)
    lines = [
        "| method | KL, nats a token | concept | instruction | fluent | harmonic mean | default ahead by |",
        "|---|---|---|---|---|---|---|",
    ]
    default = value[[place[DEFAULT, case] for case in cases]]
    for method in METHODS:
        own = [place[method, case] for case in cases]
        cells = [method, f"{np.mean([answers[number].kl for number in own]):.2f}"]
        cells += [f"{mean:.2f}" for mean in parts[own].mean(0)]
        cells += ["{:.2f} [{:.2f}, {:.2f}]".format(*estimate(value[own]))]
        ahead = default - value[own]
        cells += ["" if method == DEFAULT else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*estimate(ahead))]
        lines.append(f"| {' | '.join(cells)} |")
    if len(ratings) > 1:
        same = (ratings == ratings[0]).all(0).mean(0)
        shares = ", ".join(f"{name} {share:.2f}" for name, share in zip(QUESTIONS, same, strict=True))
        lines += ["", f"Share of answers that all {len(ratings)} sittings rate alike: {shares}."]
    return "\n".join(lines)
