"""What people, or the language model of the study that ships, think of policies, as Trade-offs takes it."""

import pytest

from lab.compare import example
from pareto.front import FOLDER, Front


class Named:
    """A model's name and hash."""

    def __init__(self, name: str, hash: str):
        self.name, self.hash = name, hash


def test_the_shipped_judgements_are_of_policies_that_the_shipped_front_has():
    front = Front.load(FOLDER / "smollm2-135m-instruct.json")
    shipped = example(Named(front.model, front.model_hash))
    judged = shipped()
    assert {"base", "helpful", "harmless"} < judged.keys() <= {point["id"] for point in front.points}
    assert all(row["comparisons"] > 200 for row in judged.values())
    assert all(
        row[f"{axis}_ci"][0] <= row[axis] <= row[f"{axis}_ci"][1]
        for row in judged.values()
        for axis in ("helpful", "harmless")
    )
    assert shipped() is judged, "they are read once"


@pytest.mark.parametrize("hash, offered", [("0" * 16, True)])
def test_judgements_of_other_weights_are_shown_for_none(hash, offered):
    shipped = example(Named("SmolLM2-135M-Instruct", hash))
    assert (shipped is not None) == offered and shipped() == {}
    assert example(Named("nobody/else", hash)) is None
