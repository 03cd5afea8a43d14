"""From a folder to a model: what is read, what is cached, what is refused before anything is loaded."""

import hashlib
import json
import os
import re
import shutil
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from common import digests
from lm import Row, Sampling, SourceError, load, loading, memory, packed_cache
from lm import folder as folders
from lm.codec import PromptError
from lm.packed_cache import _keep
from tests.tiny import CHATML, CONFIGS, LAYERS, SHAPE, save, save_tokenizer, tiny

PROMPT = tuple(b"Tell me, what do you see from up there? ")
LONG = PROMPT * 5
NATIVE_GAP = 0.02
"""Nats a token that rounding the weights of these models to 8 bits may cost."""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of a tiny Llama that a test may break."""
    return Path(shutil.copytree(tiny("llama"), tmp_path / "model"))


def change(folder: Path, name: str, **values) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def expected(folder: Path, ids=LONG) -> torch.Tensor:
    """transformers' own log-probabilities."""
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(folder).eval()(torch.tensor([ids])).logits[0]
    return logits.float().log_softmax(-1)[:-1]


def gap(folder: Path, engine: str, ids=LONG, want: torch.Tensor | None = None) -> float:
    """KL(transformers || an engine of ours), nats a token. want: transformers' own, where they are known."""
    want = expected(folder, ids) if want is None else want
    have = load(str(folder), engine=engine).logprobs([ids], [1])[0]
    return float((want.exp() * (want - have)).sum(-1).mean())


def packed(cache: Path) -> Path:
    """The weights of the one model in the cache."""
    [path] = (cache / "models").glob("*/packed.safetensors")
    return path


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\x00" * len(data)]
)
def test_a_damaged_model_of_the_cache_is_made_again(cache, damage):
    first = load(str(tiny("llama")), engine="native")
    path, whole = packed(cache), packed(cache).read_bytes()
    path.unlink()  # the first model has it mapped
    path.write_bytes(damage(whole))
    assert load(str(tiny("llama")), engine="native").hash == first.hash
    assert packed(cache).stat().st_size == len(whole)
    assert not list((cache / "models").glob("tmp*"))


def test_two_first_starts_at_once_both_get_the_model(cache, monkeypatch):
    folder, both, exact, models = str(tiny("llama")), threading.Barrier(2), packed_cache._keep, []

    def together(made: Path, target: Path) -> None:
        both.wait(60)
        exact(made, target)

    monkeypatch.setattr(packed_cache, "_keep", together)
    threads = [
        threading.Thread(target=lambda: models.append(load(folder, engine="native"))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(models) == 2 and models[0].hash == models[1].hash and packed(cache).exists()


def test_loads_at_once_leave_transformers_as_it_is(tmp_path):
    """It swaps functions while it builds a model, and puts back what it met: of several at once, a swapped one."""
    from transformers import PreTrainedModel

    before = PreTrainedModel.tie_weights, PreTrainedModel.init_weights, torch.nn.init.normal_
    folders = [save(tmp_path / str(seed), CONFIGS["gpt2"](), seed) for seed in range(6)]
    threads = [threading.Thread(target=lambda folder=folder: load(str(folder))) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (PreTrainedModel.tie_weights, PreTrainedModel.init_weights, torch.nn.init.normal_) == before


def test_a_start_that_comes_second_leaves_the_model_of_the_first(cache, tmp_path):
    load(str(tiny("llama")), engine="native")
    target, made = packed(cache).parent, tmp_path / "model"
    made.mkdir()
    (made / "packed.safetensors").write_bytes(b"of the second start")
    _keep(made, target)
    assert packed(cache).read_bytes() != b"of the second start"
    (target / "packed.safetensors").write_bytes(b"cut off")
    _keep(made, target)
    assert packed(cache).read_bytes() == b"of the second start"


def test_only_packed_weights_are_cached(cache, folder):
    """A Trainer's output folder also holds its optimizer and its checkpoints."""
    for name in ("checkpoint-500/optimizer.pt", "checkpoint-500/model.safetensors", ".git/lfs/objects/a"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0" * 1000)
    for name in ("optimizer.pt", "training_args.bin", "README.md"):
        (folder / name).write_bytes(b"\0" * 1000)
    hash = load(str(folder), engine="native").hash
    assert hash == load(str(tiny("llama")), engine="native").hash
    assert [path.name for path in (cache / "models").rglob("*") if path.is_file()] == ["packed.safetensors"]


ROPES = {
    "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 4.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 64},
    "yarn with all options": {
        "factor": 4.0,
        "original_max_position_embeddings": 64,
        "attention_factor": 1.3,
        "beta_fast": 16.0,
        "beta_slow": 2.0,
        "truncate": False,
    },
    "longrope": {
        "short_factor": [1.0 + 0.1 * i for i in range(8)],
        "long_factor": [2.0 + 0.5 * i for i in range(8)],
        "factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "proportional": {"partial_rotary_factor": 0.5},
    "default": {},
    "default, turned in part": {"partial_rotary_factor": 0.5},
}  # fmt: skip
OURS = ("llama3", "linear", "yarn", "yarn with all options", "default", "default, turned in part")


@pytest.mark.parametrize("family", ["llama", "qwen3"])
@pytest.mark.parametrize("rope", ROPES)
def test_every_rope_is_transformers_own(tmp_path, rope, family):
    values = {"rope_type": rope.split(" ")[0].strip(","), "rope_theta": 500.0, **ROPES[rope]}
    folder = save(tmp_path / "model", CONFIGS[family]())
    change(folder, "config.json", rope_parameters=values)
    model = load(str(folder))
    assert (type(model.engine).__name__ == "NativeEngine") == (rope in OURS)
    want = expected(folder)
    assert gap(folder, "auto", want=want) < (NATIVE_GAP if rope in OURS else 1e-6)
    assert gap(folder, "auto", want=want) < (NATIVE_GAP if rope in OURS else 1e-6), "again, from the cache"
    assert gap(folder, "reference", want=want) < 1e-6
    if rope in OURS:
        assert gap(folder, "batched", want=want) < NATIVE_GAP
    else:
        with pytest.raises(ValueError, match="rope type|each head"):
            load(str(folder), engine="batched")


@pytest.mark.parametrize(
    ("family", "values"),
    [
        *(("llama", {"rope_parameters": {**ROPES["longrope"], "rope_type": "longrope", "rope_theta": 500.0,
                                         "original_max_position_embeddings": turn}}) for turn in (8, 14, 23)),
        *(("llama", {"rope_parameters": {**ROPES["dynamic"], "rope_type": "dynamic", "rope_theta": 500.0},
                     "max_position_embeddings": longest}) for longest in (8, 23)),
        ("gpt2", {"n_positions": 12}),
    ],
)  # fmt: skip
def test_a_rope_that_turns_early_and_a_short_context_are_no_fault(tmp_path, family, values):
    config = CONFIGS[family]()
    for name, value in values.items():
        setattr(config, name, value)
    folder = save(tmp_path / "model", config)
    model = load(str(folder), engine="reference")
    assert gap(folder, "reference", PROMPT[: model.context]) < 1e-6
    assert model.context == values.get("max_position_embeddings", values.get("n_positions", 512))


@pytest.mark.parametrize("key", ["rope_type", "type"])
@pytest.mark.parametrize("rope", ["llama3", "linear", "dynamic", "yarn", "longrope"])
def test_the_old_form_of_rope_is_the_new_one(folder, tmp_path, rope, key):
    change(folder, "config.json", rope_parameters={"rope_type": rope, "rope_theta": 500.0, **ROPES[rope]})
    new = load(str(folder)).logprobs([PROMPT], [1])[0]
    old = Path(shutil.copytree(folder, tmp_path / "old"))
    config = json.loads((old / "config.json").read_text())
    del config["rope_parameters"]
    (old / "config.json").write_text(
        json.dumps(config | {"rope_theta": 500.0, "rope_scaling": {key: rope, **ROPES[rope]}})
    )
    assert torch.equal(load(str(old)).logprobs([PROMPT], [1])[0], new)


@pytest.mark.parametrize("engine", ["native", "packed", "batched", "reference"])
@pytest.mark.parametrize("tie", [True, False])
def test_a_head_of_its_own_is_kept_whatever_the_config_says(folder, engine, tie):
    state = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(5)
    embedding = state["model.embed_tokens.weight"]
    state["lm_head.weight"] = embedding + 0.5 * torch.randn(embedding.shape, generator=generator)
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    change(folder, "config.json", tie_word_embeddings=tie)
    assert gap(folder, engine) < NATIVE_GAP
    assert gap(folder, engine) < NATIVE_GAP, "again, from the cache"
    model = load(str(folder), engine=engine)
    ids = torch.tensor([LONG])
    stack = model.stack.logits(model.stack.upper(model.stack.embed(ids), 0, lambda *_: None))[0, :-1]
    for trained in (stack, model.torch(ids).logits[0, :-1]):
        want = expected(folder)
        assert float((want.exp() * (want - trained.detach().log_softmax(-1))).sum(-1).mean()) < NATIVE_GAP


@pytest.mark.parametrize("engine", ["native", "packed", "batched", "reference"])
def test_a_head_that_is_tied_and_not_in_the_file_is_the_embedding(tmp_path, engine):
    folder = save(tmp_path / "tied", LlamaConfig(**SHAPE, tie_word_embeddings=True))
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert gap(folder, engine) < NATIVE_GAP


def test_a_head_that_is_neither_tied_nor_in_the_file_is_refused(folder):
    """transformers would draw it by lot."""
    state = load_file(folder / "model.safetensors")
    del state["lm_head.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    for engine in ("auto", "reference"):
        with pytest.raises(SourceError, match="lack lm_head.weight"):
            load(str(folder), engine=engine)


def templates(folder: Path) -> dict:
    """Where a chat template may be, as functions that put one there."""

    def in_config(template: str) -> None:
        change(folder, "tokenizer_config.json", chat_template=template)

    def in_list(template: str) -> None:
        named = [{"name": "default", "template": template}, {"name": "tool_use", "template": "-"}]
        change(folder, "tokenizer_config.json", chat_template=named)

    def in_file(template: str) -> None:
        (folder / "chat_template.jinja").write_text(template)

    return {"tokenizer_config.json": in_config, "list": in_list, "chat_template.jinja": in_file}


@pytest.mark.parametrize("place", ["tokenizer_config.json", "list", "chat_template.jinja"])
def test_a_mended_chat_template_is_noticed(folder, place):
    def asked() -> str:
        model = load(str(folder), engine="native")
        return model.tokenizer.decode(model.chat_ids("Hi"))

    for template in ("A{{ messages[0]['content'] }}", "B{{ messages[0]['content'] }}"):
        templates(folder)[place](template)
        assert asked() == template[0] + "Hi"


def test_more_templates_of_a_folder_are_read(folder):
    (folder / "chat_template.jinja").write_text("A{{ messages[0]['content'] }}")
    load(str(folder), engine="native")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("rag")
    assert load(str(folder), engine="native").tokenizer.chat_template["rag"] == "rag"


def test_mended_stop_tokens_are_noticed(folder):
    assert load(str(folder), engine="native").stop_ids == {257}
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [257, 9]}))
    assert load(str(folder), engine="native").stop_ids == {257, 9}
    change(folder, "config.json", eos_token_id=[12])
    assert load(str(folder), engine="native").stop_ids == {257, 9, 12}
    change(folder, "tokenizer_config.json", eos_token="<s>")
    assert load(str(folder), engine="native").stop_ids == {256, 257, 9, 12}


@pytest.mark.parametrize(
    ("eos", "others", "stops", "end"),
    [("</s>", [9], {257, 9}, 257), (None, [12, 9], {12, 9}, 9), ("<new>", [9, -1, 10**30], {9}, 9), (None, None, set(), None)],
)  # fmt: skip
def test_a_text_ends_with_the_tokenizers_token_or_another_that_the_model_knows(
    folder, eos, others, stops, end
):
    change(folder, "tokenizer_config.json", eos_token=eos)
    change(folder, "config.json", eos_token_id=None)
    change(folder, "generation_config.json", eos_token_id=others)
    model = load(str(folder), engine="native")
    assert (model.stop_ids, model.end) == (stops, end)


@pytest.mark.parametrize("name", ["tokenizer.model", "tiktoken.model"])
def test_a_tokenizer_that_takes_another_package_says_which(folder, name):
    (folder / "tokenizer.json").rename(folder / name)
    with pytest.raises(
        SourceError, match=f"in {name} alone, .*: install sentencepiece, or tiktoken .*json.$"
    ):
        load(str(folder))


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "gemma2"])
def test_a_model_without_a_tokenizer_is_one_sentence(tmp_path, family):
    folder = Path(shutil.copytree(tiny(family), tmp_path / "model"))
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(SourceError, match="^model has no tokenizer.*: fetch the model again.$"):
        load(str(folder))


def test_a_tokenizer_that_has_no_token_for_a_text_says_so_when_it_is_asked(folder):
    raw = Tokenizer(models.BPE(vocab={"你": 0}, merges=[]))
    PreTrainedTokenizerFast(tokenizer_object=raw).save_pretrained(folder)
    model = load(str(folder), engine="native")
    assert model.text_ids("你") == [0]
    with pytest.raises(ValueError, match="^The prompt is empty: give at least one token.$"):
        model.generate([Row(tuple(model.text_ids("Hi")), Sampling(max_new_tokens=1))])


def test_a_tokenizer_that_reads_no_text_is_one_sentence(folder):
    change(folder, "tokenizer_config.json", model_max_length="512")
    with pytest.raises(
        SourceError, match="^The tokenizer of model reads no text .*: fetch the model again.$"
    ):
        load(str(folder), engine="native")


def test_a_stop_token_that_also_stands_for_the_unknown_stops(folder):
    """As GPT-2's, which begins, ends and replaces texts with one token."""
    change(
        folder,
        "tokenizer_config.json",
        eos_token="</s>",
        unk_token="</s>",
        bos_token="</s>",
        pad_token="</s>",
    )
    assert load(str(folder), engine="native").stop_ids == {257}


def test_a_template_of_the_models_processor_is_read(folder):
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": CHATML}))
    model = load(str(folder), engine="native")
    assert model.tokenizer.decode(model.chat_ids("Hi")).startswith("<|im_start|>user\nHi")


BY_NAME = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": CHATML}]


@pytest.mark.parametrize("given", [BY_NAME, {each["name"]: each["template"] for each in BY_NAME}], ids=type)
def test_a_processors_templates_by_name_are_read_as_a_tokenizers(folder, given):
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": given}))
    model = load(str(folder), engine="native")
    change(folder, "tokenizer_config.json", chat_template=given)
    (folder / "chat_template.json").unlink()
    own = AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": "Hi"}]
    assert model.tokenizer.chat_template == own.chat_template
    want = own.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert model.codec.decode(model.chat_ids(chat)) == want


@pytest.mark.parametrize("given", [3, True, [1, 2], ["default"], {"default": 3}, [{"name": "default"}]])
def test_a_template_that_is_no_text_is_one_sentence(folder, given):
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": given}))
    with pytest.raises(SourceError, match="The chat template of model is .*: give a text, or a list of"):
        load(str(folder), engine="native")


@pytest.mark.parametrize("template", ["{% if %}", "{{ nothing.here }}", "{{ raise_exception('no') }}"])
def test_a_template_that_fails_is_told_at_the_load_and_text_is_continued(folder, template, caplog):
    change(folder, "tokenizer_config.json", chat_template=template)
    model = load(str(folder), engine="native")
    [told] = [record.getMessage() for record in caplog.records if "chat template" in record.getMessage()]
    assert (
        told.startswith("The chat template of model refuses this chat (")
        and "plain text to be continued" in told
    )
    assert model.generate([Row(tuple(model.text_ids("Hi")), Sampling(max_new_tokens=2))])[0].ids
    with pytest.raises(PromptError, match=re.escape(told)):
        model.chat_ids("Hi")


def test_a_mended_tokenizer_is_noticed(folder):
    text = "ab <x> cd"
    before = load(str(folder), engine="native").text_ids(text)
    raw = json.loads((folder / "tokenizer.json").read_text())
    raw["model"]["vocab"]["ab"] = raw["model"]["vocab"].pop("ÿ")
    raw["model"]["merges"] = [["a", "b"]]
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    after = load(str(folder), engine="native").text_ids(text)
    assert len(after) == len(before) - 1


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("llama", {"rms_norm_eps": 0.5}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0}}),
        ("mistral", {"sliding_window": 4}),
        ("mistral", {"sliding_window": None}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 4, "layer_types": ["full_attention"] * 3}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 4, "layer_types": ["sliding_attention"] * 3}),
        ("llama", {"sliding_window": None}),
    ],
)  # fmt: skip
def test_a_mended_config_is_noticed_by_every_engine(tmp_path, family, values):
    folder = Path(shutil.copytree(tiny(family), tmp_path / "model"))
    before = load(str(folder), engine="native")
    change(folder, "config.json", **values)
    for engine in ("native", "batched", "reference"):
        assert gap(folder, engine) < NATIVE_GAP
    assert load(str(folder), engine="native").hash == before.hash


def test_layers_that_attend_in_different_ways_are_left_to_transformers(tmp_path):
    config = Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=4, max_window_layers=1)
    folder = save(tmp_path / "model", config)
    assert type(load(str(folder)).engine).__name__ == "ReferenceEngine"
    assert gap(folder, "auto") < 1e-6


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def to_pickles(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")


def to_shards(folder: Path) -> None:
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size="100KB")
    (folder / "model.safetensors").unlink(missing_ok=True)


def without_a_shard(folder: Path) -> None:
    to_shards(folder)
    sorted(folder.glob("model-*.safetensors"))[1].unlink()


def with_a_cut_shard(folder: Path) -> None:
    to_shards(folder)
    cut(sorted(folder.glob("model-*.safetensors"))[1])


def without_a_tensor(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def without_keys(*names: str):
    def remove(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(
            json.dumps({key: value for key, value in config.items() if key not in names})
        )

    return remove


def with_an_index(change):
    """Shards whose index names other files."""

    def changed(folder: Path) -> None:
        to_shards(folder)
        path = folder / "model.safetensors.index.json"
        path.write_text(json.dumps({"weight_map": change(json.loads(path.read_text())["weight_map"])}))

    return changed


def to_an_adapter(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "owner/base"}))


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


BROKEN = {
    "pickles": (to_pickles, "holds pickles, which can run code .*pytorch_model.bin"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "no .safetensors weights"),
    "a GGUF file": (
        lambda folder: (folder / "model.safetensors").rename(folder / "model.Q8_0.gguf"),
        "holds a GGUF model, .*model.Q8_0.gguf",
    ),
    "weights cut short": (lambda folder: cut(folder / "model.safetensors"), "bytes where its header says"),
    "weights of zeros": (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 99), "cut short or no"),
    "empty weights": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "cut short or no"),
    "no tensors": (lambda folder: save_file({}, folder / "model.safetensors"), "hold no tensors"),
    "a huge header": (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 99), "cut short or no"),
    "a missing shard": (without_a_shard, "lacks 1 of"),
    "a shard cut short": (with_a_cut_shard, "bytes where its header says"),
    "an empty index": (
        lambda folder: (folder / "model.safetensors").rename(folder / "a.safetensors")
        and (folder / "model.safetensors.index.json").write_text("{}"),
        "names no weight files",
    ),
    "an index of a list": (with_an_index(list), "names no weight files"),
    "an index of numbers": (with_an_index(lambda named: dict.fromkeys(named, 3)), "names no weight files"),
    "an index that leads elsewhere": (
        with_an_index(lambda named: named | {"a": "../model.safetensors"}), "names ../model.safetensors, which lies outside"
    ),
    "an index of an absolute path": (
        with_an_index(lambda named: named | {"a": "/model.safetensors"}), "which lies outside of the folder"
    ),
    "a file that only the index has": (
        with_an_index(lambda named: named | {"a": "model-9.safetensors"}), "lacks 1 of .* model-9.safetensors"
    ),
    "shards without an index": (
        lambda folder: (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors"),
        "neither model.safetensors nor",
    ),
    "a missing tensor": (without_a_tensor, "lack model.layers.1.mlp.up_proj.weight"),
    "other sizes": (lambda folder: change(folder, "config.json", intermediate_size=128), "hold model.layers.0"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "config cut short": (lambda folder: cut(folder / "config.json"), "config.json cannot be read"),
    "config of another kind": (lambda folder: (folder / "config.json").write_text("[]"), "holds no JSON object"),
    "no model_type": (without_keys("model_type", "architectures"), "has no model_type"),
    "a deep config": (lambda folder: (folder / "config.json").write_text("[" * 100_000), "config.json cannot be read"),
    "a padding token out of reach": (
        lambda folder: change(folder, "config.json", pad_token_id=258), "Padding_idx must be within"
    ),
    "a base of no number": (
        lambda folder: change(folder, "config.json", rope_parameters={"rope_type": "default", "rope_theta": "1e4"}),
        "unsupported operand",
    ),
    "a factor of no number": (
        lambda folder: change(folder, "config.json", rope_parameters={"rope_type": "linear", "factor": "4"}), "unsupported operand"
    ),
    "an unheard-of rope": (
        lambda folder: change(folder, "config.json", rope_parameters={"rope_type": "ntk", "factor": 4.0}),
        "rope type 'ntk', and transformers knows default, linear",
    ),
    "a text for a number": (
        lambda folder: change(folder, "config.json", rms_norm_eps="1e-5"), r"rms_norm_eps': TypeError: .*expected float, got str"
    ),
    "a stop token in words": (
        lambda folder: (folder / "generation_config.json").write_text('{"eos_token_id": "257"}'), "eos_token_id '257': give the number"
    ),
    "stop tokens in lists": (
        lambda folder: (folder / "generation_config.json").write_text('{"eos_token_id": [[257]]}'), r"eos_token_id \[257\]: give the"
    ),
    "a stop token that is true": (
        lambda folder: (folder / "generation_config.json").write_text('{"eos_token_id": true}'), "eos_token_id True: give the"
    ),
    "unknown model_type": (lambda folder: change(folder, "config.json", model_type="nothing"), "none that transformers"),
    "nonsense": (lambda folder: change(folder, "config.json", hidden_size="wide"), "none that transformers knows"),
    "not causal": (lambda folder: change(folder, "config.json", model_type="vit"), "writes no text"),
    "an encoder and a decoder": (
        lambda folder: change(folder, "config.json", model_type="t5", architectures=["T5ForConditionalGeneration"]),
        "takes its prompt in an encoder: give a causal",
    ),
    "a classifier": (
        lambda folder: change(folder, "config.json", architectures=["LlamaForSequenceClassification"]),
        "LlamaForSequenceClassification, which writes no text",
    ),
    "an adapter": (to_an_adapter, "holds an adapter: name its base model, owner/base"),
    "a model and an adapter": (lambda folder: (folder / "adapter_config.json").write_text("{}"), "both a model and"),
    "no tokenizer": (without_tokenizer, "no tokenizer that can be read"),
    "stop tokens cut short": (lambda folder: (folder / "generation_config.json").write_text("{"), "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["auto", "reference"])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder_is_one_sentence(cache, folder, kind, engine):
    breaks, message = BROKEN[kind]
    breaks(folder)
    with pytest.raises(SourceError, match=message) as error:
        load(str(folder), engine=engine)
    assert "\n" not in str(error.value)
    assert not list((cache / "models").glob("*")), "nothing of it is kept"


def test_a_config_without_architectures_is_enough(folder):
    without_keys("architectures")(folder)
    assert gap(folder, "auto") < NATIVE_GAP


def test_shards_are_one_model(folder):
    to_shards(folder)
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    assert gap(folder, "native") < NATIVE_GAP


def test_shards_may_lie_in_a_folder_of_their_own(folder):
    to_shards(folder)
    (folder / "weights").mkdir()
    for shard in folder.glob("model-*.safetensors"):
        shard.rename(folder / "weights" / shard.name)
    path = folder / "model.safetensors.index.json"
    named = json.loads(path.read_text())["weight_map"]
    path.write_text(
        json.dumps({"metadata": {}, "weight_map": {key: f"weights/{name}" for key, name in named.items()}})
    )
    assert gap(folder, "native") < NATIVE_GAP
    assert gap(folder, "reference") < 1e-6


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("kept", ["model.lm_head.weight", "a tied head alone"])
def test_a_head_under_another_name_is_the_one_that_transformers_takes(folder, kept, engine):
    state = load_file(folder / "model.safetensors")
    if kept == "a tied head alone":
        change(folder, "config.json", tie_word_embeddings=True)
        del state["model.embed_tokens.weight"]
    else:
        state[kept] = state.pop("lm_head.weight")
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    assert gap(folder, engine) < NATIVE_GAP


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("mistral", {"sliding_window": 0}),
        ("mistral", {"sliding_window": -1}),
        ("qwen2", {"layer_types": ["sliding_attention"] * LAYERS, "sliding_window": None}),
        ("llama", {"num_hidden_layers": 0}),
    ],
)
def test_layers_that_see_nothing_are_refused_on_every_engine(tmp_path, family, values):
    folder = save(tmp_path / "model", CONFIGS[family]())
    change(folder, "config.json", **values)
    for engine in ("auto", "reference", "native", "batched"):
        with pytest.raises(ValueError, match="cannot be run here|look back at nothing|has no layers"):
            load(str(folder), engine=engine)


def test_names_without_their_model_are_understood(folder, tmp_path):
    """As a base model is saved, whose head is tied or added later; and what nobody asks for is left out."""
    state = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("model."): tensor for name, tensor in state.items()}
    bare["rotary_emb.inv_freq"] = torch.ones(8)
    save_file(bare, folder / "model.safetensors", {"format": "pt"})
    assert gap(folder, "native") < NATIVE_GAP


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_every_type_are_packed(folder, kind):
    state = {name: tensor.to(kind) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    assert gap(folder, "native") < 2 * NATIVE_GAP


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./nowhere", "a/b/c", "~/nowhere-at-all"])
def test_a_path_that_is_no_folder_is_no_hub_id(name):
    with pytest.raises(SourceError, match="is no folder here"):
        load(name)


def test_a_file_is_no_model(folder):
    with pytest.raises(SourceError, match="is a file"):
        load(str(folder / "config.json"))


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_tokenizer_of_another_model_is_refused(tmp_path, engine):
    small = CONFIGS["llama"]()
    small.vocab_size = 200
    small.eos_token_id = small.bos_token_id = small.pad_token_id = None
    folder = save(tmp_path / "small", small)
    with pytest.raises(SourceError, match="has token 257, and the model knows 0 to 199"):
        load(str(folder), engine=engine)


def test_a_chat_token_that_the_model_was_never_given_is_refused(folder):
    save_tokenizer(folder, CHATML, added=["<|im_start|>", "<|im_end|>"])
    with pytest.raises(SourceError, match="has token 259, and the model knows 0 to 257"):
        load(str(folder), engine="native")


def test_an_added_token_that_no_chat_needs_is_no_harm(folder):
    save_tokenizer(folder, added=["<image>"])
    assert gap(folder, "native") < NATIVE_GAP


def test_memory_is_asked_for_before_weights_are_read(folder, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 1000)
    for engine in ("auto", "reference", "batched"):
        with pytest.raises(
            SourceError, match="needs about .* MB of memory to be loaded, and 0.0 MB are free"
        ):
            load(str(folder), engine=engine)


def test_a_packed_model_is_mapped_and_needs_no_memory_of_its_own(folder, monkeypatch):
    load(str(folder), engine="native")
    monkeypatch.setattr(memory, "available", lambda: 1000)
    model = load(str(folder), engine="native")
    assert model.generate([Row(PROMPT, Sampling(max_new_tokens=3))])[0].ids


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "max", "memory.current": "5000", "memory.stat": "inactive_file 10\n"}, None),
        ({"memory.max": "9000", "memory.current": "5000", "memory.stat": "inactive_file 1000\n"}, 5000),
        ({"memory.max": "9000", "memory.current": "9900", "memory.stat": "anon 1000\n"}, 0),
        ({}, None),
    ],
)
def test_a_container_has_what_its_bound_leaves(tmp_path, monkeypatch, files, left):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "CGROUPS", ((tmp_path, "memory.max", "memory.current", "inactive_file"),))
    assert memory.available() == left if left is not None else memory.available() > 10_000


@pytest.mark.parametrize("place", ["a file", "no folder"])
def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" if place == "a file" else Path("/proc/nowhere")
    monkeypatch.setenv("TRADEWIND_CACHE", str(target))
    with pytest.raises(OSError, match="cannot be written .*set TRADEWIND_CACHE"):
        load(str(tiny("llama")), engine="native")


def test_a_full_disk_is_one_sentence(monkeypatch, cache):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packed_cache, "save", full)
    with pytest.raises(SourceError, match="No space left on device.*set TRADEWIND_CACHE"):
        load(str(tiny("llama")), engine="native")
    assert not list((cache / "models").iterdir())


QUANTISED = {
    "bitsandbytes": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "gptq": {"bits": 4, "group_size": 128},
    "awq": {"bits": 4, "group_size": 128, "version": "gemm", "zero_point": True},
    "unheard of": {"bits": 3},
}


@pytest.mark.parametrize("method", QUANTISED)
def test_a_quantised_model_whose_package_is_missing_is_one_sentence(folder, cache, method):
    change(folder, "config.json", quantization_config={"quant_method": method, **QUANTISED[method]})
    with pytest.raises(SourceError, match=f"stored quantised \\({method}\\)") as error:
        load(str(folder))
    assert "\n" not in str(error.value) and not (cache / "models").exists()


def in_blocks(folder: Path, side: int) -> torch.Tensor:
    """Stores a model's MLPs as DeepSeek and Qwen do: 8-bit floats with a scale a block. Returns transformers' own
    log-probabilities of the numbers that these stand for.
    """
    state = load_file(folder / "model.safetensors")
    stored, plain = dict(state), dict(state)
    for name in (name for name in state if ".mlp." in name):
        padded = torch.zeros([-(-size // side) * side for size in state[name].shape])
        within = tuple(map(slice, state[name].shape))
        padded[within] = state[name]
        blocks = padded.unfold(0, side, side).unfold(1, side, side)
        scales = blocks.abs().amax((2, 3)) / 448
        wide = scales.repeat_interleave(side, 0).repeat_interleave(side, 1)[within]
        stored[name] = (state[name] / wide).to(torch.float8_e4m3fn)
        stored[f"{name}_scale_inv"], plain[name] = scales, stored[name].float() * wide
    save_file(plain, folder / "model.safetensors", {"format": "pt"})
    answer = expected(folder)
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    quantised = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [side, side]}
    change(folder, "config.json", quantization_config=quantised)
    return answer


def test_floats_of_8_bits_in_blocks_are_the_numbers_that_they_stand_for(folder, monkeypatch):
    want = in_blocks(folder, 32)
    torch.testing.assert_close(load(str(folder)).logprobs([LONG], [1])[0], want)
    monkeypatch.setattr(memory, "available", lambda: folders.stored_bytes([folder / "model.safetensors"]))
    with pytest.raises(SourceError, match="of memory to be loaded"):  # they are undone to 32 bits
        load(str(folder))


def test_a_matrix_that_ends_within_a_block_is_refused_where_transformers_misreads_it(folder):
    in_blocks(folder, 64)
    with pytest.raises(
        SourceError, match=r"blocks of 64 x 64, and \S+mlp\S+ of (96 x 64|64 x 96) ends within one"
    ):
        load(str(folder))


@pytest.mark.parametrize("engine", ["native", "packed"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_at_4_bits_every_engine_answers_as_transformers_on_the_same_weights(family, engine):
    model = load(str(tiny(family)), engine=engine, bits=4)
    with torch.no_grad():
        want = model.torch(torch.tensor([LONG])).logits[0, :-1].log_softmax(-1)
    have = model.logprobs([LONG], [1])[0]
    assert float((want.exp() * (want - have)).sum(-1).mean()) < (1e-6 if engine == "native" else 1e-3)


def test_at_4_bits_rows_are_the_same_alone_and_in_any_company(folder):
    model = load(str(folder), engine="native", bits=4)
    rows = [Row(PROMPT[:n], Sampling(1.0, n, 12)) for n in (5, 9, 30, 31, 40, 12, 7)]
    together = model.generate(rows)
    for row, run in zip(rows, together, strict=True):
        [alone] = model.generate([row])
        assert (alone.ids, alone.logprobs) == (run.ids, run.logprobs)


def test_a_model_at_4_bits_is_another_one_and_half_as_large(folder, cache):
    eight, four = load(str(folder)), load(str(folder), bits=4)
    assert eight.hash == load(str(folder), bits=8).hash != four.hash
    small, large = sorted(
        sum(
            tensor.numel() * tensor.element_size()
            for name, tensor in load_file(path).items()
            if ".codes" in name and name[0].isdigit()
        )
        for path in (cache / "models").glob("*/packed.safetensors")
    )
    assert large == 2 * small
    want, states = AutoModelForCausalLM.from_pretrained(folder).state_dict(), four.torch.state_dict()
    for name in ("model.embed_tokens.weight", "model.layers.2.mlp.down_proj.weight"):
        moved = float((states[name] - want[name]).abs().max() / want[name].abs().max())
        assert (moved < 0.01) == ("embed" in name) and moved < 0.1


def test_the_environment_has_bits_for_all_that_is_packed(folder, monkeypatch):
    monkeypatch.setenv("TRADEWIND_BITS", "4")
    assert load(str(folder)).hash == load(str(folder), bits=4).hash != load(str(folder), bits=8).hash
    assert load(str(tiny("gemma2"))).generate([Row(PROMPT, Sampling(max_new_tokens=2))])[0].ids
    monkeypatch.setenv("TRADEWIND_BITS", "5")
    with pytest.raises(ValueError, match="TRADEWIND_BITS is '5': give 4 or 8"):
        load(str(folder))


@pytest.mark.parametrize(
    ("family", "engine", "bits", "says"),
    [
        ("llama", "auto", 5, "Bits is 5: give 4 or 8"),
        ("llama", "reference", 4, "the reference engine packs no weights"),
        ("gemma2", "auto", 4, "family gemma2 is not one of"),
        (None, "auto", 4, "comes in bits of its own"),
    ],
)
def test_bits_that_nothing_is_packed_at_are_refused(monkeypatch, tmp_path, family, engine, bits, says):
    if family is None:
        (tmp_path / "packed.safetensors").write_bytes(b"")
        monkeypatch.setattr(loading, "default_folder", lambda report: tmp_path)
    with pytest.raises(ValueError, match=says) as error:
        load(None if family is None else str(tiny(family)), engine=engine, bits=bits)
    assert "\n" not in str(error.value)


def with_scales(suffix: str):
    """Stores the first matrix as codes, with scales under a name that a way of quantising has for them."""

    def quantised(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        name = "model.layers.0.self_attn.q_proj.weight"
        state[name] = state[name].mul(99).to(torch.int8)
        state[name.removesuffix("weight") + suffix] = torch.full((1,), 1 / 99)
        save_file(state, folder / "model.safetensors", {"format": "pt"})

    return quantised


SCALES = (
    "weight_scale",
    "weight_scale_inv",
    "weight_scale_2",
    "weight_packed",
    "qweight",
    "scales",
    "SCB",
    "weight.absmax",
    "weight.quant_state.bitsandbytes__nf4",
)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
@pytest.mark.parametrize("suffix", SCALES)
def test_codes_without_a_word_in_the_config_are_not_taken_for_weights(tmp_path, cache, family, suffix):
    folder = Path(shutil.copytree(tiny(family), tmp_path / "model"))
    with_scales(suffix)(folder)
    with pytest.raises(SourceError, match=f"stored quantised .*q_proj.{suffix}.*no quantization_config"):
        load(str(folder))
    assert not (cache / "models").exists()


def test_whole_numbers_are_not_taken_for_weights(tmp_path, cache):
    folder = Path(shutil.copytree(tiny("llama"), tmp_path / "model"))
    state = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    save_file(
        state | {name: state[name].mul(99).to(torch.int8)}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(SourceError, match=f"stored quantised .*{name}"):
        load(str(folder))
    assert not (cache / "models").exists()


def test_tensors_of_other_uses_beside_the_weights_are_no_harm(folder):
    state = load_file(folder / "model.safetensors")
    state |= {
        f"model.layers.0.self_attn.{name}": torch.ones(8) for name in ("rotary_emb.inv_freq", "k_scale")
    }
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    assert gap(folder, "native") < NATIVE_GAP


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e7])
@pytest.mark.parametrize("tensor", ["mlp.up_proj.weight", "input_layernorm.weight"])
def test_numbers_that_no_grid_holds_are_refused(folder, cache, tensor, number):
    state = load_file(folder / "model.safetensors")
    state[f"model.layers.1.{tensor}"].view(-1)[3] = number
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    if "norm" in tensor and number == 1e7:
        assert load(str(folder), engine="native").logprobs([PROMPT], [1])[0].isfinite().all()
        return
    with pytest.raises(SourceError, match=r"hold numbers in .*1\..* not finite"):
        load(str(folder), engine="native")
    assert not [*(cache / "models").iterdir()]


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("value", ["auto", "torch.float16", "fp16", "int8", "float8_e4m3fn", "", 16, None])
def test_the_type_of_numbers_is_read_from_the_files_whatever_the_config_says(tmp_path, key, value):
    folder = Path(shutil.copytree(tiny("llama"), tmp_path / "model"))
    engines = ("native", "reference")
    want = [load(str(folder), engine=engine).logprobs([PROMPT], [1])[0] for engine in engines]
    change(folder, "config.json", **{"dtype": None, key: value})
    have = [load(str(folder), engine=engine).logprobs([PROMPT], [1])[0] for engine in engines]
    assert all(map(torch.equal, have, want))


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_how_a_model_was_called_when_it_was_saved_changes_nothing(tmp_path, family):
    folder = Path(shutil.copytree(tiny(family), tmp_path / "model"))
    want = load(str(folder)).logprobs([PROMPT], [1])[0]
    change(
        folder,
        "config.json",
        return_dict=False,
        use_cache=False,
        output_hidden_states=True,
        _attn_implementation="flash_attention_2",
    )
    model = load(str(folder))
    assert torch.equal(model.logprobs([PROMPT], [1])[0], want)
    assert model.torch(torch.tensor([PROMPT])).logits.shape[1] == len(PROMPT)


def test_weights_are_hashed_once_and_again_where_they_changed(cache, tmp_path, monkeypatch):
    path, read = tmp_path / "model.safetensors", []
    of_file = digests.of_file
    monkeypatch.setattr(digests, "of_file", lambda path: read.append(path) or of_file(path))
    monkeypatch.setattr(folders, "MIN_KEPT", 4)

    def hashed(content: bytes, settled: float = -1.0) -> bool:
        """Whether the file was read; its digest is that of its content."""
        read.clear()
        monkeypatch.setattr(folders, "SETTLED", settled)
        assert folders.checksum([path]) == digests.short(hashlib.sha256(content).hexdigest().encode())
        return bool(read)

    path.write_bytes(b"first")
    assert hashed(b"first", settled=1e6) and hashed(
        b"first", settled=1e6
    )  # just written: it may change unseen
    assert hashed(b"first") and not hashed(b"first")
    before = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert hashed(b"other") and not hashed(b"other")
    for kept in (cache / "digests").iterdir():
        kept.write_text("cut")
    assert hashed(b"other") and not hashed(b"other")
    path.write_bytes(b"abc")
    assert hashed(b"abc") and hashed(b"abc")


@pytest.mark.parametrize("engine", ["auto", "native", "reference"])
@pytest.mark.parametrize("window", [16, 0])
def test_a_window_that_the_family_does_not_know_is_refused_on_every_engine(folder, engine, window):
    """transformers answers otherwise with a cache than without, where it is shorter than the text."""
    change(folder, "config.json", sliding_window=window)
    with pytest.raises(
        SourceError, match=f"sliding_window {window}, and layers of a llama have no window: remove it"
    ):
        load(str(folder), engine=engine)


@pytest.mark.parametrize("window", [None, 512, 4096])
def test_a_window_that_no_text_outgrows_is_none(folder, window):
    change(folder, "config.json", sliding_window=window)
    assert gap(folder, "native") < NATIVE_GAP
