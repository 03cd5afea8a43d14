"""GCAV-Output: texts are kept only where the model's own response shows, or lacks, the concept."""

import dataclasses
import threading

from lm import LanguageModel, Row, Sampling
from lm.caller import heed
from steering.concepts import MIN_TEXTS, Concept, ConceptError
from steering.scorers import scorer

LENGTH = 32


def filtered(
    model: LanguageModel, concept: Concept, seed: int, *, stop: threading.Event | None = None
) -> Concept:
    """The concept with texts whose response falls on their side of the responses' mean score.

    The scorer is independent of the vectors. Raises ConceptError where the concept has none or too few texts
    remain, lm.Stopped.
    """
    if concept.scorer is None:
        raise ConceptError(
            f"Concept {concept.name!r} has no independent scorer: train it from its input texts."
        )
    texts = concept.positive + concept.negative
    rows = [Row(tuple(model.chat_ids(text)), Sampling(seed=seed, max_new_tokens=LENGTH)) for text in texts]
    judge = scorer(concept.scorer)
    runs = model.generate(rows, stop=stop)
    heed(stop)
    values = [judge(run.text) for run in runs]
    middle = sum(values) / len(values)
    count = len(concept.positive)
    positive = tuple(
        text for text, value in zip(concept.positive, values[:count], strict=True) if value > middle
    )
    negative = tuple(
        text for text, value in zip(concept.negative, values[count:], strict=True) if value <= middle
    )
    if min(len(positive), len(negative)) < MIN_TEXTS:
        raise ConceptError(
            f"Only {len(positive)} positive and {len(negative)} negative texts of {concept.name!r} "
            f"got a response that shows their side, and {MIN_TEXTS} are needed: "
            "train it from its input texts."
        )
    return dataclasses.replace(concept, positive=positive, negative=negative)
