"""An outside reader's judgement: drawn blind and whole, summed up as AxBench does."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from steering.frontier import Text
from steering.judged import METHODS, QUESTIONS, draw, read, save, table, worth


@pytest.fixture
def folder(tmp_path):
    """A frontier of one concept: four prompts under every method, two settings where a method has them; one prompt misses a
    method.
    """
    made = tmp_path / "frontier"
    made.mkdir()
    lines = [{"concept": "formality", "direction": "remove"}]
    for method in METHODS:
        settings = {"weak": 0.1, "strong": 0.3} if method in METHODS[2:5] else {"": 0.2}
        for setting, kl in settings.items():
            for number in range(5 if method != METHODS[-1] else 4):
                text = f"{method} {setting} {number}"
                lines.append(
                    asdict(Text(method, setting, "", 0, f"prompt {number}", 0.5, kl, 1.0, 0.0, text))
                )
    (made / "formality-remove.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return made


def rated(answers, path, rate) -> None:
    rows = [{"id": answer.id, **dict(zip(QUESTIONS, rate(answer), strict=True))} for answer in answers]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_every_method_is_drawn_at_its_strongest_for_the_same_prompts(folder):
    answers = draw(folder, 3)
    assert len(answers) == 3 * len(METHODS) and [answer.id for answer in answers] == list(range(len(answers)))
    for case in range(3):
        own = [answer for answer in answers if answer.case == case]
        assert {answer.method for answer in own} == set(METHODS) and len(
            {answer.prompt for answer in own}
        ) == 1
    assert {answer.setting for answer in answers} == {"", "strong"}
    assert answers == draw(folder, 3) != draw(folder, 3, seed=1)


def test_a_reader_sees_no_method_and_no_order_of_them(folder, tmp_path):
    answers = draw(folder, 4)
    save(answers, tmp_path / "key", tmp_path / "blind")
    shown = [json.loads(line) for line in (tmp_path / "blind").read_text().splitlines()]
    assert {key for row in shown for key in row} == {"id", "wanted", "prompt", "answer"}
    assert [answer.method for answer in answers] != sorted([a.method for a in answers], key=METHODS.index)


def test_prompts_that_a_method_did_not_answer_are_not_drawn(folder):
    with pytest.raises(ValueError, match="has 4 prompts that every method answered"):
        draw(folder, 5)


def test_no_worth_where_one_rating_is_zero_and_else_the_harmonic_mean():
    ratings = np.array([[0, 2, 2], [2, 2, 2], [1, 1, 1], [1, 2, 2]], float)
    assert worth(ratings).tolist() == pytest.approx([0, 2, 1, 1.5])
    assert worth(ratings[None]).tolist() == [worth(ratings).tolist()]


def test_the_table_has_what_was_rated(folder, tmp_path):
    answers = draw(folder, 4)
    save(answers, tmp_path / "key", tmp_path / "blind")
    rated(
        answers,
        tmp_path / "ratings",
        lambda a: (2, 2, 2) if a.method == "default" else (1, 1, 1) if a.method == "base" else (0, 2, 2),
    )
    rows = table(*read(tmp_path / "key", [tmp_path / "ratings"])).splitlines()
    assert "| base | 0.20 | 1.00 | 1.00 | 1.00 | 1.00 [1.00, 1.00] | +1.00 [+1.00, +1.00] |" in rows
    assert "| constant push | 0.30 | 0.00 | 2.00 | 2.00 | 0.00 [0.00, 0.00] | +2.00 [+2.00, +2.00] |" in rows


def test_sittings_are_averaged_and_their_agreement_told(folder, tmp_path):
    answers = draw(folder, 2)
    save(answers, tmp_path / "key", tmp_path / "blind")
    for name, rating in (("one", (2, 2, 2)), ("two", (2, 0, 2))):
        rated(answers, tmp_path / name, lambda a, rating=rating: rating)
    told = table(*read(tmp_path / "key", [tmp_path / "one", tmp_path / "two"]))
    assert told.count("2.00 | 1.00 | 2.00 | 1.00 [1.00, 1.00]") == len(METHODS)
    assert told.endswith("all 2 sittings rate alike: concept 1.00, instruction 0.00, fluent 1.00.")


@pytest.mark.parametrize("bad", [3, -1, 1.5, True, None, "2"])
def test_a_rating_out_of_bounds_is_one_sentence(folder, tmp_path, bad):
    answers = draw(folder, 1)
    save(answers, tmp_path / "key", tmp_path / "blind")
    rated(answers, tmp_path / "ratings", lambda a: (1, bad, 1))
    with pytest.raises(ValueError, match="instruction is .*: give 0, 1 or 2"):
        read(tmp_path / "key", [tmp_path / "ratings"])


def test_a_rating_that_is_missing_is_one_sentence(folder, tmp_path):
    answers = draw(folder, 1)
    save(answers, tmp_path / "key", tmp_path / "blind")
    rated(answers[1:], tmp_path / "ratings", lambda a: (1, 1, 1))
    with pytest.raises(ValueError, match="has no rating of answer 0"):
        read(tmp_path / "key", [tmp_path / "ratings"])


@pytest.mark.parametrize("content", ["[]\n", "{}\n", "3\n", "nothing\n", "", "\xff", "[" * 100_000])
def test_a_file_that_is_no_key_or_no_ratings_is_one_sentence(folder, tmp_path, content):
    answers = draw(folder, 1)
    save(answers, tmp_path / "key", tmp_path / "blind")
    (tmp_path / "bad").write_text(content, "latin-1")
    for key, ratings in (("bad", "bad"), ("key", "bad")):
        with pytest.raises(ValueError, match=str(tmp_path / "bad")):
            read(tmp_path / key, [tmp_path / ratings])


def test_a_key_that_lacks_a_method_is_one_sentence(folder, tmp_path):
    answers = [answer for answer in draw(folder, 1) if answer.method != "default"]
    save(answers, tmp_path / "key", tmp_path / "blind")
    with pytest.raises(ValueError, match="lacks answers of a method"):
        read(tmp_path / "key", [])


def test_nothing_is_written_over(folder, tmp_path):
    answers = draw(folder, 1)
    for names in (("same", "same"), ("there", "new"), ("new", "there")):
        (tmp_path / "there").write_text("kept")
        with pytest.raises(ValueError, match="give two new files"):
            save(answers, *(tmp_path / name for name in names))
    assert (tmp_path / "there").read_text() == "kept" and not (tmp_path / "same").exists()


@pytest.mark.parametrize("each", [0, -1])
def test_at_least_one_prompt_is_drawn(folder, each):
    with pytest.raises(ValueError, match="at least 1 prompt"):
        draw(folder, each)
