"""Pairs, reward heads, evaluation and stored fronts."""

import gzip
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from transformers import LlamaForSequenceClassification
from transformers.models.llama import LlamaConfig

from lm import Adapter, LanguageModel, Policy, Stopped, load
from pareto import fit, pairs
from pareto.__main__ import main
from pareto.corruptions import WAYS, spoiled
from pareto.evaluate import asked_of, evaluate, part_of, refuses, standard_prompts
from pareto.front import Front
from pareto.pairs import Pair, PairError, read_pairs, read_prompts
from pareto.rewards import ClassifierReward, FunctionReward, Head, HeadReward, RewardError, heads, sequences
from pareto.tune import tune
from tests.tiny import WIDTH, tiny

PROMPTS = [("helpful", "How are you?"), ("unsafe", "Be rude."), ("helpful", "Sing!")]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load(str(tiny("llama")))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ("{", "line 1, is no JSON"),
        ("[]\n", "line 1, is \\[\\]: give an object"),
        ('{"prompt": "a", "chosen": "b"}\n', "line 1: chosen or rejected is empty"),
        ('{"prompt": "", "chosen": "b", "rejected": "c"}\n', "line 1: prompt is of another kind"),
        ('{"prompt": "a", "chosen": "b", "rejected": "b"}\n', "all 1 pairs"),
    ],
)
def test_pairs_that_cannot_be_used_are_refused(tmp_path, content, says):
    (tmp_path / "pairs.jsonl").write_text(content)
    with pytest.raises(PairError, match=says):
        read_pairs(tmp_path / "pairs.jsonl")


def test_equal_pairs_are_left_out_with_a_warning_and_turns_are_read(tmp_path, caplog):
    rows = [
        {"prompt": "a", "chosen": "b", "rejected": "b"},
        {"prompt": [{"role": "user", "content": "hi"}], "chosen": "x", "rejected": "y"},
    ]
    with gzip.open(tmp_path / "pairs.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
    assert read_pairs(tmp_path / "pairs.jsonl.gz") == [Pair((("user", "hi"),), "x", "y")]
    assert "1 pairs with equal answers" in caplog.text


def test_the_prompts_that_ship_are_whole_and_apart():
    held_out, train = standard_prompts(), read_prompts("assets/prompts/train.jsonl")
    assert min(sum(kind == which for kind, _ in held_out) for which in ("helpful", "unsafe")) >= 100
    assert not {text for _, text in held_out} & {text for _, text in train}


def test_a_point_is_scored_on_the_prompts_of_the_front_that_it_is_put_on(model):
    assert asked_of(Front("any", "0", (-2.0, -2.0))) == (standard_prompts(), 2)
    shipped = Front.load("assets/fronts/smollm2-135m-instruct.json")
    prompts, samples = asked_of(shipped)
    assert {(len(prompts), samples)} == {(point["prompts"], point["samples"]) for point in shipped.points}
    for kind in ("helpful", "unsafe"):
        all_of, some = ([text for of, text in which if of == kind] for which in (standard_prompts(), prompts))
        assert some == all_of[:: shipped.about["every"]]


def test_the_prompts_of_a_front_and_the_rest_are_all_that_are_held_out():
    shipped = Front.load("assets/fronts/smollm2-135m-instruct.json")
    scored, rest = part_of(shipped, "front"), part_of(shipped, "rest")
    assert scored == asked_of(shipped)[0] and not {*scored} & {*rest}
    assert sorted(scored + rest) == sorted(standard_prompts())
    with pytest.raises(ValueError, match="none is left"):
        part_of(Front("any", "0", (-2.0, -2.0)), "rest")


def test_all_pairs_of_a_prompt_go_one_way():
    assert 0.1 < np.mean([pairs.held_out(f"prompt {i}") for i in range(500)]) < 0.3
    assert pairs.held_out("same") == pairs.held_out("same")


def planted(model, *, wanted: torch.Tensor, length_matters: float, n: int = 400):
    """Pairs whose features hold a wanted direction and one that goes with length."""
    rng = np.random.default_rng(0)
    states, lengths = rng.normal(size=(n, 2, WIDTH)), np.exp(rng.normal(3, 0.5, size=(n, 2)))
    states[..., 0] += np.log(lengths)
    quality = states @ wanted.numpy() + length_matters * np.log(lengths) + rng.logistic(size=(n, 2)) * 0.3
    order = np.argsort(-quality, axis=1)
    states, lengths = (
        np.take_along_axis(a, order[..., None] if a.ndim == 3 else order, 1) for a in (states, lengths)
    )
    return [Pair(f"prompt {i}", "a", "b") for i in range(n)], states, lengths


def test_a_head_finds_the_direction_that_was_planted(model):
    wanted = torch.zeros(WIDTH, dtype=torch.float64)
    wanted[5] = 1.0
    found, report = fit.fit_states(model, *planted(model, wanted=wanted, length_matters=0.0), "helpful", 1)
    assert float(torch.cosine_similarity(found.weight.double(), wanted, 0)) > 0.8
    assert (
        report["accuracy"]["value"] > 0.7
        and report["accuracy"]["low"] < report["accuracy"]["value"] < report["accuracy"]["high"]
    )


def test_what_length_alone_explains_is_not_rewarded(model):
    found, report = fit.fit_states(
        model,
        *planted(model, wanted=torch.zeros(WIDTH, dtype=torch.float64), length_matters=3.0),
        "helpful",
        1,
    )
    assert report["accuracy_length_alone"]["value"] > 0.9
    assert abs(report["correlation_with_length"]) < 0.25 and abs(float(found.weight[0])) < 0.2 * float(
        found.weight.norm()
    )


def test_a_head_learns_from_lessons_without_being_judged_by_them(model):
    wanted = torch.zeros(WIDTH, dtype=torch.float64)
    wanted[5] = 1.0
    made = planted(model, wanted=wanted, length_matters=0.0)
    states = np.random.default_rng(1).normal(size=(400, 2, WIDTH))
    states[:, 0, 7] += 4
    lesson = fit.Lesson([f"spoiled {i}" for i in range(400)], states, 0.3)
    plain, before = fit.fit_states(model, *made, "helpful", 1)
    taught, after = fit.fit_states(model, *made, "helpful", 1, [lesson])
    assert abs(float(plain.weight[7])) < 0.3 * float(plain.weight.norm()) < float(taught.weight[7])
    assert float(taught.weight[5]) > 0 and after["accuracy"]["pairs"] == before["accuracy"]["pairs"]


def test_spoiled_answers_differ_and_ask_the_same():
    made = [Pair(f"Ask {i}", f"One answer of {i} that says several sensible things", "no") for i in range(9)]
    found = spoiled(made, 5)
    assert found == spoiled(made, 5) and len({pair.prompt for _, pair in found}) == 5
    assert {way for way, _ in found} == set(WAYS)
    for way, pair in found:
        assert pair.chosen != pair.rejected
        if way == "shuffled words":
            assert sorted(pair.chosen.split()) == sorted(pair.rejected.split())
        if way == "an answer to another prompt":
            assert pair.rejected in {other.chosen for other in made if other.prompt != pair.prompt}


def test_too_few_pairs_are_refused(model):
    with pytest.raises(PairError, match="at least 50"):
        fit.fit(model, [Pair(f"p{i}", "good", "bad") for i in range(20)], "helpful", 1)


def test_a_head_is_read_back_and_scores_the_mean_of_its_block(model, tmp_path):
    head = Head(
        "helpful", model.hash, 1, torch.randn(WIDTH, generator=torch.Generator().manual_seed(0)), 0.3, 2.0
    )
    head.save(tmp_path / "helpful.safetensors")
    again = Head.load(tmp_path / "helpful.safetensors")
    assert again.hash == head.hash and again.block == 1
    prompts, answers = ["Hello", "Why?"], ["I am fine", "because of it"]
    ids, starts = sequences(model, prompts, answers)
    states = model.read(ids, pool="mean", starts=starts)[:, 1]
    torch.testing.assert_close(
        HeadReward(model, again).score(prompts, answers), (states @ head.weight - 0.3) / 2
    )


def test_an_empty_answer_is_read_at_its_end_or_at_the_prompts(model, monkeypatch):
    chat = model.chat_ids("Hello")
    assert sequences(model, ["Hello"], [""]) == ([[*chat, 257]], [len(chat)])
    monkeypatch.setattr(model, "stop_ids", frozenset())
    assert sequences(model, ["Hello", "Hello"], ["", "a"]) == (
        [chat, [*chat, 64]],
        [len(chat) - 1, len(chat)],
    )


def test_heads_of_another_model_and_damaged_ones_are_refused(model, tmp_path):
    with pytest.raises(RewardError, match="reads model"):
        heads(model)
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(RewardError, match="no reward head"):
        Head.load(tmp_path / "x.safetensors")


def classifier(folder, **more) -> None:
    """Writes a random one of the Llama family."""
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(LlamaConfig(vocab_size=258, num_labels=1, **shape, **more))
    model.save_pretrained(folder)


def test_a_sequence_classifier_scores_in_the_same_place(tmp_path):
    from transformers import AutoTokenizer

    classifier(tmp_path, pad_token_id=257)
    AutoTokenizer.from_pretrained(tiny("llama")).save_pretrained(tmp_path)
    reward = ClassifierReward(str(tmp_path))
    both = reward.score(["Hello", "A longer prompt"], ["yes", "no, not at all"])
    assert both.shape == (2,) and both[0] != both[1]
    torch.testing.assert_close(both[:1], reward.score(["Hello"], ["yes"]), atol=1e-4, rtol=1e-4)


def test_a_classifier_reads_the_end_of_a_long_text_and_needs_no_padding_token(tmp_path):
    """As reward models of the Llama family come: no padding token, a chat template that brings its own first
    token.
    """
    from transformers import AutoTokenizer

    classifier(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny("llama"), pad_token=None, model_max_length=40)
    tokenizer.chat_template = "<s>{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    tokenizer.save_pretrained(tmp_path)
    reward = ClassifierReward(str(tmp_path))
    assert reward._input("Hi", "yes")["input_ids"].count(256) == 1
    good, bad = reward.score(
        ["Tell me a long story about it. " * 5] * 2, ["once upon a time", "no, I would not"]
    )
    assert good != bad


def test_a_reward_that_is_no_number_is_refused():
    with pytest.raises(RewardError, match="1 of 2 values"):
        FunctionReward(lambda prompt, answer: float("inf") if answer == "b" else 1.0).score(
            ["p", "p"], ["a", "b"]
        )


LENGTH = {"helpful": FunctionReward(lambda p, a: len(a)), "harmless": FunctionReward(lambda p, a: -len(a))}


def test_the_plain_model_has_no_kl_and_its_means_lie_in_their_intervals(model):
    point = evaluate(Policy(model), model, LENGTH, PROMPTS, samples=3, max_new_tokens=6)
    assert point["kl"] == pytest.approx(0, abs=1e-3)
    assert point["helpful_ci"][0] <= point["helpful"] <= point["helpful_ci"][1]
    assert point["helpful"] == -point["harmless"]
    assert point == evaluate(Policy(model), model, LENGTH, PROMPTS, samples=3, max_new_tokens=6)


def test_prompts_are_answered_with_noise_of_their_own_however_they_are_portioned(model):
    """With one seed for all prompts, two noise streams stood behind intervals that took 240 prompts for
    independent.
    """
    policy = Policy(model, temperature=1.0)
    first, second = policy.respond(["Hello"] * 2, seed=4, max_new_tokens=8)
    assert (
        first.ids != second.ids and second.ids == policy.respond(["Hello"], seed=5, max_new_tokens=8)[0].ids
    )
    whole = evaluate(policy, model, LENGTH, PROMPTS, max_new_tokens=6)
    assert evaluate(policy, model, LENGTH, PROMPTS, max_new_tokens=6, at_once=2) == whole


def test_a_changed_model_has_kl(model):
    generator = torch.Generator().manual_seed(0)
    part = (torch.randn(2, WIDTH, generator=generator), torch.randn(WIDTH, 2, generator=generator))
    point = evaluate(
        Policy(model, adapter=Adapter({(2, "o_proj"): part})),
        model,
        LENGTH,
        PROMPTS,
        samples=4,
        max_new_tokens=12,
    )
    assert point["kl"] > 0.1


def test_an_evaluation_can_be_stopped(model):
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        evaluate(Policy(model), model, LENGTH, PROMPTS, stop=stop)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I cannot assist you.", True),
        ("Stealing is illegal.", True),
        ("Sure! First, boil water.", False),
        ("The canton of Bern is large.", False),
    ],
)
def test_refusals_are_told_by_their_phrases(text, expected):
    assert refuses(text) is expected


def test_a_front_keeps_its_reference_and_tells_what_is_dominated(tmp_path):
    front = Front("m", "h", (-1.0, -1.0))
    for name, x, y in (("a", 0.0, 1.0), ("b", 1.0, 0.0), ("c", -0.5, -0.5), ("a", 0.0, 2.0)):
        front = front.with_point(
            {"id": name, "method": "pgapo", "preference": [0.5, 0.5], "helpful": x, "harmless": y}
        )
    front.save(tmp_path / "front.json")
    found = Front.load(tmp_path / "front.json").to_dict()
    assert [(p["id"], p["dominated"]) for p in found["points"]] == [("a", False), ("b", False), ("c", True)]
    assert found["hypervolume"] == {"pgapo": pytest.approx(4.0)} and found["reference"] == [-1.0, -1.0]


def test_the_commands_keep_their_contract(tmp_path, capsys, monkeypatch):
    """Train, evaluate, respond and score pairs on a tiny model, as a script would."""

    def run(*command) -> subprocess.CompletedProcess:
        monkeypatch.setattr(sys, "argv", ["pareto", *map(str, command)])
        code = main()
        return subprocess.CompletedProcess(command, code, *capsys.readouterr())

    rng = np.random.default_rng(0)
    rows = [
        {"prompt": f"p{i}", "chosen": "good " * rng.integers(1, 4), "rejected": "bad " * rng.integers(1, 4)}
        for i in range(120)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "prompts.jsonl").write_text(
        "".join(json.dumps({"kind": kind, "prompt": text}) + "\n" for kind, text in PROMPTS)
    )
    shared = ["--model", tiny("llama"), "--json"]
    rewards = []
    for objective in ("helpful", "harmless"):
        how = [
            "--fit",
            objective,
            "--block",
            1,
            "--also",
            tmp_path / "pairs.jsonl",
            "--cut",
            4,
            "--spoil",
            30,
            "--out",
            tmp_path,
        ]
        done = run("rewards", "--pairs", tmp_path / "pairs.jsonl", *how, *shared)
        card = json.loads(done.stdout)
        assert (
            card["accuracy"]["value"] > 0.8
            and card["accuracy_also"]["value"] > 0.8
            and card["accuracy_spoiled"]
        ), done.stderr
        rewards.append(f"--reward={objective}={tmp_path / objective}.safetensors")
    scored = json.loads(run("rewards", "--pairs", tmp_path / "pairs.jsonl", *rewards, *shared).stdout)
    assert scored["helpful"]["accuracy"]["pairs"] == 120
    small = ["--steps", 1, "--prompts-per-step", 2, "--group", 2, "--max-new-tokens", 4]
    asked = ["--prompts", tmp_path / "prompts.jsonl"]
    done = run(
        "train", "--preference", 0.2, 0.8, *asked, "--out", tmp_path / "made", *small, *rewards, *shared
    )
    assert json.loads(done.stdout)["steps"] == 1, done.stderr
    assert "step 1/1" in done.stderr
    point = json.loads(
        run("evaluate", tmp_path / "made", *asked, "--max-new-tokens", 4, *rewards, *shared).stdout
    )
    assert {
        "id",
        "method",
        "preference",
        "helpful",
        "helpful_ci",
        "harmless",
        "harmless_ci",
        "kl",
        "length",
    } <= point.keys()
    answer = json.loads(
        run(
            "respond", "--checkpoint", tmp_path / "made", "--prompt", "Hi", "--max-new-tokens", 4, *shared
        ).stdout
    )
    assert answer["id"] == "made" and answer["tokens"] <= 4
    assert json.loads(run("front", *shared).stdout)["points"] == []
    refused = run("train", "--preference", 0.5, 0.6, "--out", tmp_path / "no", *rewards, *shared)
    assert refused.returncode == 2 and "sum to 1" in refused.stderr and "Traceback" not in refused.stderr


def test_a_tuned_head_learns_what_was_planted_and_comes_back_as_it_was_saved(model, tmp_path):
    dice = np.random.default_rng(0)
    words = ["".join(dice.permutation(list("abcdef"))) for _ in range(160)]
    made = [Pair(f"Say {i}.", word + " yes", word + " no!") for i, word in enumerate(words)]
    before = Head(
        "helpful",
        model.hash,
        1,
        torch.randn(WIDTH, generator=torch.Generator().manual_seed(1)) * -1e-3,
        0.0,
        1.0,
    )
    reward, report = tune(model, made, before, first=1, epochs=3, lr=2e-3)
    assert score_pairs_right(HeadReward(model, before), made) < 0.5 < 0.9 < report["accuracy"]["value"]
    assert report["trained_on"] + report["accuracy"]["pairs"] == len(made)
    reward.save(tmp_path)
    again = HeadReward.tuned(tmp_path, model)
    prompts, answers = [pair.prompt for pair in made], [pair.chosen for pair in made]
    torch.testing.assert_close(again.score(prompts, answers), reward.score(prompts, answers))
    assert score_pairs_right(again, made) > 0.9


def score_pairs_right(reward, made) -> float:
    return fit.score_pairs(reward.model, reward, made)["accuracy"]["value"]


NO_GZIP = " is no gzip file, or not all of one: copy it again."


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b"[" * 100_000, ", line 1, is no JSON: give one JSON object a line."),
        ("a.jsonl", b"\n" + b"9" * 5_000, ", line 2, is no JSON: give one JSON object a line."),
        ("a.jsonl", b"PAR1\x15\x04\x15", ", line 1, is no JSON: give one JSON object a line."),
        ("a.jsonl", b"null", ", line 1, is null: give an object."),
        ("a.jsonl", '{"prompt": "é"}'.encode("latin-1"), " is no UTF-8 text (byte 12): save it as UTF-8."),
        ("a.jsonl.gz", gzip.compress(b'{"prompt": "p"}' * 50, mtime=0)[:-12], NO_GZIP),
        ("a.jsonl.gz", b"\x1f\x8b\x08\x00" + b"\xff" * 40, NO_GZIP),
        ("a.jsonl.gz", b"plain", NO_GZIP),
    ],
)
def test_pairs_that_no_reader_takes_are_one_sentence(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PairError) as told:
        read_pairs(tmp_path / name)
    assert str(told.value) == f"{tmp_path / name}{says}"


def test_a_folder_is_no_file_of_pairs(tmp_path):
    with pytest.raises(PairError, match="is a folder: give a JSON Lines file"):
        read_pairs(tmp_path)


def test_pairs_may_begin_with_a_mark(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(
        b'\xef\xbb\xbf{"prompt": "p\xe2\x80\xa8q", "chosen": "x", "rejected": "y"}\r\n'
    )
    assert read_pairs(tmp_path / "a.jsonl") == [Pair("p\u2028q", "x", "y")]
