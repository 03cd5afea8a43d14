"""Answers and refusals to prompts that sound alike, some safe and some unsafe: what teaches a head when to
refuse.
"""

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from lm import Adapter, LanguageModel, Row, Sampling
from pareto.pairs import Pair, PairError, read_lines, read_prompts

PROMPTS = Path(__file__).parents[1] / "assets" / "prompts"
TRAIN_PROMPTS = (PROMPTS / "train.jsonl", PROMPTS / "contrast" / "train.jsonl")
"""What policies are trained on, where nothing else is named: ordinary prompts, and twins that sound alike."""
MORE_TWINS = PROMPTS / "contrast" / "more.jsonl"
"""Twins from which gates are tuned, and no shipped policy has learned."""
FOLDER = Path(__file__).parents[1] / "assets" / "rewards" / "contrast"
TOKENS, TEMPERATURE, AT_ONCE, OWN = 40, 0.7, 32, 2
PARTS = ("train", "held_out")
DECLINES = re.compile(
    r"\b(?:sorry|apologi[sz]e|unable|can(?:no|['’])t|not able|won['’]t|will not|decline|refuse|not going to)\b",
    re.I,
)
"""Words of a refusal. An answer without them is no refusal; one with them may still be an answer."""
REFUSING = (
    "I'm sorry, but I can't",
    "I cannot",
    "I won't help",
    "I'm not able to",
    "No, I",
    "I apologize, but",
    "As an AI assistant, I can't",
    "It is not appropriate to",
    "I must decline",
    "Sorry,",
)
COMPLYING = (
    "Sure, here's how",
    "To do that, first",
    "Here are the steps:\n1.",
    "Of course! You can",
    "The best way is to",
    "Yes, here is",
    "You should start with",
    "Great idea!",
)
"""Openings that the model continues. Half of the complying ones are left out of the text that is kept."""


@dataclass(frozen=True)
class Contrast:
    """A prompt with answers and refusals to it. kind: "helpful" (safe) or "unsafe"."""

    prompt: str
    kind: str
    answers: tuple[str, ...]
    refusals: tuple[str, ...]


def read(path: Path) -> list[Contrast]:
    """What `write` wrote. Raises PairError."""
    try:
        return [
            Contrast(row["prompt"], row["kind"], tuple(row["answers"]), tuple(row["refusals"]))
            for _, row in read_lines(path)
        ]
    except KeyError as error:
        raise PairError(
            f"{path} has a line without {error}: write it with python -m pareto contrast."
        ) from None


def write(path: Path, contrasts: Sequence[Contrast]) -> None:
    """JSON Lines, a prompt a line."""
    lines = [json.dumps(vars(contrast), ensure_ascii=False) + "\n" for contrast in contrasts]
    path.write_text("".join(lines), encoding="utf-8")


Job: TypeAlias = tuple[int, str, Adapter | None, bool]
"""A text to sample: index of its prompt, how it opens, who continues it, whether the opening is dropped."""


def phrases(part: str) -> list[str]:
    """The project's own refusals that belong to a part."""
    return [
        row["text"] for _, row in read_lines(PROMPTS / "contrast" / "refusals.jsonl") if row["part"] == part
    ]


def collect(
    model: LanguageModel,
    prompts: Sequence[tuple[str, str]],
    own: Sequence[str],
    policies: Sequence[Adapter | None],
    *,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> list[Contrast]:
    """Samples answers and refusals of TOKENS tokens to (kind, prompt).

    own: refusals that people wrote, OWN of which each prompt gets. policies: adapters that answer freely;
    what they say counts as a refusal or an answer by DECLINES. The model also continues REFUSING to every
    prompt, and COMPLYING to the unsafe ones.
    """
    dice = random.Random(seed)
    jobs: list[Job] = []
    for index, (kind, _) in enumerate(prompts):
        jobs += [(index, "", adapter, False) for adapter in policies]
        jobs.append((index, dice.choice(REFUSING), None, False))
        if kind == "unsafe":
            jobs += [
                (index, opening, None, drops)
                for opening, drops in zip(dice.sample(COMPLYING, 2), (False, True), strict=True)
            ]
    texts = _continued(model, prompts, jobs, seed, progress)
    sides: list[tuple[list[str], list[str]]] = [([], dice.sample(list(own), OWN)) for _ in prompts]
    for (index, opening, _, _), text in zip(jobs, texts, strict=True):
        refusal = opening in REFUSING or (not opening and DECLINES.search(text[:120]) is not None)
        if text and not (opening in COMPLYING and DECLINES.search(text)):
            sides[index][refusal].append(text)
    return [
        Contrast(prompt, kind, tuple(dict.fromkeys(answers)), tuple(dict.fromkeys(refusals)))
        for (kind, prompt), (answers, refusals) in zip(prompts, sides, strict=True)
    ]


def _continued(
    model: LanguageModel,
    prompts: Sequence[tuple[str, str]],
    jobs: Sequence[Job],
    seed: int,
    progress: Callable[[float], None] | None,
) -> list[str]:
    """The text of each job, with its opening unless the job drops it."""
    texts: list[str] = []
    for at in range(0, len(jobs), AT_ONCE):
        rows = []
        for number, (index, opening, adapter, _) in enumerate(jobs[at : at + AT_ONCE], at):
            words = model.tokenizer(opening, add_special_tokens=False)["input_ids"] if opening else []
            ids = (*model.chat_ids(prompts[index][1]), *words)
            rows.append(Row(ids, Sampling(TEMPERATURE, seed + number, TOKENS - len(words)), (), adapter))
        for (_, opening, _, drops), run in zip(jobs[at : at + AT_ONCE], model.generate(rows), strict=True):
            texts.append((run.text if drops else opening + run.text).strip())
        if progress is not None:
            progress(len(texts) / len(jobs))
    return texts


def pairs(model: LanguageModel, contrasts: Sequence[Contrast], objective: str) -> list[Pair]:
    """Each refusal against an answer of the same length in tokens: the answer is chosen on safe prompts, for
    both objectives; the refusal on unsafe ones, for harmlessness alone.
    """
    dice, chosen = random.Random(0), []
    for contrast in contrasts:
        if not contrast.answers:
            continue
        for refusal in contrast.refusals:
            answer, refusal = matched(model, dice.choice(contrast.answers), refusal)
            if answer != refusal and (contrast.kind == "helpful" or objective == "harmless"):
                both = (answer, refusal) if contrast.kind == "helpful" else (refusal, answer)
                chosen.append(Pair(contrast.prompt, *both))
    return chosen


def matched(model: LanguageModel, *texts: str) -> list[str]:
    """Texts cut to as many tokens as the shortest has."""
    ids = [model.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    count = min(map(len, ids))
    return [str(model.tokenizer.decode(row[:count])) for row in ids]


def prompt_files(part: str) -> tuple[Path, Path]:
    """The twins of a part, a safe prompt before its unsafe twin,
    and the ordinary prompts of the same part.
    """
    return PROMPTS / "contrast" / f"{part}.jsonl", PROMPTS / f"{part}.jsonl"


def prompts_of(part: str, ordinary: int) -> list[tuple[str, str]]:
    """(kind, prompt) of the twins of a part, and of so many ordinary prompts drawn from it."""
    twins, plain = (read_prompts(path) for path in prompt_files(part))
    return twins + random.Random(0).sample(plain, min(ordinary, len(plain)))
