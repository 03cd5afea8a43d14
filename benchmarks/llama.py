"""llama.cpp beside ours: greedy answers of a GGUF file, in a process of its own, since threads of two
libraries in one process slow each other. Wants the package llama-cpp-python.
"""

import json
import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.packing import peak

CONTEXT = 2048


class Llama:
    """A GGUF file in llama.cpp. seconds: to load it; bytes: peak memory since before that."""

    def __init__(self, gguf: Path | str, threads: int, rows: int = 1, clock: str = "perf_counter") -> None:
        self._pipe, end = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(
            target=_serve, args=(str(gguf), threads, rows, clock, end), daemon=True
        )
        self._process.start()
        end.close()
        self.seconds: float = self._pipe.recv()

    def answer(self, ids: Sequence[int], new: int, rows: int = 1) -> tuple[float, float]:
        """Tokens a second of `rows` answers to one prompt, its time counted; seconds to the first token."""
        self._pipe.send((list(ids), new, rows))
        rate, first, self.bytes = self._pipe.recv()
        return rate, first

    def close(self) -> None:
        """Ends the process."""
        self._pipe.send(None)
        self._process.join()


def _serve(gguf: str, threads: int, rows: int, clock: str, pipe: Connection) -> None:
    import llama_cpp as c

    now = getattr(time, clock)

    quiet = c.llama_log_callback(lambda *_: None)
    c.llama_log_set(quiet, None)
    before, started = peak(), now()
    model = c.llama_model_load_from_file(gguf.encode(), c.llama_model_default_params())
    options = c.llama_context_default_params()
    options.n_ctx = options.n_batch = CONTEXT
    options.n_threads = options.n_threads_batch = threads
    options.n_seq_max, options.kv_unified = rows, True
    context = c.llama_init_from_model(model, options)
    pipe.send(now() - started)
    vocabulary = c.llama_vocab_n_tokens(c.llama_model_get_vocab(model))
    batch = c.llama_batch_init(CONTEXT, 0, 1)

    def step(
        ids: Sequence[int], positions: Sequence[int], sequences: Sequence[int], wanted: int
    ) -> list[int]:
        """The likeliest token after each of the last `wanted` tokens."""
        batch.n_tokens = len(ids)
        for i, (id, position, sequence) in enumerate(zip(ids, positions, sequences, strict=True)):
            batch.token[i], batch.pos[i], batch.seq_id[i][0] = id, position, sequence
            batch.n_seq_id[i], batch.logits[i] = 1, i >= len(ids) - wanted
        if c.llama_decode(context, batch):
            raise RuntimeError(f"llama.cpp decodes no batch of {len(ids)} tokens")
        logits = (c.llama_get_logits_ith(context, i) for i in range(len(ids) - wanted, len(ids)))
        return [int(np.ctypeslib.as_array(row, (vocabulary,)).argmax()) for row in logits]

    while asked := pipe.recv():
        ids, new, count = asked
        memory = c.llama_get_memory(context)
        c.llama_memory_clear(memory, True)
        started = now()
        tokens = step(ids, range(len(ids)), [0] * len(ids), 1) * count
        first = now() - started
        for row in range(1, count):
            c.llama_memory_seq_cp(memory, 0, row, -1, -1)
        for position in range(len(ids), len(ids) + new - 1):
            tokens = step(tokens, [position] * count, range(count), count)
        pipe.send((count * new / (now() - started), first, peak() - before))


def write_gguf(folder: Path, path: Path, kind: str) -> None:
    """A model folder of the shapes of benchmarks.packing as a GGUF file. kind: "Q8_0" or "Q4_1", of its
    blocks; the embedding has 8 bits.
    """
    import gguf
    from safetensors import safe_open

    from lm.engines.native.weights import GGUF_NAMES

    config = json.loads((folder / "config.json").read_text())
    family, heads, keys = config["model_type"], config["num_attention_heads"], config["num_key_value_heads"]
    quantised = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(keys)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"token {i}" for i in range(config["vocab_size"])])
    writer.add_token_merges(["a b"])
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}
    rotated = {"attn_q": heads, "attn_k": keys} if family == "llama" else {}
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        for name in file.keys():
            stem, _, leaf = name.rpartition(".")
            block, _, part = stem.removeprefix("model.layers.").partition(".")
            own = GGUF_NAMES.get(part, "")
            values = file.get_tensor(name).float().numpy()
            if own in rotated:  # llama.cpp turns neighbouring dimensions there
                count = rotated[own]
                values = values.reshape(count, 2, -1, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)
            target = f"{names[stem]}.{leaf}" if stem in names else f"blk.{block}.{own}.{leaf}"
            if values.ndim == 2:
                of = gguf.GGMLQuantizationType.Q8_0 if stem in names else quantised
                writer.add_tensor(target, gguf.quantize(values, of), raw_dtype=of)
            else:
                writer.add_tensor(target, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
