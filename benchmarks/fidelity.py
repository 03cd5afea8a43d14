"""How close decoding is to the same weights in float32: python -m benchmarks.fidelity [--llama FILE.gguf]
[--json]

transformers answers 20 prompts greedily with 64 tokens in float32; the engine, and llama.cpp if its file is
given, then say what they make of every position of those texts. Printed are the positions where another token
comes first, and the mean KL(float32 || theirs) in nats.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lm import load
from lm.metrics import kl

PROMPTS = Path(__file__).with_name("steering_prompts.txt")
NEW = 64


@torch.inference_mode()
def reference(model, ids: list[int]) -> tuple[list[int], int, Tensor]:
    """What a transformers model answers: a text's ids, where the answer starts, its
    log-probabilities [tokens, vocabulary].
    """
    text = model.generate(torch.tensor([ids]), max_new_tokens=NEW, do_sample=False, pad_token_id=0)
    return text[0].tolist(), len(ids), model(text).logits[0, len(ids) - 1 : -1].log_softmax(-1)


def llama(gguf: str) -> Callable[[list[int], int], Tensor]:
    """llama.cpp's log-probabilities of a text's answer."""
    from llama_cpp import Llama

    other = Llama(gguf, n_ctx=512, logits_all=True, verbose=False)

    def answer(ids: list[int], start: int) -> Tensor:
        other.reset()
        other.eval(ids)
        return torch.from_numpy(np.array(other.scores[start - 1 : len(ids) - 1])).log_softmax(-1)

    return answer


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--llama", metavar="GGUF", help="compare with llama.cpp on this file")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model = load()
    exact = load(engine="reference").torch.to("cpu", torch.float32)
    texts = [reference(exact, model.chat_ids(prompt)) for prompt in PROMPTS.read_text().splitlines()]
    engines: dict[str, Callable[[list[int], int], Tensor]] = {
        "ours": lambda ids, start: model.logprobs([ids], [start])[0]
    }
    if args.llama:
        engines["llama.cpp"] = llama(args.llama)
    result: dict[str, float] = {"tokens": sum(len(expected) for _, _, expected in texts)}
    for name, engine in engines.items():
        pairs = [(expected, engine(ids, start)) for ids, start, expected in texts]
        result[f"{name}: other first token"] = sum(
            int((a.argmax(-1) != b.argmax(-1)).sum()) for a, b in pairs
        )
        result[f"{name}: mean KL, nats"] = float(torch.cat([kl(a, b) for a, b in pairs]).mean())
    print(json.dumps(result) if args.json else json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
