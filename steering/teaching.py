"""A visitor's own concept: from examples, from a file, from a control vector, or from one sentence."""

import base64
import binascii
import threading
from collections.abc import Callable, Container, Mapping
from typing import Any

from lm import LanguageModel, Row, Sampling
from lm.caller import heed
from lm.prompts import prompt_ids
from steering import view
from steering.calibrate import trial
from steering.cav import CAV, train
from steering.concepts import MIN_TEXTS, Concept
from steering.control_vectors import MAX_BYTES, imported
from steering.examples import near_copies
from steering.library import Library
from steering.messages import Drafts, Learned
from steering.prompt_sets import harmless
from steering.requests import requested

MAX_TEXTS, MAX_TOKENS = 300, 40_000
"""Texts a side, and tokens of both, that a visitor's concept is learned from: half a minute on two cores."""
READING = 0.5
"""Share of the time of teaching a concept that goes by until it is tried."""
MAX_SENTENCE = 300
"""Characters of a sentence that describes a concept."""
DRAFTS, DRAFT_TOKENS, TEMPERATURE = 20, 32, 0.7
"""Pairs of answers that the model writes, their length, and how freely."""
FAMILIAR = 0.3
"""Tokens a character up to which texts are in a language that the model knows: its own answers in English
take .2 to .25, French takes .32, Spanish .36, Korean 2.
"""
Report = Callable[[float], None]


def learned(
    library: Library, asked: Mapping[str, Any], taken: Container[str], report: Report, stop: threading.Event
) -> tuple[Learned, str]:
    """Adds the concept that a page asks for to a visitor's library, trained and tried: what the controls know
    of it, and a note. Raises ValueError, lm.Stopped.

    taken: names of concepts that are not the visitor's own.
    """
    name = str(asked.get("name", "")).strip()
    if not name:
        raise ValueError("The concept has no name: give it one.")
    if name in taken:
        raise ValueError(f"The name {name!r} is taken: give another.")
    concept, cav = _vectors(library, name, asked, lambda share: report(READING * share), stop)
    own = library.session()
    own.add(concept, cav)
    cav = trial(own, name, progress=lambda share: report(READING + (1 - READING) * share), stop=stop)
    library.add(concept, cav)
    opens = view.opening(cav)
    done: Learned = {
        **view.concept(concept, cav),
        "curves": view.curves(cav),
        "opens": opens,
        "texts": {"positive": concept.positive, "negative": concept.negative},
    }
    return done, " ".join([view.learned(concept, cav, opens), *unfamiliar(library.model, concept)])


def unfamiliar(model: LanguageModel, concept: Concept) -> list[str]:
    """A warning where both sides' examples are in a language that the model hardly knows."""
    sides = [" ".join(texts) for texts in (concept.positive, concept.negative) if texts]
    shares = [len(model.text_ids(text)) / len(text) for text in sides]
    if not shares or min(shares) < FAMILIAR:
        return []
    return [
        f"The model spells these examples with {min(shares):.2g} tokens a character, "
        "as it does a language that it hardly knows: give examples in a language that it answers in."
    ]


def _vectors(
    library: Library, name: str, asked: Mapping[str, Any], report: Report, stop: threading.Event
) -> tuple[Concept, CAV]:
    if asked.get("gguf"):
        return imported(library.model, _bytes(asked["gguf"]), name, progress=report, stop=stop)
    concept = _concept(asked, name)
    _check_size(concept, library.model)
    return concept, train(library.model, concept, progress=report, stop=stop)


def _bytes(text: object) -> bytes:
    if not isinstance(text, str) or len(text) > MAX_BYTES * 4 // 3 + 4:
        raise ValueError(f"The file is too large: give a control vector of at most {MAX_BYTES:,} bytes.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("The file did not arrive whole: open it again.") from None


def _concept(asked: Mapping[str, Any], name: str) -> Concept:
    if lines := asked.get("lines"):
        return Concept.parse(str(lines), name)
    return Concept.from_texts(name, _texts(asked, "positive"), _texts(asked, "negative"))


def _texts(asked: Mapping[str, Any], side: str) -> list[str]:
    texts = asked.get(side)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"The {side} examples must be a list of texts.")
    return texts


def _check_size(concept: Concept, model: LanguageModel) -> None:
    for side in ("positive", "negative"):
        if (count := len(getattr(concept, side))) > MAX_TEXTS:
            raise ValueError(
                f"The {side} side has {count:,} texts: the page learns from at most {MAX_TEXTS} a side."
            )
    tokens = sum(len(model.text_ids(text)) for text in concept.positive + concept.negative)
    if tokens > MAX_TOKENS:
        raise ValueError(
            f"The texts have {tokens:,} tokens: "
            f"the page learns from at most {MAX_TOKENS:,}; give fewer or shorter ones."
        )


def drafted(
    model: LanguageModel, sentence: object, report: Report, stop: threading.Event
) -> tuple[Drafts, str]:
    """Contrastive texts for a person to edit: the model's answers to the same prompts from the
    same seeds, with a request for what the sentence describes and without, and a note on them.
    Raises ValueError, lm.Stopped.
    """
    wish = " ".join(str(sentence or "").split())
    if not 1 <= len(wish) <= MAX_SENTENCE:
        raise ValueError(
            f"The description has {len(wish)} characters: give one sentence of 1 to {MAX_SENTENCE}."
        )
    prompts = harmless(DRAFTS)
    rows = [
        Row(prompt_ids(model, asked), Sampling(TEMPERATURE, seed, DRAFT_TOKENS))
        for seed, prompt in enumerate(prompts)
        for asked in (requested(prompt, [f"Answer in this way: {wish}"]), prompt)
    ]
    decoding, tokens = model.decode(rows, stop=stop), 0
    for step in decoding:
        tokens += len(step)
        report(min(1.0, tokens / (len(rows) * DRAFT_TOKENS)))
    heed(stop)
    texts = [_tidy(run.text) for run in decoding.runs]
    pairs = _different(list(zip(texts[::2], texts[1::2], strict=True)))
    note = (
        f"The model wrote only {len(pairs)} pairs that differ, and {MIN_TEXTS} are needed: "
        "add some of your own."
        if len(pairs) < MIN_TEXTS
        else f"The model wrote {len(pairs)} pairs that differ. "
        "Read them, correct what is wrong, then learn the concept."
    )
    return {
        "positive": [positive for positive, _ in pairs],
        "negative": [negative for _, negative in pairs],
    }, note


def _tidy(text: str) -> str:
    """One line, up to the last whole sentence where there is one."""
    line = " ".join(text.split())
    end = max(line.rfind(mark) for mark in ".!?。！？")
    return line[: end + 1] if end > len(line) // 3 else line


def _different(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs whose two texts differ from each other and from those of earlier pairs."""
    texts = [text for pair in pairs for text in pair]
    copies = {late for _, late in near_copies(texts)} | {i for i, text in enumerate(texts) if not text}
    return [pair for i, pair in enumerate(pairs) if not copies & {2 * i, 2 * i + 1}]
