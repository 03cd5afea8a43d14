"""Answers that are compared with the base model while they are decoded."""

import threading

import numpy as np
import pytest
import torch

from lm import Edit, Row, Sampling, Stopped, load
from lm.compared import compared
from lm.metrics import kl
from tests.tiny import tiny

PLAIN = ((1, 5, 9, 4), (1, 5, 9, 4), (1, 5, 7), (2, 3))


@pytest.fixture(scope="module", params=["native", "reference"])
def model(request):
    return load(str(tiny("llama")), engine=request.param)


def push(model, **fields) -> Edit:
    vector = torch.ones(1, model.width)
    return Edit(
        1, vector, torch.zeros(1), vector, torch.zeros(1), torch.ones(1), torch.tensor([0.3]), **fields
    )


def rows(model, temperature: float) -> list[Row]:
    sampling = Sampling(temperature, 3, 6)
    return [
        Row(PLAIN[0], sampling),
        Row(PLAIN[1], sampling, (push(model, start=2),)),
        Row((1, 5, 7, 8, 6), sampling, (push(model, answer_only=True),)),
        Row(PLAIN[3], Sampling(temperature, 4, 3), (push(model, start=1),)),
    ]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_answers_and_distances_are_those_of_decoding_first_and_measuring_then(model, temperature):
    asked = rows(model, temperature)
    runs, answers = model.generate(asked), compared(model, asked, PLAIN)
    assert [answer.run.ids for answer in answers] == [run.ids for run in runs]
    assert [answer.run.text for answer in answers] == [run.text for run in runs]
    assert [answer.run.finish for answer in answers] == [run.finish for run in runs]
    for row, plain, answer in zip(asked, PLAIN, answers, strict=True):
        ids, at = answer.run.ids, temperature or 1.0
        [base] = model.logprobs([[*plain, *ids]], [len(plain)], temperature=at)
        [own] = model.logprobs([[*row.prompt, *ids]], [len(row.prompt)], edits=[row.edits], temperature=at)
        assert answer.kl == pytest.approx(kl(own, base).tolist(), abs=1e-5)
        assert answer.nll == pytest.approx((-base[range(len(ids)), ids]).tolist(), abs=1e-5)
    assert not any(answers[0].kl) and np.mean(answers[1].kl) > 0


def test_more_rows_than_an_engine_decodes_at_once_are_the_same_rows(model, monkeypatch):
    asked = rows(model, 0.7)
    whole = compared(model, asked, PLAIN)
    monkeypatch.setattr(model.engine, "max_rows", 3)
    assert [answer.run.ids for answer in compared(model, asked, PLAIN)] == [
        answer.run.ids for answer in whole
    ]


def test_it_ends_where_nobody_waits(model):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        compared(model, rows(model, 0.7), PLAIN, stop=stop)
