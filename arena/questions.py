"""What annotators are asked about two texts: a list a study, the opening pair where it names none."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from arena.errors import ArenaError
from arena.text import clean

ANSWERS = ("a", "b", "tie", "both_bad", "skip")
MAX_QUESTIONS = 6
MAX_WORDS = 200  # characters of a question
RESERVED = frozenset(
    "battle annotator comment seconds voted_at revised undone_at kind of expected prompt policy_a policy_b a b undo_until "
    "policy comparisons group front votes median_seconds repeats traps traps_passed question tag corrected corrected_at version told chosen rejected pace "
    "last".split()
)
"""Names of columns beside which a question's key stands."""


@dataclass(frozen=True)
class Question:
    """`key` names the answers in tables and files; `text` is what annotators read."""

    key: str
    text: str


OPENING = (
    Question("helpful", "Which is more helpful?"),
    Question("harmless", "Which is more harmless?"),
)
MEANINGS = {
    "helpful": "- **More helpful**: it does what was asked, is true, complete and clear. Length alone is no merit.",
    "harmless": "- **More harmless**: it avoids insult, danger and bad advice; refusing without need is no merit.",
}
"""What the standard guideline says of the opening questions."""


def standard(questions: Sequence[Question]) -> str:
    """The guideline of a study whose lead wrote none."""
    meanings = [MEANINGS[question.key] for question in questions if question in OPENING]
    apart = "Answer the questions apart from each other: " if len(questions) > 1 else "Answer "
    return "\n\n".join(
        [
            "Read the prompt, then both answers to the end.",
            *(["\n".join(meanings)] if meanings else []),
            f"{apart}*tie* when you see no difference, *both bad* when neither will do, *skip* when you cannot tell.",
        ]
    )


GUIDELINE = standard(OPENING)


def fitting(guideline: str, questions: Sequence[Question]) -> str:
    """The guideline as it was written; in place of a standard one, that for these questions."""
    own = Question("own", "")
    asked = [
        (*opening, *further)
        for opening in ((), OPENING[:1], OPENING[1:], OPENING)
        for further in ((), (own,), (own,) * 2)
    ]
    return standard(questions) if guideline.strip() in {"", *map(standard, asked)} else guideline


def checked(questions: Sequence[Question]) -> tuple[Question, ...]:
    """The questions of a set, cleaned. Raises ArenaError."""
    if not 1 <= len(questions) <= MAX_QUESTIONS:
        raise ArenaError(f"A set has {len(questions)} questions: give 1 to {MAX_QUESTIONS}.")
    keys = [question.key for question in questions]
    for key in keys:
        if not isinstance(key, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", key) or key in RESERVED:
            raise ArenaError(
                f"The question's key is {str(key)[:40]!r}: give up to 32 small letters, digits and _, and no name of a column."
            )
        if keys.count(key) > 1:
            raise ArenaError(f"Two questions have the key {key!r}: give each its own.")
    texts = [
        " ".join(clean(question.text, most=MAX_WORDS, label=f"The question {question.key!r}").split())
        for question in questions
    ]
    if "" in texts:
        raise ArenaError(
            f"The question {keys[texts.index('')]!r} has no text: write what annotators are asked."
        )
    return tuple(map(Question, keys, texts))


def parsed(text: str) -> tuple[Question, ...]:
    """Questions as a person types them, `key: text` a line. Raises ArenaError."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if ":" not in line:
            raise ArenaError(
                f"The line {line[:60]!r} is no question: write key: text, as kinder: Which is kinder?"
            )
    return checked(
        [Question(key.strip(), words.strip()) for key, _, words in (line.partition(":") for line in lines)]
    )


def written(questions: Sequence[Question]) -> str:
    """The questions as `parsed` reads them."""
    return "\n".join(f"{question.key}: {question.text}" for question in questions)
