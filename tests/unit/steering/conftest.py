"""Two concepts that a tiny random model tells apart, and a library of them for each file."""

import pytest

from lm import load
from steering import Concept, Library, train
from tests.tiny import tiny

LOUD = Concept(
    "loud",
    tuple(f"LOOK AT {n} NOW" for n in range(10)),
    tuple(f"see {n} later" for n in range(10)),
    scorer="sentiment",
)
LONG = Concept(
    "long",
    tuple(f"number {n} " * 4 for n in range(10)),
    tuple(f"n {n}" for n in range(10)),
)


@pytest.fixture(scope="module")
def library() -> Library:
    model = load(str(tiny("llama")))
    library = Library(model, {})
    for concept in (LOUD, LONG):
        library.add(concept, train(model, concept))
    return library
