"""What people, or the language model of the study that ships, think of policies, as Trade-offs takes it."""

import pytest

from lab.compare import _output, example
from lm import Policy, load
from pareto.front import FOLDER, Front
from pareto.session import Request
from tests.tiny import tiny


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


@pytest.mark.parametrize(("top_p", "told"), [(1.0, {}), (0.9, {"top_p": 0.9})])
def test_what_is_sent_to_compare_tells_how_it_was_drawn(top_p, told):
    asked = {"prompt": "Hi", "picks": [], "seed": 3, "max_new_tokens": 4, "temperature": 0.7, "top_p": top_p}
    request, policy = Request.parse(asked), Policy(load(str(tiny("llama"))))
    [run] = policy.model.generate([policy.row(request.prompt, request.sampling)])
    about = _output(request, "a", policy.spec, run).about
    assert about.items() >= {"seed": 3, "temperature": 0.7, **told}.items()
    assert ("top_p" in about) == bool(told) and "thinking" not in about
