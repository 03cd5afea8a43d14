"""Sequence classifiers and functions as rewards: which number counts, alone and in company, long texts, one-sentence errors."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BartConfig,
    BertConfig,
    CanineConfig,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    OPTConfig,
    RobertaConfig,
)

from lm import load
from pareto.rewards import ClassifierReward, RewardError, named
from tests.tiny import tiny

SMALL = {
    "vocab_size": 258,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
BERT = SMALL | {"max_position_embeddings": 128}
FAMILIES = {
    "bert": lambda **more: BertConfig(**BERT, **more),
    "roberta": lambda **more: RobertaConfig(**BERT, pad_token_id=1, **more),
    "distilbert": lambda **more: DistilBertConfig(
        vocab_size=258, dim=32, n_layers=1, n_heads=2, hidden_dim=32, max_position_embeddings=128, **more
    ),
    "gpt2": lambda **more: GPT2Config(
        vocab_size=258, n_embd=32, n_layer=2, n_head=2, n_positions=128, **{"pad_token_id": 257} | more
    ),
    "opt": lambda **more: OPTConfig(
        vocab_size=258, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, ffn_dim=32,
        word_embed_proj_dim=32, max_position_embeddings=128, **more,
    ),
    "llama": lambda **more: LlamaConfig(**BERT, **more),
}  # fmt: skip
TWO = {
    "num_labels": 2,
    "id2label": {0: "NEGATIVE", 1: "POSITIVE"},
    "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
}


def classifier(folder: Path, family: str, tokenizer: dict | None = None, dtype=None, **more) -> str:
    """A random classifier's folder; tokenizer: what differs from the byte tokenizer of tests.tiny."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(FAMILIES[family](**more))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    (model.to(dtype) if dtype else model).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny("llama"), **tokenizer or {}).save_pretrained(folder)
    return str(folder)


def logits(name: str, *texts) -> torch.Tensor:
    """What transformers says of one input: [labels]."""
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForSequenceClassification.from_pretrained(name, dtype=torch.float32)
    with torch.no_grad():
        return model(**tokenizer(*texts, return_tensors="pt")).logits[0]


ANSWERS = ["good", "bad", "so so"]


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", None])
def test_the_label_that_is_named_counts(tmp_path, problem):
    name = classifier(tmp_path, "bert", problem_type=problem, **TWO)
    expected = torch.stack([logits(name, f"Q\n\n{answer}") for answer in ANSWERS])
    for label, index, sign in (
        ("NEGATIVE", 0, 1),
        ("POSITIVE", 1, 1),
        ("positive", 1, 1),
        ("-NEGATIVE", 0, -1),
    ):
        got = ClassifierReward(f"{name}#{label}").score(["Q"] * 3, ANSWERS)
        torch.testing.assert_close(got, sign * expected[:, index], atol=1e-5, rtol=1e-4)


def test_several_labels_are_asked_for_and_listed(tmp_path):
    name = classifier(tmp_path, "bert", **TWO)
    for what in (name, f"{name}#", f"{name}#FRIENDLY", f"{name}#-", f"{name}#2"):
        with pytest.raises(RewardError, match="NEGATIVE, POSITIVE"):
            ClassifierReward(what)


def test_labels_without_names_have_those_of_the_config(tmp_path):
    name = classifier(tmp_path, "bert", num_labels=3)
    got = ClassifierReward(f"{name}#LABEL_2").score(["Q"], ["good"])
    torch.testing.assert_close(got[0], logits(name, "Q\n\ngood")[2], atol=1e-5, rtol=1e-4)


def changed(name: str, **values) -> None:
    """A classifier's folder with other values in its config."""
    path = Path(name) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("labels", "asked", "index", "sign"),
    [
        (("-1", "1"), "-1", 0, 1),
        (("-1", "1"), "--1", 0, -1),
        (("-1", "1"), "1", 1, 1),
        (("c", "C"), "C", 1, 1),
        (("a#", "b"), "a#", 0, 1),
        ((0, 1), "1", 1, 1),
    ],
)
def test_labels_are_taken_as_they_are_written(tmp_path, labels, asked, index, sign):
    name = classifier(tmp_path, "bert", num_labels=2)
    changed(name, id2label=dict(enumerate(labels)), label2id={})
    got = ClassifierReward(f"{name}#{asked}").score(["Q"], ["good"])
    torch.testing.assert_close(got[0], sign * logits(name, "Q\n\ngood")[index], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("names", "asked", "index"),
    [
        ({"1": "a", "2": "b"}, "a", 1),  # counted from 1
        ({"1": "a", "2": "b"}, "LABEL_0", 0),
        ({"0": "a", "7": "b"}, "LABEL_1", 1),
        ({"0": "ne\u0301gatif", "1": "positif"}, "N\u00e9gatif", 0),
        ({"0": "n\u00e9gatif", "1": "positif"}, "ne\u0301gatif", 0),
    ],
)
def test_labels_are_found_however_they_are_counted_and_composed(tmp_path, names, asked, index):
    name = classifier(tmp_path, "bert", num_labels=2)
    changed(name, id2label=names, label2id={})
    got = ClassifierReward(f"{name}#{asked}").score(["Q"], ["good"])
    torch.testing.assert_close(got[0], logits(name, "Q\n\ngood")[index], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"hidden_size": "wide"}, "expected int, got str"),
        ({"pad_token_id": 9999}, "Padding_idx must be within"),
        ({"id2label": ["a"]}, "cannot be loaded"),
        ({"model_type": "nothing"}, "cannot be loaded"),
        (
            {"quantization_config": {"quant_method": "awq", "bits": 4, "zero_point": True}},
            "cannot be loaded .*gptqmodel",
        ),
    ],
)
def test_a_config_that_fits_no_classifier_is_one_sentence(tmp_path, values, says):
    name = classifier(tmp_path, "bert", num_labels=1)
    changed(name, **values)
    with pytest.raises(RewardError, match=says) as error:
        ClassifierReward(name)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_a_tokenizer_of_another_model_is_refused_before_anything_is_scored(tmp_path):
    name = classifier(tmp_path, "bert", num_labels=1)
    model = AutoModelForSequenceClassification.from_config(
        BertConfig(**BERT | {"vocab_size": 100}, num_labels=1)
    )
    model.save_pretrained(name)
    with pytest.raises(RewardError, match="tokenizer with token 257, and its model knows 0 to 99"):
        ClassifierReward(name)


def test_a_classifier_that_fails_on_a_text_is_refused_before_anything_is_scored(tmp_path):
    """Its tokenizer writes no end token, from which BART reads its answer."""
    name = classifier(tmp_path, "bert", num_labels=1)
    config = BartConfig(vocab_size=258, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
                        encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=128, num_labels=1, pad_token_id=0, eos_token_id=257)  # fmt: skip
    AutoModelForSequenceClassification.from_config(config).save_pretrained(name)
    with pytest.raises(RewardError, match=r"cannot score a text \(.*<eos> token"):
        ClassifierReward(name)


def test_a_family_that_hashes_letters_is_no_fault_of_the_app(tmp_path):
    """CANINE has no embedding of tokens that its tokenizer's could be held against, and reads no two letters."""
    name = classifier(tmp_path, "bert", num_labels=1)
    shape = {key: size for key, size in BERT.items() if key != "vocab_size"}
    config = CanineConfig(**shape, num_hash_buckets=64, num_hash_functions=2, num_labels=1)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(name)
    with pytest.raises(RewardError, match="cannot score a text"):
        ClassifierReward(name)


def test_a_classifier_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    classifier(tmp_path / "mine", "bert", num_labels=1)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ClassifierReward("~/mine").score(["Q"], ["good"]).isfinite().all()


@pytest.mark.parametrize("labels", [("x", "x"), ("X", "x")])
def test_a_label_that_several_logits_have_is_refused(tmp_path, labels):
    name = classifier(tmp_path, "bert", num_labels=2)
    changed(name, id2label=dict(enumerate(labels)), label2id={})
    if labels == ("x", "x"):
        with pytest.raises(RewardError, match="has 2 labels 'x'"):
            ClassifierReward(f"{name}#x")
    else:
        assert ClassifierReward(f"{name}#x").identity.endswith("#x")


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_how_a_classifier_was_called_when_it_was_saved_changes_nothing(tmp_path, family):
    name = classifier(tmp_path, family, num_labels=1, pad_token_id=257)
    want = ClassifierReward(name).score(["Q"], ["good"])
    changed(name, return_dict=False, output_hidden_states=True)
    assert torch.equal(ClassifierReward(name).score(["Q"], ["good"]), want)


def test_weights_that_do_not_fit_or_are_codes_are_refused_in_one_sentence(tmp_path):
    name = classifier(tmp_path / "labels", "bert", num_labels=2)
    changed(name, id2label={"0": "a", "1": "b", "2": "c"}, label2id={})
    with pytest.raises(RewardError, match=r"holds classifier.\w+ as \[2.*asks for \[3.*mend") as error:
        ClassifierReward(f"{name}#a")
    assert "\n" not in str(error.value)
    name = classifier(tmp_path / "codes", "llama", num_labels=1)
    state = load_file(f"{name}/model.safetensors")
    matrix = "model.layers.0.mlp.up_proj.weight"
    state |= {matrix: state[matrix].mul(50).to(torch.int8), matrix + "_scale": torch.ones(1)}
    save_file(state, f"{name}/model.safetensors", {"format": "pt"})
    with pytest.raises(RewardError, match="stored quantised .*up_proj.weight_scale"):
        ClassifierReward(name)


def test_a_single_logit_needs_no_label_and_its_sign_can_be_turned(tmp_path):
    name = classifier(tmp_path, "bert", num_labels=1)
    plain, turned = (ClassifierReward(name + suffix).score(["Q"], ["good"]) for suffix in ("", "#-"))
    torch.testing.assert_close(plain, -turned)
    torch.testing.assert_close(plain, logits(name, "Q\n\ngood"), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "tokenizer",
    [
        {"padding_side": "right"},
        {"padding_side": "left"},
        {"pad_token": None},
        {"padding_side": "left", "pad_token": "</s>"},
    ],
    ids=["right", "left", "no pad token", "pad is eos, left"],
)
def test_a_text_scores_the_same_alone_and_in_company(tmp_path, family, tokenizer):
    name = classifier(tmp_path, family, tokenizer, num_labels=1)
    answers = ["Yes.", "No, " * 20, "", "Yes.", "Nay.", "Yes.</s>", "</s></s>"]
    reward = ClassifierReward(name)
    together = reward.score(["Hi"] * len(answers), answers)
    alone = torch.cat([reward.score(["Hi"], [answer]) for answer in answers])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together[0], logits(name, "Hi\n\nYes.")[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        together.flip(0), reward.score(["Hi"] * len(answers), answers[::-1]), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_decoder_without_a_padding_token_reads_the_last_token(tmp_path, family):
    name = classifier(tmp_path, family, {"pad_token": None}, num_labels=1, pad_token_id=None)
    got = ClassifierReward(name).score(["Hi", "Hi"], ["Yes.", "No, never."])
    torch.testing.assert_close(
        got, torch.cat([logits(name, "Hi\n\nYes."), logits(name, "Hi\n\nNo, never.")]), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_long_texts_lose_their_start(tmp_path, family):
    """The tokenizer knows no length; the model has 128 positions, RoBERTa 126 of them."""
    reward = ClassifierReward(classifier(tmp_path, family, num_labels=1))
    one, same, other = reward.score(
        ["A" * 400, "B" * 500, "A" * 400], ["word " * 60 + "end"] * 2 + ["word " * 60 + "END"]
    )
    torch.testing.assert_close(one, same)
    assert abs(one - other) > 1e-4


def test_a_tokenizer_may_know_a_shorter_length_than_the_model(tmp_path):
    name = classifier(tmp_path, "bert", {"model_max_length": 20}, num_labels=1)
    got = ClassifierReward(name).score(["prompt"], ["x" * 50])
    torch.testing.assert_close(got, logits(name, "x" * 20), atol=1e-5, rtol=1e-4)


def test_a_text_can_be_a_pair_or_the_answer_alone(tmp_path):
    name = classifier(tmp_path, "bert", num_labels=1)
    for form, texts in (("pair", ("Q", "good")), ("answer", ("good",)), ("joined", ("Q\n\ngood",))):
        got = ClassifierReward(f"{name}?form={form}").score(["Q"], ["good"])
        torch.testing.assert_close(got, logits(name, *texts), atol=1e-5, rtol=1e-4)
    for form in ("chat", "poem"):
        with pytest.raises(RewardError, match="give chat, joined, pair, answer"):
            ClassifierReward(f"{name}?form={form}")


@pytest.mark.parametrize("template", ["{{ messages[0].content + 1 }}", "{{ 1 // 0 }}", "{{ messages() }}"])
def test_a_chat_template_that_fails_is_one_sentence(tmp_path, template):
    name = classifier(tmp_path, "bert", {"chat_template": template}, num_labels=1)
    with pytest.raises(RewardError, match=r"takes no such chat \(.*\): add \?form=joined to its name.$"):
        ClassifierReward(name).score(["Hi"], ["there"])


def test_a_tokenizer_that_is_not_there_or_knows_an_odd_length_is_one_sentence(tmp_path):
    name = classifier(tmp_path, "bert", {"model_max_length": 64.0}, num_labels=1)
    assert ClassifierReward(name).score(["Hi"], ["word " * 50]).isfinite().all()
    config = tmp_path / "tokenizer_config.json"
    config.write_text(config.read_text().replace("64.0", '"64"'))
    with pytest.raises(RewardError, match="model_max_length '64': give a number"):
        ClassifierReward(name)
    for path in tmp_path.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(RewardError, match="has no tokenizer, or one without words"):
        ClassifierReward(name)


def test_a_chat_template_that_takes_no_such_chat_is_told(tmp_path):
    name = classifier(tmp_path, "llama", num_labels=1)
    path = tmp_path / "tokenizer_config.json"
    template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}{{ messages[-1]['content'] }}"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))
    reward = ClassifierReward(name)
    torch.testing.assert_close(reward.score(["Q"], ["good"]), logits(name, "good"), atol=1e-5, rtol=1e-4)
    with pytest.raises(RewardError, match="no system role"):
        reward.score([(("system", "Be kind."), ("user", "Q"))], ["good"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_16_bits_are_computed_in_float32_on_a_cpu(tmp_path, dtype):
    name = classifier(tmp_path, "bert", dtype=dtype, num_labels=1)
    got = ClassifierReward(name).score(["Q"], ["good"])
    torch.testing.assert_close(got, logits(name, "Q\n\ngood"), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("value", ["auto", "torch.float16", 16])
def test_the_type_of_numbers_is_read_from_the_files_whatever_the_config_says(tmp_path, value):
    name = classifier(tmp_path, "bert", num_labels=1)
    want = logits(name, "Q\n\ngood")
    changed(name, dtype=value)
    torch.testing.assert_close(ClassifierReward(name).score(["Q"], ["good"]), want, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("os:nofn", "nofn"),
        ("nomod:fn", "nomod"),
        ("os:sep", "is no function"),
        ("", "is empty"),
        ("no/such/folder/at/all", "cannot be loaded"),
        ("#LABEL", "cannot be read"),
        ("missing.safetensors", "is no reward head"),
    ],
)
def test_what_names_no_reward_is_told_in_one_line(what, says):
    with pytest.raises(RewardError, match=says) as caught:
        named(what, load(str(tiny("llama"))))
    assert "\n" not in str(caught.value)


def test_a_language_model_is_no_classifier():
    with pytest.raises(RewardError, match=r"no weights for score\.weight"):
        ClassifierReward(str(tiny("llama")))


def test_a_function_that_fails_is_told_with_its_answer():
    reward = named("posixpath:join", load(str(tiny("llama"))))
    with pytest.raises(RewardError, match="posixpath:join fails on 'good'"):
        reward.score(["Q"], ["good"])
