"""All figures of speed in one table: python -m benchmarks [--turns 5] [--llama FILE.gguf] [--chromium PATH]
[--json FILE]

Runs steering_speed, fidelity, page_wait and pareto_step one after the other, each in a process of its own,
and prints what they measured beside what is wanted. Give it an idle machine.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.steering_speed import machine

TABLE = {
    "steering_speed": (
        ("medians.steered", "one row, steered, tokens/s", ""),
        ("medians.unsteered", "one row, unsteered, tokens/s", ""),
        ("medians.llama", "llama.cpp, one row, unsteered, tokens/s", ""),
        ("steered / llama.cpp", "one row, steered, over llama.cpp's unsteered", "1.0 or more"),
        ("steered / unsteered", "steered over unsteered", ".97 or more"),
        (
            "steered / transformers with hooks",
            "one row, steered, over transformers with hooks",
            "3 or more on a GPU",
        ),
        ("medians.nine_rows", "nine rows of a sweep, tokens/s", ""),
        ("nine rows / one", "nine rows over one", "4 or more"),
        ("medians.four_users", "four users at once, tokens/s", ""),
        ("four users / one", "four users over one", "2.5 or more"),
        ("medians.first_token_alone", "first token of one row, seconds", ""),
        ("first token / llama.cpp's", "first token over llama.cpp's", "1.3 or less"),
        ("medians.training_rows", "sampling for training, tokens/s", ""),
        (
            "sampling for training / transformers' in bfloat16",
            "sampling for training over transformers in bfloat16",
            "2 or more",
        ),
        ("nine single runs / one sweep of nine", "nine single runs over one sweep of nine", ""),
        ("training 100 pairs, seconds", "a vector of 100 pairs read and trained, seconds", ""),
    ),
    "fidelity": (
        ("tokens", "tokens of float32's greedy texts", ""),
        ("ours: other first token", "of them not ours", ""),
        ("ours: mean KL, nats", "mean KL(float32, ours), nats", ""),
        ("llama.cpp: other first token", "of them not llama.cpp's", ""),
        ("llama.cpp: mean KL, nats", "mean KL(float32, llama.cpp), nats", ""),
    ),
    "page_wait": (
        ("loading the model, seconds", "loading the model, warm cache, seconds", "1.5 or less"),
        ("start to first answer, seconds", "start of the app to its first answer, seconds", ""),
        (
            "start to steered text in the browser, seconds",
            "start to steered text in the browser, seconds",
            "8 or less",
        ),
        (
            "slider to first visible token, milliseconds",
            "slider to the first visible token, ms",
            "200 or less",
        ),
        ("nine in ten within, milliseconds", "nine in ten of them within, ms", ""),
        (
            "peak memory over a process without a model, MB",
            "peak memory over a process without a model, MB",
            "700 or less",
        ),
    ),
    "pareto_step": (
        ("two objectives over plain", "training step, two objectives, over a plain one", ""),
        ("second objective costs", "what the second objective adds", ""),
        ("sampling, plain over ours", "its sampling, plain over ours", ""),
    ),
}


def value(measured: dict, key: str) -> float | None:
    """What was measured under a key, or under one within "medians"."""
    return (
        measured["medians"].get(key.removeprefix("medians."))
        if key.startswith("medians.")
        else measured.get(key)
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--llama", metavar="GGUF", help="compare with llama.cpp on this file")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--json", metavar="FILE", help="write what was measured to this file too")
    args = parser.parse_args()
    llama = ["--llama", args.llama] if args.llama else []
    options = {
        "steering_speed": ["--turns", str(args.turns), *llama],
        "fidelity": llama,
        "page_wait": ["--chromium", args.chromium],
        "pareto_step": [],
    }
    results = {}
    for name in TABLE:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *options[name]]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"{name} failed, and is left out", file=sys.stderr)
            continue
        results[name] = json.loads(done.stdout.splitlines()[-1])
        if args.json:
            Path(args.json).write_text(json.dumps(results, indent=1) + "\n")
    print(f"{machine()}; {args.turns} turns\n\n| | measured | wanted |\n|---|---|---|")
    for name, measured in results.items():
        for key, text, wanted in TABLE[name]:
            if (number := value(measured, key)) is not None:
                print(
                    f"| {text} | {number:.3g} | {wanted} |"
                    if abs(number) < 1000
                    else f"| {text} | {number:,.0f} | {wanted} |"
                )


if __name__ == "__main__":
    main()
