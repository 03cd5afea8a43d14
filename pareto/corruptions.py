"""Answers spoiled in ways that no reward should prefer. A head fitted on judged pairs alone prefers several
of them to the answer.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from pareto.pairs import Pair

SYMBOLS = "🎉 🚀 💡 ✅ 🌈 🐾 🎵 💎 ❤ ☀ * # = _ | ~ • → ! ? + / \\ ^ % & @ ; ( ) …".split()
LONGER_WORDS = 4
"""Words of as many letters carry the sense, and are what `mixed` swaps."""

Way = Callable[[list[str], list[str], random.Random], list[str]]
"""(words of the answer, words of an answer to another prompt, dice) -> words of the spoiled one, about as
long.
"""


def _loop(words: list[str], _: list[str], dice: random.Random) -> list[str]:
    start, length = dice.randrange(len(words)), dice.randint(2, 9)
    head, again = words[: start + length], words[start : start + length]
    while len(head) < max(len(words), 3 * length):
        head = head + again
    return head


def _symbols(words: list[str], _: list[str], dice: random.Random) -> list[str]:
    start, few = dice.randrange(len(words)), dice.sample(SYMBOLS, dice.randint(1, 4))
    joint = dice.choice(["", " ", "\n\n"])
    return [*words[:start], joint.join(dice.choice(few) for _ in range(len(words) - start + 4))]


def _numbers(words: list[str], _: list[str], dice: random.Random) -> list[str]:
    listed = words[: dice.randrange(len(words) // 2 + 1)]
    while len(listed) < len(words):
        label = ".".join(str(dice.randint(1, 4)) for _ in range(dice.randint(1, 3)))
        listed += [f"\n{label}.", *dice.sample(words, min(len(words), dice.randint(0, 3)))]
    return listed


def _shuffled(words: list[str], _: list[str], dice: random.Random) -> list[str]:
    return dice.sample(words, len(words))


def _mixed(words: list[str], others: list[str], dice: random.Random) -> list[str]:
    return [
        dice.choice(others) if len(word) >= LONGER_WORDS and dice.random() < 0.45 else word for word in words
    ]


WAYS: dict[str, Way] = {
    "an answer to another prompt": lambda _, others, dice: others,
    "words in a loop": _loop,
    "rows of symbols": _symbols,
    "rows of numbers": _numbers,
    "shuffled words": _shuffled,
    "words of another answer": _mixed,
}


def spoiled(pairs: Sequence[Pair], answers: int) -> list[tuple[str, Pair]]:
    """Of so many chosen answers, drawn from `pairs`, each against itself spoiled
    in every way: [(way, pair)].
    """
    dice = random.Random(0)
    distinct = list({(pair.prompt, pair.chosen): pair for pair in pairs}.values())
    drawn = dice.sample(distinct, min(answers, len(distinct)))
    worsened = []
    for pair in drawn:
        elsewhere = [
            rival for rival in dice.sample(distinct, min(20, len(distinct))) if rival.prompt != pair.prompt
        ]
        other = dice.choice(elsewhere or drawn)
        for name, way in WAYS.items():
            worse = " ".join(way(pair.chosen.split(), other.chosen.split(), dice))
            if worse != " ".join(pair.chosen.split()):
                worsened.append((name, replace(pair, rejected=worse)))
    return worsened
