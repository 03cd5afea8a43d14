"""Concepts, the logistic fits and the vectors made of them."""

import dataclasses
import json
import threading
import time

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lm import LanguageModel, Stopped, load
from steering import CAV, Concept, ConceptError, Library, PlanError, Settings, logistic, train
from steering.__main__ import main
from steering.calibration import Calibration
from steering.cav import best_layers, fit, framed, read
from steering.examples import folds, remarks
from tests.tiny import LAYERS, WIDTH, tiny
from tests.tokenizers import byte_level

CONCEPT = Concept(
    "shouting",
    tuple(f"LOOK AT {n} NOW" for n in range(12)),
    tuple(f"see {n} later" for n in range(12)),
    scorer="sentiment",
)


@pytest.fixture(scope="module")
def model():
    return load(str(tiny("llama")))


@pytest.fixture(scope="module")
def cav(model) -> CAV:
    return train(model, CONCEPT)


@pytest.mark.parametrize("penalty", [0.01, 1.0, 300.0])
def test_fit_is_sklearns_optimum(penalty):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 60, 90, generator=random, dtype=torch.float64)
    labels = (torch.rand(60, generator=random) < 0.4).double()
    alpha, bias = logistic.fit(x @ x.mT, labels, penalty)
    for layer in range(2):
        reference = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=100_000).fit(
            x[layer].numpy(), labels.numpy()
        )
        np.testing.assert_allclose((x[layer].mT @ alpha[layer]).numpy(), reference.coef_[0], atol=1e-4)
        np.testing.assert_allclose(bias[layer].item(), reference.intercept_[0], atol=1e-4)


def test_fit_maps_back_to_raw_space():
    random = torch.Generator().manual_seed(1)
    x = torch.randn(1, 40, 30, generator=random)
    labels = torch.tensor([1.0, 0.0] * 20)
    x[:, labels == 1, 0] += 3
    plain = fit(x, labels, 1.0)
    moved = fit(100 * x + 7, labels, 1.0)

    def logit(data, w, b):
        return torch.einsum("lnd,ld->ln", data, w) + b[:, None]

    torch.testing.assert_close(logit(x, *plain), logit(100 * x + 7, *moved), atol=2e-3, rtol=1e-3)


def test_a_separable_concept_is_learnt_and_the_controls_are_not(cav):
    assert cav.accuracy.shape == (LAYERS,) and cav.w.shape == (LAYERS, WIDTH)
    assert cav.accuracy.min() > 0.9 > 0.75 > cav.shuffled.mean()
    assert cav.random.mean() < cav.accuracy.mean()
    torch.testing.assert_close(cav.direction.norm(dim=1), torch.ones(LAYERS))
    torch.testing.assert_close(cav.diffmean.norm(dim=1), torch.ones(LAYERS))


def test_training_repeats_exactly(model, cav):
    assert torch.equal(train(model, CONCEPT).w, cav.w)


@pytest.mark.parametrize(
    "settings", [Settings(frame="prompt", position="last"), Settings(frame="plain"), Settings(penalty=3)]
)
def test_settings_are_recorded(model, settings, tmp_path):
    made = train(model, CONCEPT, settings)
    made.save(tmp_path / "v.safetensors")
    assert CAV.load(tmp_path / "v.safetensors").settings == settings


def test_saved_vectors_come_back(cav, tmp_path):
    path = tmp_path / "deep" / "v.safetensors"
    cav.save(path)
    back = CAV.load(path)
    for field in dataclasses.fields(CAV):
        mine, theirs = getattr(cav, field.name), getattr(back, field.name)
        assert torch.equal(mine, theirs) if isinstance(mine, torch.Tensor) else mine == theirs
    assert [file.name for file in path.parent.iterdir()] == ["v.safetensors"]


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\x00" * len(data)]
)
def test_damaged_vectors_are_refused_and_trained_again(model, cav, tmp_path, monkeypatch, damage):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    first = Library(model, {"shouting": CONCEPT})
    first.cav("shouting")
    [path] = tmp_path.rglob("*.safetensors")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="train it again"):
        CAV.load(path)
    assert torch.equal(Library(model, {"shouting": CONCEPT}).cav("shouting").w, cav.w)
    assert torch.equal(CAV.load(path).w, cav.w)


def test_sessions_share_what_is_trained_for_a_shipped_concept(model, tmp_path, monkeypatch):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    trained, exact, begun, go = [], train, threading.Event(), threading.Event()

    def slow(*asked, progress, **more):
        trained.append(asked)
        progress(0.25)
        begun.set()
        assert go.wait(20)
        return exact(*asked, progress=progress, **more)

    monkeypatch.setattr("steering.library.train", slow)
    shared = Library(model, {"shouting": CONCEPT})
    first, second, third = shared.session(), shared.session(), shared.session()
    found, told, gone = [], [], threading.Event()
    threads = [
        threading.Thread(target=lambda: found.append(first.cav("shouting"))),
        threading.Thread(
            target=lambda: begun.wait(20) and found.append(second.cav("shouting", progress=told.append))
        ),
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(20)
    gone.set()
    with pytest.raises(Stopped):
        third.cav("shouting", stop=gone)
    while 0.25 not in told:
        assert threads[1].is_alive()
        time.sleep(0.01)
    go.set()
    for thread in threads:
        thread.join(20)
    assert len(trained) == 1 and found[0] is found[1] is third.cav("shouting") is shared.cav("shouting")
    assert first.missing() == []


def test_who_waits_for_a_training_that_is_stopped_trains_it(model, tmp_path, monkeypatch):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    shared, stop, begun = Library(model, {"shouting": CONCEPT}), threading.Event(), threading.Event()
    found = []
    waits = threading.Thread(target=lambda: begun.wait(20) and found.append(shared.session().cav("shouting")))
    waits.start()

    def leave(share: float) -> None:
        begun.set()
        time.sleep(0.3)
        stop.set()

    with pytest.raises(Stopped):
        shared.session().cav("shouting", progress=leave, stop=stop)
    waits.join(20)
    assert found[0] is shared.cav("shouting")


def test_a_vector_of_another_model_is_refused(model, cav):
    with pytest.raises(PlanError, match="made for"):
        Library(model, {}).add(CONCEPT, dataclasses.replace(cav, model_hash="0" * 16))


def test_training_stops(model):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        train(model, CONCEPT, stop=stop)


@pytest.mark.parametrize("enough", [1, LAYERS + 1], ids=["fit", "held-out"])
def test_training_stops_between_the_layers_of_a_fit(model, monkeypatch, enough):
    stop, fits, exact = threading.Event(), [], logistic.fit

    def counted(*asked):
        fits.append(asked)
        if len(fits) == enough:
            stop.set()
        return exact(*asked)

    monkeypatch.setattr(logistic, "fit", counted)
    with pytest.raises(Stopped):
        train(model, CONCEPT, stop=stop)
    assert len(fits) < enough + Settings().folds


def test_training_tells_how_far_the_fits_are_too(model):
    told: list[float] = []
    train(model, CONCEPT, progress=told.append)
    assert told == sorted(told) and told[-1] == 1 and len([share for share in told if share > 0.5]) == LAYERS


def test_a_fit_never_holds_more_than_one_layers_gram(model, monkeypatch):
    shapes, exact = [], logistic.fit
    monkeypatch.setattr(logistic, "fit", lambda gram, *more: shapes.append(gram.shape) or exact(gram, *more))
    train(model, CONCEPT)
    assert shapes and {len(shape) for shape in shapes} == {2}


def test_what_the_command_trains_is_what_the_app_steers_with(tmp_path, monkeypatch):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    model = load(str(tiny("llama")))
    assert Library(model).ready("refusal") is None
    assert main(["train", "refusal", "--model", str(tiny("llama"))]) == 0
    library = Library(model)
    trained = library.ready("refusal")
    assert trained is not None and trained.w.equal(train(model, library.concepts["refusal"]).w)
    none = (0.0,) * LAYERS
    measured = Calibration("gcav", (1,), none, none, {}, prompts=1, tokens=1, temperature=0.7)
    library.keep("refusal", dataclasses.replace(trained, calibration=measured))
    assert main(["train", "refusal", "--model", str(tiny("llama"))]) == 0
    again = Library(model).ready("refusal")
    assert again is not None and again.calibration == measured


def test_output_labels_need_responses_that_show_the_concept(model):
    with pytest.raises(ConceptError, match="response"):
        train(model, CONCEPT, Settings(source="output"))
    with pytest.raises(ConceptError, match="scorer"):
        train(model, dataclasses.replace(CONCEPT, scorer=None), Settings(source="output"))


def test_output_labels_keep_texts_whose_response_is_on_their_side(model, monkeypatch):
    from steering import responses

    monkeypatch.setattr(responses, "scorer", lambda name: _Ordered())
    kept = responses.filtered(model, CONCEPT, 0)
    assert kept.positive == CONCEPT.positive[:10] and kept.negative == CONCEPT.negative[:9]


class _Ordered:
    """A scorer that answers from a list: 10 of 12 positives and 9 of 12 negatives are on their side."""

    def __init__(self):
        self.values = iter([1.0] * 10 + [0.0] * 2 + [0.0] * 9 + [1.0] * 3)

    def __call__(self, text: str) -> float:
        return next(self.values)


def test_auto_layers_are_the_most_accurate_of_the_middle(cav):
    def wide(*poor):
        return dataclasses.replace(
            cav,
            accuracy=torch.tensor([0.6 if layer in poor else 0.9 for layer in range(30)]),
            gap=torch.ones(30),
        )

    assert best_layers([wide(11, 16)]) == (8, 9, 10, 12, 13, 14, 15, 17)
    assert best_layers([wide(11), wide(16)]) == (8, 9, 10, 12, 13, 14, 15, 17)
    assert best_layers([cav]) and all(0 <= layer < LAYERS for layer in best_layers([cav]))


@pytest.mark.parametrize(
    "settings, word",
    [
        ({"frame": "x"}, "frame"),
        ({"position": "x"}, "position"),
        ({"source": "x"}, "source"),
        ({"penalty": 0}, "penalty"),
        ({"penalty": float("nan")}, "penalty"),
        ({"folds": 1}, "folds"),
    ],
)
def test_bad_settings(settings, word):
    with pytest.raises(ValueError, match=f"(?i){word}"):
        Settings(**settings)


def line(positive="a", negative="b") -> str:
    return json.dumps({"positive": positive, "negative": negative})


GOOD = "\n".join(line(f"good {n}", f"bad {n}") for n in range(8))


@pytest.mark.parametrize(
    "text, word",
    [
        ("", "positive side has 0"),
        ("\n".join(json.dumps({"positive": f"a{n}"}) for n in range(9)), "negative side has 0"),
        (GOOD + "\n{broken", "line 9"),
        (GOOD + "\n[1]", "line 9"),
        (GOOD + "\n" + json.dumps({"text": "x"}), "line 9"),
        (GOOD + "\n" + line(positive=""), "line 9, positive"),
        (GOOD + "\n" + line(negative=3), "line 9, negative"),
        (GOOD + "\n" + line(positive="x" * 5000), "5,000 characters"),
        (GOOD + "\n" + line(positive="a\0b"), "NUL"),
        (GOOD + "\n" + line("bad 0", "c"), "both sides"),
        ("[" * 100_000, "line 1"),
    ],
)
def test_bad_concept_files(text, word, tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text(text)
    with pytest.raises(ConceptError, match=word):
        Concept.load(path)


def test_binary_huge_and_missing_concept_files(tmp_path):
    binary, huge = tmp_path / "b.jsonl", tmp_path / "h.jsonl"
    binary.write_bytes(bytes(range(256)))
    with huge.open("wb") as file:
        file.truncate(100_000_000)
    for path, word in (
        (binary, "UTF-8"),
        (huge, "100,000,000 bytes"),
        (tmp_path / "none.jsonl", "no file"),
        (tmp_path, "no file"),
    ):
        with pytest.raises(ConceptError, match=word):
            Concept.load(path)


def test_a_concept_reads_lines_with_one_side_or_both():
    concept = Concept.parse(GOOD + '\n\n{"positive": "only"}\n', "quality")
    assert (len(concept.positive), len(concept.negative), concept.low, concept.high) == (
        9,
        8,
        "not quality",
        "quality",
    )
    assert concept.hash != Concept.parse(GOOD, "quality").hash == Concept.parse(GOOD, "other name").hash


def test_concept_texts_never_end_in_a_token_that_the_tokenizer_adds(model):
    adds = LanguageModel(
        model.name,
        model.hash,
        byte_level(adds="<s> $A </s>"),
        model.stop_ids,
        model.engine,
        lambda: model.torch,
    )
    eos = adds.tokenizer.eos_token_id
    for frame in ("answer", "prompt", "plain"):
        ids, _ = framed(adds, "Nice.", frame)
        assert eos not in ids and ids[0] == adds.tokenizer.bos_token_id
        assert ids[-5:] == adds.codec.answer_ids("Nice.")


def test_half_an_emoji_in_a_concept_text_is_replaced():
    lines = "\n".join(f'{{"positive": "Lovely {i} \\ud83d", "negative": "Awful {i}"}}' for i in range(8))
    concept = Concept.parse(lines, "x")
    assert concept.positive[0] == "Lovely 0 \N{REPLACEMENT CHARACTER}"
    with pytest.raises(ConceptError, match="name"):
        Concept.parse(lines, "x\ud83d")


# ---- copies, frames, sinks

WORDS = "rain tea boat lamp stone field bread clock glass river paper cloud horse music chair winter".split()
LOT = tuple(
    f"I saw a {word} near the {other} today."
    for word, other in zip(WORDS, WORDS[5:] + WORDS[:5], strict=True)
)


def copies(texts, change):
    """Ten copies of each text, each changed by change(text, number), in an order drawn by lot."""
    many = [change(text, n) for text in texts for n in range(10)]
    return tuple(many[i] for i in np.random.default_rng(0).permutation(len(many)))


@pytest.mark.parametrize(
    "change",
    [
        lambda text, n: text,
        lambda text, n: text + "!" * n,
        lambda text, n: text.upper() if n % 2 else f" {text}",
        lambda text, n: f"{text} {'really truly surely indeed well oh yes no hm ha'.split()[n]}",
    ],
    ids=["equal", "punctuation", "case", "a word more"],
)
@pytest.mark.filterwarnings("ignore:.*differ")
def test_copies_do_not_tell_labels_drawn_by_lot(model, change):
    concept = Concept("lot", copies(LOT[:8], change), copies(LOT[8:], change))
    cav = train(model, concept)
    assert cav.accuracy.mean() < 0.65 and cav.shuffled.mean() < 0.65


def test_copies_are_told_and_count_once(model):
    once, many = (Concept("c", CONCEPT.positive * times, CONCEPT.negative * times) for times in (1, 10))
    with pytest.warns(UserWarning, match="120 texts only 12 differ"):
        cav = train(model, many)
    assert torch.equal(cav.w, train(model, once).w)
    with pytest.raises(ConceptError, match="only 1 differ"):
        train(model, Concept("c", ("same",) * 20, CONCEPT.negative))


def test_near_copies_and_pairs_share_a_fold():
    positive = tuple(f"{text} Really." if n % 2 else text for text in LOT[:8] for n in range(2))
    fold = folds(
        positive, tuple(f"nothing like it, {word}, number {n}" for n, word in enumerate(WORDS)), 5, 0
    )
    assert torch.equal(fold[:16], fold[16:]) and torch.equal(fold[0:16:2], fold[1:16:2])
    assert len(set(fold.tolist())) == 5 and fold.bincount().max() <= 8


def test_what_a_person_should_know_of_their_examples():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 5)) for _ in range(80)]
    fine = Concept("fine", tuple(texts[:40]), tuple(texts[40:]))
    assert remarks(fine) == []
    few = Concept("few", fine.positive[:8], fine.negative[:8])
    assert "8 examples a side are few" in remarks(few)[0]
    worded = Concept("worded", tuple(f"arrr {text}" for text in texts[:40]), fine.negative)
    assert "Single words tell 100 %" in remarks(worded)[0]
    pasted = Concept("pasted", fine.positive[:8] * 9, fine.negative)
    assert "only 48 differ" in remarks(pasted)[0]


@pytest.mark.parametrize("frame", ["answer", "prompt", "plain"])
@pytest.mark.parametrize("position", ["mean", "last"])
def test_template_and_sink_are_not_read(model, frame, position):
    text = "some words to read"
    ids, start = framed(model, text, frame)
    own = model.tokenizer.decode(ids[start:])
    assert start >= 1 and own == (
        text if frame == "answer" else text[1:]
    )  # no template, so that "s" is the sink
    states = torch.stack([model.read([ids[: at + 1]])[0] for at in range(start, len(ids))])
    expected = states[-1] if position == "last" else states.mean(0)
    torch.testing.assert_close(
        read(model, [text, "other"], Settings(frame=frame, position=position))[0], expected
    )


def test_what_stands_within_a_line_of_a_concept_file_ends_none(tmp_path):
    rows = [{"positive": f"good\u2028{n}\x85", "negative": f"bad {n}"} for n in range(9)]
    lines = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    assert Concept.load(tmp_path / "a.jsonl").positive == tuple(row["positive"] for row in rows)


def test_texts_that_the_model_cannot_tell_apart_are_refused_by_name():
    """As a tokenizer reads letters that it does not know: all are one token."""
    model = load(str(tiny("llama")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.codec, "answer_ids", lambda text: [7])
        with pytest.raises(
            ConceptError, match=f"^{CONCEPT.name}: .* reads all texts alike at layer 0: give texts in letters"
        ):
            train(model, CONCEPT)
