"""What is no model that transformers reads is refused in one sentence that says what to give."""

import json
import shutil
from pathlib import Path

import pytest
import transformers as t

from lm import SourceError, load
from lm.loading import check
from tests.families import FULL, SHAPE, VOCABULARY
from tests.tiny import save_tokenizer, tiny

CODER = {
    "vocab_size": VOCABULARY,
    "d_model": 64,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 257,
}
HALF = {f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 96))}  # fmt: skip


def refused(name: str | Path, says: str) -> None:
    """Of a model, one sentence with what to give."""
    with pytest.raises(SourceError, match=rf"{says}.*\.$") as told:
        load(str(name))
    assert ": " in str(told.value) and "\n" not in str(told.value)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(tiny("llama"), tmp_path / "model"))


FILES = {
    "model-Q4_K_M.gguf": "a GGUF model, .* with safetensors weights",
    "model.onnx": "an ONNX model",
    "onnx/model_q4.onnx": "an ONNX model",
    "openvino_model.xml": "an OpenVINO model",
    "model.mlpackage/Manifest.json": "a Core ML model",
    "weights.00.npz": "an MLX model",
    "tf_model.h5": "TensorFlow weights, .* from_tf=True",
    "model.ckpt.index": "TensorFlow weights, .* from_tf=True",
    "flax_model.msgpack": "Flax weights, .* from_flax=True",
    "pytorch_model-00001-of-00002.bin": "pickles, which can run code .* save_pretrained",
    "global_step10/mp_rank_00_model_states.pt": "DeepSpeed, .* zero_to_fp32.py",
    "pytorch_model_fsdp_0/__0_0.distcp": "FSDP, .*`accelerate merge-weights`",
    "consolidated.safetensors": "makers' own format",
    "model.nemo": "a NeMo model",
    "model.zip": "a packed folder, .* unpack it",
}


@pytest.mark.parametrize("config", [True, False])
@pytest.mark.parametrize("file", FILES)
def test_a_folder_of_another_format_is_named_with_what_to_give(folder, file, config):
    (folder / "model.safetensors").unlink()
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_bytes(b"\0")
    if not config:
        (folder / "config.json").unlink()
    refused(folder, FILES[file])
    with pytest.raises(SourceError, match=FILES[file].partition(",")[0]):
        check(str(folder))


@pytest.mark.parametrize("file", [file for file in FILES if "/" not in file])
def test_a_file_of_another_format_is_named_with_what_to_give(tmp_path, file):
    (tmp_path / file).write_bytes(b"\0")
    refused(tmp_path / file, FILES[file])


def test_a_file_of_weights_names_its_folder(folder):
    refused(folder / "model.safetensors", "is a file: give the folder that holds it")


def test_an_index_of_models_is_told_before_they_are(tmp_path):
    shutil.copytree(tiny("llama"), tmp_path / "text_encoder")
    for index, says in (
        ("modules.json", "sentence-transformers"),
        ("model_index.json", "a diffusers pipeline"),
    ):
        (tmp_path / index).write_text("{}")
        refused(tmp_path, says)


def test_a_folder_of_models_names_them(tmp_path):
    for step in (500, 1000):
        shutil.copytree(tiny("llama"), tmp_path / f"checkpoint-{step}")
    (tmp_path / "trainer.pt").write_bytes(b"\0")
    refused(tmp_path, "holds models in checkpoint-1000 and checkpoint-500: give one of them")
    shutil.rmtree(tmp_path / "checkpoint-500")
    refused(tmp_path, "holds a model in checkpoint-1000: give that folder")


@pytest.mark.parametrize("both", [True, False])
def test_a_folder_of_mlx_is_named(folder, both):
    stored = {"group_size": 32, "bits": 4}
    config = json.loads((folder / "config.json").read_text()) | {"quantization": stored}
    config |= {"quantization_config": stored} if both else {}
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, "is stored as MLX quantises, .*: give the model that it was made from, .* --dequantize")


KINDS = {
    "an encoder": (t.BertForMaskedLM, lambda: t.BertConfig(**FULL), "reads a text from both ends"),
    "an encoder alone": (t.RobertaModel, lambda: t.RobertaConfig(**FULL), "reads a text from both ends"),
    "an encoder without a decoder": (t.ModernBertModel, lambda: t.ModernBertConfig(**FULL, cls_token_id=256, sep_token_id=257), "writes no text"),
    "an encoder and a decoder": (
        t.T5ForConditionalGeneration, lambda: t.T5Config(vocab_size=VOCABULARY, d_model=64, d_kv=16, d_ff=96, num_layers=2, num_heads=4), "in an encoder"
    ),
    "a decoder of speech": (
        t.WhisperForConditionalGeneration, lambda: t.WhisperConfig(**CODER, **HALF, decoder_start_token_id=256), "in an encoder"
    ),
    "a decoder of an encoder's": (t.BartForConditionalGeneration, lambda: t.BartConfig(**CODER, **HALF), "in an encoder"),
    "layers without a head": (t.LlamaModel, lambda: t.LlamaConfig(**SHAPE), "a LlamaModel, which has no head"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_writes_no_text_is_told_from_its_config(tmp_path, kind, capsys):
    """Before its weights are read, which transformers reports on in many lines."""
    model, config, says = KINDS[kind]
    model(config()).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    capsys.readouterr()
    refused(tmp_path, f"{says}.*: give a causal language model, such as a Llama")
    assert "LOAD REPORT" not in capsys.readouterr().err


def test_a_decoder_of_an_encoders_family_is_taken(tmp_path):
    t.BertLMHeadModel(t.BertConfig(**FULL, is_decoder=True)).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    assert load(str(tmp_path)).text_ids("Hi")


def test_layers_whose_head_is_their_embedding_are_taken(tmp_path):
    model = t.LlamaModel(t.LlamaConfig(**SHAPE, tie_word_embeddings=True))
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    assert load(str(tmp_path)).text_ids("Hi")
