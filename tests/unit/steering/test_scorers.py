"""Any sequence classifier as an independent scorer: the probability of the label that is named."""

import json
import re

import pytest

from lm.classifier import ClassifierError
from pareto.rewards import ClassifierReward
from steering import __main__ as command
from steering.scorers import heads, scorer
from tests.tiny import tiny
from tests.unit.pareto.test_classifier import TWO, classifier, logits

TEXTS = ["good", "so so", "a longer text, and words"]


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_one_label_of_several_is_a_share_of_them(tmp_path, family):
    name = classifier(tmp_path, family, **TWO)
    for text in TEXTS:
        chances = logits(name, text).softmax(0)
        for index, label in TWO["id2label"].items():
            assert scorer(f"{name}#{label}")(text) == pytest.approx(float(chances[index]), abs=1e-5)


@pytest.mark.parametrize("more", [TWO | {"problem_type": "multi_label_classification"}, {"num_labels": 1}])
def test_a_label_that_is_a_question_of_its_own_has_its_own_probability(tmp_path, more):
    name = classifier(tmp_path, "bert", **more)
    which = f"{name}#POSITIVE" if more["num_labels"] == 2 else name
    for text in TEXTS:
        assert scorer(which)(text) == pytest.approx(float(logits(name, text)[-1].sigmoid()), abs=1e-5)


def test_an_empty_text_tells_nothing(tmp_path):
    assert scorer(f"{classifier(tmp_path, 'bert', **TWO)}#POSITIVE")(" ") == 0.5


def test_a_label_must_be_named_and_there(tmp_path):
    name = classifier(tmp_path, "bert", **TWO)
    for what in (name, f"{name}#HAPPY"):
        with pytest.raises(ClassifierError, match="NEGATIVE, POSITIVE"):
            scorer(what)
    with pytest.raises(ClassifierError, match="cannot be loaded"):
        scorer(str(tmp_path / "nowhere"))


def test_names_of_shipped_scorers_keep_their_meaning():
    assert {"sports", "sentiment"} <= set(heads())
    assert scorer("vader")("wonderful, great, lovely") > 0.8 > scorer("vader")("awful")
    assert scorer("sports")("The striker scored in the last minute of the match.") > 0.5


def test_the_command_line_judges_with_a_classifier(tmp_path, capsys):
    name = classifier(tmp_path / "judge", "bert", **TWO)
    (tmp_path / "texts").write_text(
        "".join(json.dumps({"text": text, "label": n % 2}) + "\n" for n, text in enumerate([*TEXTS, "x"]))
    )
    assert command.main(["scorer", f"{name}#POSITIVE", "--labelled", str(tmp_path / "texts")]) == 0
    told = json.loads(capsys.readouterr().out)
    right = [
        (float(logits(name, text).softmax(0)[1]) > 0.5) == bool(n % 2) for n, text in enumerate([*TEXTS, "x"])
    ]
    assert told["n"] == 4 and told["accuracy"][0] == pytest.approx(sum(right) / 4)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("ruddy=vader", "give CONCEPT=NAME with a concept of .*sports"),
        ("sports", "give CONCEPT=NAME"),
        ("sports=", "give CONCEPT=NAME"),
        ("sports=/nowhere#X", "Classifier /nowhere cannot be loaded"),
    ],
)
def test_a_scorer_that_cannot_be_had_is_one_sentence(given, says, capsys):
    plan = json.dumps({"targets": [{"concept": "sports"}]})
    asked = ["generate", "--model", str(tiny("llama")), "--plan", plan, "--prompt", "Hi", "--scorer", given]
    assert command.main(asked) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(says, error)


def test_a_name_that_is_no_concept_needs_labels_to_be_tried_on(capsys):
    assert command.main(["scorer", "nobody"]) == 2
    assert "classifier to be tried with --labelled" in capsys.readouterr().err


def test_a_frontier_without_prompts_is_one_sentence(tmp_path, capsys):
    (tmp_path / "empty").write_text("\n")
    asked = ["frontier", "sports", "--model", str(tiny("llama")), "--prompts", str(tmp_path / "empty")]
    assert command.main(asked) == 2
    assert "give at least one" in capsys.readouterr().err


@pytest.mark.parametrize(
    "given",
    [
        "scorer sports --most -5", "scorer sports --most 1", "evaluate --most 0", "frontier --count 0", "frontier --count -1", "frontier --seeds 0 -1",
        "calibrate --tokens 0", "calibrate --prompts -3", "blind a b c --each 0", "generate --plan {} --top-p 1.5", "generate --plan {} --temperature nan",
        "generate --plan {} --seed -1", "generate --plan {} --max-new-tokens 1e9",
    ],
)  # fmt: skip
def test_a_number_out_of_its_bounds_is_one_sentence_that_names_it(given, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(given.split())
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1
    assert re.match(r"error: argument --[a-z-]+: .* give (one|a number) from \d", error)


@pytest.mark.parametrize("name", ["a#b", "a?b", "a#b?c#d", "?", "#1 model"])
def test_a_folder_may_hold_the_signs_that_begin_a_label(tmp_path, name):
    (tmp_path / name).mkdir()
    folder = classifier(tmp_path / name, "bert", **TWO)
    text = TEXTS[0]
    for label, chance in zip(TWO["id2label"].values(), logits(folder, text).softmax(0), strict=True):
        assert scorer(f"{folder}#{label}")(text) == pytest.approx(float(chance), abs=1e-5)
    assert ClassifierReward(f"{folder}?form=answer#POSITIVE").score(["p"], [text]) == pytest.approx(
        float(logits(folder, text)[1]), abs=1e-4
    )
