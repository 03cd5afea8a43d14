"""Every family on every engine that takes it: what transformers and PEFT say, or one sentence before anything is
computed. docs/models.md is the table of it.
"""

import logging
from itertools import product

import pytest
import torch
import transformers as t

from lm import Adapter, load
from lm.engines.transformers import ReferenceEngine
from tests import matrix
from tests.families import FAMILIES, FULL, REFUSED
from tests.matrix import ENGINES, PROMPT, hooked
from tests.tiny import save, tiny

TAKEN = [(family, engine) for family, engine in product(FAMILIES, ENGINES) if matrix.takes(family, engine)]


@pytest.fixture(params=TAKEN, ids=" on ".join, scope="module")
def case(request):
    """A family, an engine, and the model on it."""
    family, engine = request.param
    return family, engine, matrix.loaded(family, engine)


def test_logits_are_transformers_own(case):
    _, _, model = case
    assert matrix.gap(matrix.logprobs(model.torch, PROMPT), model.logprobs([PROMPT], [1])[0]) < 1e-5


def test_the_residual_stream_is_transformers_own_after_every_layer(case):
    _, engine, model = case
    within = 5e-3 if engine == "packed" else 2e-3  # its weights have 11 bits
    texts = [PROMPT[:20] + PROMPT, PROMPT[:30], PROMPT[:20] + PROMPT[:5]]
    states = [matrix.states(model.torch, ids) for ids in texts]
    for pool, want in (("last", [s[:, -1] for s in states]), ("mean", [s.mean(1) for s in states])):
        torch.testing.assert_close(model.read(texts, pool=pool), torch.stack(want), atol=within, rtol=within)


def test_greedy_text_is_transformers_own(case):
    _, _, model = case
    assert matrix.greedy_gap(model, (), lambda ids: matrix.logprobs(model.torch, ids)) < 1e-3


def test_steered_text_is_that_of_a_plain_hook(case):
    _, _, model = case
    edit, change = matrix.edit(model.width)

    def steered(ids):
        with hooked(matrix.decoder_layers(model.torch), change):
            return matrix.logprobs(model.torch, ids)

    assert matrix.gap(steered(PROMPT), model.logprobs([PROMPT], [1], edits=[(edit,)])[0]) < 1e-5
    assert matrix.gap(steered(PROMPT), matrix.logprobs(model.torch, PROMPT)) > 1e-3
    assert matrix.greedy_gap(model, (edit,), steered) < 1e-3


def test_adapters_answer_as_peft_does(case):
    _, _, model = case
    folder = matrix.adapter_of(model.torch)
    have = model.logprobs([PROMPT], [1], adapters=[Adapter.load(folder)])[0]
    want = matrix.peft_logprobs(model.torch, folder)
    changed = matrix.gap(want, matrix.logprobs(model.torch, PROMPT))
    assert matrix.gap(want, have) < min(1e-5, 0.01 * changed)


def test_the_trainer_counts_what_the_sampler_drew(case):
    family, _, model = case
    if matrix.trains(family):
        assert matrix.trained_gap(model) < 1e-3
    else:
        with pytest.raises(ValueError, match="Training needs"):
            _ = model.stack


@pytest.mark.parametrize("family", FAMILIES)
def test_an_engine_is_picked_only_for_families_that_it_runs(family):
    ours = matrix.takes(family, "native")
    assert (type(load(str(tiny(family))).engine).__name__ == "NativeEngine") == ours
    for engine in ("native", "packed", "batched"):
        if not ours:
            with pytest.raises(ValueError, match=f"The {engine} engine cannot run"):
                load(str(tiny(family)), engine=engine)


@pytest.mark.parametrize("family", REFUSED)
def test_what_cannot_be_run_is_refused_with_what_can(tmp_path, family):
    folder = save(tmp_path / "model", REFUSED[family]())
    with pytest.raises(ValueError, match="cannot be run here .*Llama, Mistral, Qwen.* work") as error:
        load(str(folder))
    assert "\n" not in str(error.value)


def test_the_page_of_models_is_up_to_date():
    assert matrix.PAGE.read_text(encoding="utf-8") == matrix.page()


def test_a_family_that_counts_positions_from_elsewhere_counts_them_itself(tmp_path):
    """RoBERTa's begin behind its padding token's number, and not at 0."""
    config = t.RobertaConfig(**FULL, is_decoder=True)
    model = load(str(save(tmp_path, config)))
    assert matrix.gap(matrix.logprobs(model.torch, PROMPT), model.logprobs([PROMPT], [1])[0]) < 1e-5


def test_a_quantised_model_may_read_a_text_in_pieces_as_its_numbers_allow():
    """Where activations have a scale of all tokens that come at once, pieces are rounded otherwise than the whole."""

    def rounded(_module, inputs):
        scale = inputs[0].abs().max() / 63
        return ((inputs[0] / scale).round() * scale,)

    model = t.AutoModelForCausalLM.from_pretrained(tiny("llama"))
    for layer in model.model.layers:
        layer.mlp.down_proj.register_forward_pre_hook(rounded)
    with pytest.raises(ValueError, match="nats a token from those on a cache"):
        ReferenceEngine(model, 512)
    model.is_quantized = True
    assert ReferenceEngine(model, 512).layers == model.config.num_hidden_layers


def test_a_key_that_a_models_code_misses_is_told_as_missing(monkeypatch):
    def fails(*_, **__):
        raise KeyError(2)

    model = t.AutoModelForCausalLM.from_pretrained(tiny("llama"))
    monkeypatch.setattr(model, "forward", fails)
    with pytest.raises(ValueError, match=r"This llama model cannot be run here \(2 is missing\): Llama"):
        ReferenceEngine(model, 512)


def test_a_product_at_8_bits_is_not_told_each_time():
    """bitsandbytes would write 14,000 lines while a tiny model is prepared."""
    assert not logging.getLogger("bitsandbytes.autograd._functions").isEnabledFor(logging.WARNING)
