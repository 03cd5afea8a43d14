"""PEFT's own folders: every option of LoraConfig gives PEFT's answer, or is refused by name."""

import dataclasses
import json
import time
from pathlib import Path

import pytest
import torch
from peft import IA3Config, LoraConfig, LoraRuntimeConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BloomConfig, GPTNeoXConfig, OPTConfig, Phi3Config

from lm import Adapter, load, peft_folder
from tests.tiny import CONFIGS, LAYERS, WIDTH, save_adapter, tiny

IDS = [72, 101, 108, 108, 111, 32, 116, 104, 101, 114, 101]
SHAPE = {
    "vocab_size": 258,
    "hidden_size": WIDTH,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 257,
}
OTHERS = {
    "gpt2": CONFIGS["gpt2"],
    "gpt_neox": lambda: GPTNeoXConfig(
        **SHAPE,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=512,
    ),
    "phi3": lambda: Phi3Config(
        **SHAPE,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=512,
    ),
    "opt": lambda: OPTConfig(
        **SHAPE, num_hidden_layers=LAYERS, num_attention_heads=4, ffn_dim=96, word_embed_proj_dim=WIDTH
    ),
    "gemma2": CONFIGS["gemma2"],
}


def trained(base: Path, folder: Path, **options) -> Path:
    """An adapter folder as PEFT saves it after a little training."""
    torch.manual_seed(1)
    options = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj", "down_proj"]} | options
    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(task_type="CAUSAL_LM", **options)
    )
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    save_adapter(tuned, folder)
    return folder


def peft_says(base: Path, folder: Path) -> torch.Tensor:
    """log p of every next token, [len - 1, vocabulary], by PEFT."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0, :-1].log_softmax(-1)


def tradewind_says(base: Path, adapter: Adapter | None, engine: str = "reference") -> torch.Tensor:
    return load(str(base), engine=engine).logprobs([IDS], [1], adapters=[adapter])[0]


HONOURED = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "rank and alpha patterns": {
        "rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.down_proj": 3},
        "alpha_pattern": {"v_proj": 16, r"^model\.layers\.2\.self_attn\.q_proj": 1},
    },
    "rank patterns with rslora": {
        "use_rslora": True,
        "rank_pattern": {"q_proj": 9},
        "alpha_pattern": {"q_proj": 2},
    },
    "some layers": {"layers_to_transform": [0, 2]},
    "one layer": {"layers_to_transform": 1, "layers_pattern": "layers"},
    "all linear": {"target_modules": "all-linear"},
    "a regular expression": {"target_modules": r".*\.[12]\..*(q|up)_proj"},
    "excluded modules": {"target_modules": "all-linear", "exclude_modules": ["k_proj"]},
    "dropout": {"lora_dropout": 0.5},
    "gaussian": {"init_lora_weights": "gaussian"},
    "random": {"init_lora_weights": False},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "mica": {"init_lora_weights": "mica"},
    "eva": {"init_lora_weights": "eva"},
    "fan_in_fan_out": {"fan_in_fan_out": True},
    "no biases to save": {"bias": "all"},
    "runtime": {"runtime_config": LoraRuntimeConfig(ephemeral_gpu_offload=True)},
}


@pytest.mark.parametrize("options", HONOURED.values(), ids=HONOURED)
def test_an_option_that_is_honoured_gives_the_answer_of_peft(options, tmp_path):
    base = tiny("llama")
    adapter = Adapter.load(trained(base, tmp_path, **options))
    expected = peft_says(base, tmp_path)
    assert (expected - tradewind_says(base, None)).abs().max() > 1e-2
    torch.testing.assert_close(tradewind_says(base, adapter), expected, atol=1e-4, rtol=1e-4)


REFUSED = {
    "use_dora": {"use_dora": True},
    "lora_bias": {"lora_bias": True},
    "alora_invocation_tokens": {"alora_invocation_tokens": [10, 11]},
    "layer_replication": {"layer_replication": [[0, 2], [1, 3]]},
    "embed_tokens": {"trainable_token_indices": [3, 4]},
    "lm_head": {"modules_to_save": ["lm_head"]},
    "layernorm": {"modules_to_save": ["norm"]},
    "lm_head.lora": {"target_modules": ["q_proj", "lm_head"]},
    "embed_tokens.lora": {"target_modules": ["q_proj", "embed_tokens"]},
    "'pissa'": {"init_lora_weights": "pissa"},
    "'pissa_niter_4'": {"init_lora_weights": "pissa_niter_4"},
    "'olora'": {"init_lora_weights": "olora"},
    "'OLoRA'": {"init_lora_weights": "OLoRA"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_that_is_not_computed_is_refused_by_its_name_in_one_sentence(name, tmp_path):
    folder = trained(tiny("llama"), tmp_path, **REFUSED[name])
    with pytest.raises(ValueError, match=name.split(".lora")[0]) as caught:
        Adapter.load(folder)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_biases_that_were_trained_are_refused(tmp_path):
    for bias in ("all", "lora_only"):
        with pytest.raises(ValueError, match="bias"):
            Adapter.load(trained(tiny("qwen2"), tmp_path / bias, bias=bias))


def test_a_converted_pissa_is_a_plain_adapter(tmp_path):
    """What the refusal advises: PEFT writes the change from the first state, and it fits the model as it was."""
    base = tiny("llama")
    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(
            r=4, target_modules=["q_proj", "down_proj"], init_lora_weights="pissa", task_type="CAUSAL_LM"
        ),
    )
    tuned.save_pretrained(tmp_path / "first")
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.02)
        expected = tuned.eval()(torch.tensor([IDS])).logits[0, :-1].log_softmax(-1)
    tuned.save_pretrained(tmp_path / "last", path_initial_model_for_weight_conversion=str(tmp_path / "first"))
    adapter = Adapter.load(tmp_path / "last")
    torch.testing.assert_close(tradewind_says(base, adapter), expected, atol=1e-3, rtol=1e-3)


def test_every_option_of_the_installed_format_has_its_place():
    """A new version of PEFT with a new option fails here, so that somebody decides what it means."""
    known = peft_folder.HONOURED | peft_folder.HARMLESS | set(peft_folder.REFUSED)
    assert {field.name for field in dataclasses.fields(LoraConfig)} <= known
    assert not peft_folder.HARMLESS & set(peft_folder.REFUSED)


def with_config(folder: Path, **changes) -> Path:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"use_hyperlora": True}, "use_hyperlora"),
        ({"quantum_config": {"depth": 2}}, "quantum_config"),
        ({"target_parameters": ["mlp.experts.gate_up_proj"]}, "target_parameters"),
        ({"megatron_config": {"a": 1}}, "megatron_config"),
        ({"arrow_config": {"top_k": 2}}, "arrow_config.*train a plain LoRA"),
        ({"monteclora_config": {"n": 2}}, "monteclora_config"),
        ({"use_qalora": True}, "use_qalora"),
        ({"use_bdlora": {"nblocks": 2}}, "use_bdlora"),
        ({"kasa_config": {"beta": 1}}, "kasa_config"),
        ({"init_lora_weights": "corda"}, "corda"),
        ({"init_lora_weights": "loftq"}, "loftq"),
        ({"init_lora_weights": "lora_ga"}, "lora_ga"),
        ({"init_lora_weights": "tomorrow"}, "tomorrow"),
        ({"peft_type": "ADALORA"}, "ADALORA"),
        ({"peft_type": None}, "peft_type None"),
        ({"r": "four"}, "r 'four'"),
        ({"lora_alpha": None}, "lora_alpha None"),
        ({"r": 0}, "r 0"),
        ({"lora_alpha": float("nan")}, "lora_alpha nan: give a number"),
        ({"lora_alpha": float("inf")}, "lora_alpha inf: give a number"),
        ({"lora_alpha": 1e308}, "lora_alpha 1e.308: give a number"),
        ({"alpha_pattern": {"v_proj": "16"}}, "alpha_pattern of v_proj '16': give a number"),
        ({"alpha_pattern": {"v_proj": None}}, "alpha_pattern of v_proj None"),
        ({"alpha_pattern": ["v_proj"]}, "alpha_pattern .*v_proj.*: give an object"),
        ({"alpha_pattern": {"(": 4}}, "alpha_pattern .*: give an object of numbers by regular expressions"),
        ({"rank_pattern": {"[v": 4}}, "rank_pattern .*: give an object of numbers by regular expressions"),
        ({"rank_pattern": {"v_proj": "4"}}, "rank_pattern of v_proj '4': give a number above 0"),
        ({"init_lora_weights": []}, r"init_lora_weights \[\]"),
        ({"init_lora_weights": {"a": 1}}, "init_lora_weights {'a': 1}"),
        ({"target_modules": "(q_proj"}, "target_modules .*: give a regular expression"),
        (
            {"target_modules": r".*\.q_proj"},
            "changes .* which target_modules, .* or layers_to_transform .* leaves out",
        ),
        ({"target_modules": ["q_proj", "v_proj"]}, "changes mlp.down_proj of layer 0, which target_modules"),
        ({"layers_to_transform": [0, 1]}, "of layer 2, which target_modules, .* or layers_to_transform"),
        ({"exclude_modules": ["v_proj"]}, r"changes self_attn\.v_proj of layer 0, which .* exclude_modules"),
        (
            {"exclude_modules": r".*\.1\.mlp\..*"},
            r"changes mlp\.down_proj of layer 1, which .* exclude_modules",
        ),
        ({"exclude_modules": "(q_proj"}, "exclude_modules .*: give a regular expression"),
        ({"exclude_modules": 3}, "exclude_modules 3: give a regular expression or a list"),
        ({"target_modules": {"q_proj": 1}}, "target_modules .*: give a regular expression or a list"),
        ({"modules_to_save": ["lm_head"]}, r"has modules_to_save \['lm_head'\], whose tensors its .* lacks"),
        ({"trainable_token_indices": [3]}, r"has trainable_token_indices \[3\], whose tensors its .* lacks"),
        ({"layers_to_transform": 1}, "of layer 0, which target_modules, .* or layers_to_transform"),
        ({"r": 8}, "has rank 4 in .* of layer 0, .*says 8"),
        ({"rank_pattern": {"v_proj": 2}}, r"has rank 4 in self_attn\.v_proj of layer 0, .*says 2"),
    ],
)
def test_what_a_config_asks_for_is_refused_by_name(changes, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        Adapter.load(with_config(trained(tiny("llama"), tmp_path), **changes))


@pytest.mark.parametrize("option", ["alpha_pattern", "rank_pattern", "target_modules"])
def test_a_pattern_without_end_is_refused_in_time(option, tmp_path):
    """It would hold Python's lock, and with it every visitor."""
    folder, endless = trained(tiny("llama"), tmp_path), "(?:(?:a|aa)+)+b"
    path = folder / "adapter_model.safetensors"
    save_file({name.replace("layers", "a" * 60): tensor for name, tensor in load_file(path).items()}, path)
    given = f"base.*{endless}|model.{endless}.*" if option == "target_modules" else {endless: 4}
    began = time.monotonic()
    with pytest.raises(ValueError, match="a pattern that takes too long: name the modules in plain words"):
        Adapter.load(with_config(folder, **{"target_modules": None, option: given}))
    assert time.monotonic() - began < 5


def test_unknown_options_at_their_empty_values_are_no_reason_to_refuse(tmp_path):
    folder = with_config(trained(tiny("llama"), tmp_path), use_hyperlora=False, quantum_config=None, more={})
    assert len(Adapter.load(folder).parts) == 3 * LAYERS


def test_other_kinds_of_adapters_are_refused_by_their_name(tmp_path):
    config = IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj"], feedforward_modules=[])
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny("llama")), config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="IA3"):
        Adapter.load(tmp_path)


@pytest.mark.parametrize("family", OTHERS)
def test_families_with_matrices_of_other_names_answer_as_peft_does(family, tmp_path):
    torch.manual_seed(0)
    base = tmp_path / "base"
    model = AutoModelForCausalLM.from_config(OTHERS[family]())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(base)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (base / name).write_bytes((tiny("llama") / name).read_bytes())
    folder = trained(base, tmp_path / "tuned", target_modules="all-linear")
    adapter, expected = Adapter.load(folder), peft_says(base, folder)
    torch.testing.assert_close(tradewind_says(base, adapter), expected, atol=1e-3, rtol=1e-3)
    adapter.save(tmp_path / "again", "base")
    again = Adapter.load(tmp_path / "again")
    torch.testing.assert_close(peft_says(base, tmp_path / "again"), expected, atol=1e-3, rtol=1e-3)
    assert again.stack == adapter.stack and again.parts.keys() == adapter.parts.keys()


def test_an_adapter_of_another_family_is_refused_on_every_engine(tmp_path):
    folder = trained(tiny("gpt2"), tmp_path, target_modules=["c_attn"])
    for engine in ("native", "packed", "batched", "reference"):
        with pytest.raises(ValueError, match=r"transformer\.h"):
            tradewind_says(tiny("llama"), Adapter.load(folder), engine)


@pytest.mark.parametrize("engine", ["native", "packed", "batched", "reference"])
def test_ranks_that_differ_are_computed_by_every_engine_and_written_as_peft_reads_them(engine, tmp_path):
    base = tiny("llama")
    adapter = Adapter.load(trained(base, tmp_path / "one", **HONOURED["rank and alpha patterns"]))
    Adapter.mix([(adapter, 1.0)]).save(tmp_path / "two", "tiny")
    expected = peft_says(base, tmp_path / "one")
    torch.testing.assert_close(peft_says(base, tmp_path / "two"), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(tradewind_says(base, adapter, engine), expected, atol=2e-2, rtol=1e-2)


def test_halves_in_16_bits_are_read_and_values_that_are_no_numbers_refused(tmp_path):
    folder = trained(tiny("llama"), tmp_path)
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, path)
    assert all(a.dtype == b.dtype == torch.float32 for a, b in Adapter.load(folder).parts.values())
    save_file({name: tensor * float("nan") for name, tensor in tensors.items()}, path)
    with pytest.raises(ValueError, match="no finite numbers"):
        Adapter.load(folder)


def test_a_tower_that_is_no_language_model_is_refused(tmp_path):
    folder = trained(tiny("llama"), tmp_path)
    path = folder / "adapter_model.safetensors"
    tensors = {
        name.replace("model.layers", "vision_tower.encoder.layers"): t for name, t in load_file(path).items()
    }
    save_file(tensors, path)
    with pytest.raises(ValueError, match="vision_tower"):
        Adapter.load(folder)


def test_adapters_of_two_families_are_not_mixed(tmp_path):
    llama = Adapter.load(trained(tiny("llama"), tmp_path / "a"))
    gpt2 = Adapter.load(trained(tiny("gpt2"), tmp_path / "b", target_modules=["c_attn"]))
    with pytest.raises(ValueError, match="cannot be mixed"):
        Adapter.mix([(llama, 0.5), (gpt2, 0.5)])


def test_bloom_has_its_matrices_under_names_of_its_own(tmp_path):
    config = BloomConfig(vocab_size=258, hidden_size=WIDTH, n_layer=LAYERS, n_head=4)
    base = tmp_path / "base"
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    folder = trained(base, tmp_path / "tuned", target_modules=["query_key_value"])
    assert {module for _, module in Adapter.load(folder).parts} == {"self_attention.query_key_value"}


def renamed(folder: Path, rename) -> Path:
    path = folder / "adapter_model.safetensors"
    save_file({rename(name): tensor.clone() for name, tensor in load_file(path).items()}, path)
    return folder


PREFIX = "base_model.model."
SPELLINGS = {
    "without a prefix": lambda name: name.removeprefix(PREFIX),
    "with the prefix twice": lambda name: PREFIX + name,
    "default": lambda name: name.replace(".weight", ".default.weight"),
    "a name of its own": lambda name: name.replace(".weight", ".run-1_b.weight"),
    "compiled": lambda name: "_orig_mod." + name,
    "compiled inside": lambda name: name.replace(PREFIX, PREFIX + "_orig_mod."),
    "data parallel": lambda name: "module." + name,
    "FSDP": lambda name: name.replace(".self_attn", "._fsdp_wrapped_module.self_attn"),
    "checkpointed": lambda name: name.replace(".mlp", "._checkpoint_wrapped_module.mlp"),
    "of the model without its head": lambda name: name.replace("model.layers", "layers"),
    "of a multimodal model": lambda name: name.replace("model.layers", "model.language_model.layers"),
    "of an older multimodal model": lambda name: name.replace("model.layers", "language_model.model.layers"),
}


@pytest.mark.parametrize("rename", SPELLINGS.values(), ids=SPELLINGS)
def test_other_spellings_of_the_same_matrices_are_the_same_adapter(rename, tmp_path):
    base = tiny("llama")
    folder = trained(base, tmp_path, alpha_pattern={r"layers\.1\..*v_proj": 16})
    plain = Adapter.load(folder)
    other = Adapter.load(renamed(folder, rename))
    assert torch.equal(tradewind_says(base, other), tradewind_says(base, plain))
    assert Adapter.mix([(plain, 0.5), (other, 0.5)]).parts.keys() == plain.parts.keys()


@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("default", None)])
def test_a_file_of_several_adapters_is_refused(first, second, tmp_path):
    folder = trained(tiny("llama"), tmp_path)
    path = folder / "adapter_model.safetensors"
    names = [f".{name}" if name else "" for name in (first, second)]
    tensors = load_file(path).items()
    save_file({k.replace(".weight", f"{name}.weight"): t.clone() for name in names for k, t in tensors}, path)
    with pytest.raises(ValueError, match=f"holds several adapters, {first} and {second or 'one without'}"):
        Adapter.load(folder)


def test_a_path_that_is_no_adapter_folder_says_what_is_missing(tmp_path):
    folder = trained(tiny("llama"), tmp_path / "outer" / "mine")
    for path, says in (
        (folder / "adapter_config.json", "adapter_config.json is missing"),
        (folder.parent, "adapter_config.json is missing .*: give mine in it"),
        (tmp_path / "nothing", "adapter_config.json is missing"),
    ):
        with pytest.raises(ValueError, match=f"{path.name} is no adapter folder: {says}"):
            Adapter.load(path)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ValueError, match=r"adapter_model.safetensors is missing .*pickles are not\)\.$"):
        Adapter.load(folder)


@pytest.mark.parametrize("shape", [(), (0,), (4,)])
def test_halves_that_training_has_not_gathered_are_refused(shape, tmp_path):
    """As DeepSpeed's ZeRO-3 leaves them."""
    folder = trained(tiny("llama"), tmp_path)
    path = folder / "adapter_model.safetensors"
    save_file({name: torch.zeros(shape) for name in load_file(path)}, path)
    with pytest.raises(ValueError, match="lacks a half of a matrix, or all of them: copy it again"):
        Adapter.load(folder)


@pytest.mark.parametrize("family", ["llama4_text", "phimoe"])
def test_a_router_that_returns_more_than_a_product_has_no_place_for_an_adapter(family):
    engine = load(str(tiny(family))).engine
    name = next(path for path, _ in engine._layers[0].named_modules() if path.endswith("router"))
    part = torch.zeros(1, WIDTH), torch.zeros(4, 1)
    with pytest.raises(ValueError, match=f"changes {name}, which does not fit this model, whose layer 0 has"):
        engine.fits(Adapter({(0, name): part}, engine._stack))
    engine.fits(Adapter({(0, "q_proj"): (torch.zeros(1, WIDTH), torch.zeros(WIDTH, 1))}, engine._stack))


def test_an_adapter_of_shared_experts_is_not_written_as_one_of_all_experts(tmp_path):
    """As PEFT 0.21 reads their names beside fused experts, whatever the config's form."""
    halves = torch.ones(2, WIDTH), torch.ones(32, 2)
    adapter = Adapter({(1, "mlp.shared_experts.gate_proj"): halves})
    with pytest.raises(
        ValueError, match="^The adapter changes mlp.shared_experts.gate_proj, .*: keep the folder"
    ):
        adapter.save(tmp_path / "out", "tiny")
    assert not (tmp_path / "out").exists()
