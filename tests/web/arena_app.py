"""The Compare tab alone, with canned answers: python tests/web/arena_app.py DATABASE PORT [empty|hostile]"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from arena import ArenaError, Entrant, Output, Store, create  # noqa: E402
from arena.panel import build  # noqa: E402

SECRET = {"plain": "zq-plain-secret", "formal": "zq-formal-secret", "kind": "zq-kind-secret"}
TEXTS = {
    "plain": "Put the eggs in cold water, boil it, and wait **nine minutes**.\n\n1. Cool them.\n2. Peel.",
    "formal": "One should place the eggs in cold water, heat it, and allow nine minutes to pass.",
    "kind": "Happy to help! Put the eggs in cold water, let it boil, and give them nine cosy minutes.",
}
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> "
    "${document.title='owned'} {{value}}"
)
PROMPTS = ["How do I boil an egg?", "How do I boil two eggs?", "Eggs, hard, please: how?"]


def outputs() -> list[Output]:
    """Three policies on three prompts, whose names and plans hold words that no text holds."""
    return [
        Output(
            prompt,
            SECRET[name],
            f"{text} ({number})",
            {"plan": {"marker": f"spec-{SECRET[name]}"}},
            {"seed": 3},
        )
        for number, prompt in enumerate(PROMPTS)
        for name, text in TEXTS.items()
    ]


def hostile() -> list[Output]:
    """A battle of two script tags."""
    return [Output(HOSTILE, name, f"{HOSTILE} {name}", {}) for name in ("first", "second")]


@dataclass
class Canned:
    """A run without a model."""

    text: str
    ids: list[int] = field(default_factory=lambda: [1, 2, 3])
    finish: str = "stop"
    seconds: float = 0.1


class Echo:
    """A policy that answers with its own words; "Slow" prompts take it a minute, or until it is stopped."""

    def __init__(self, words: str) -> None:
        self.words = words

    def check(self, prompt, max_new_tokens):
        if len(prompt) > 4_000:
            raise ValueError("the prompt is too long")

    def respond(self, prompts, *, seed, max_new_tokens, stop):
        if any(prompt.startswith("Slow") for prompt in prompts):
            stop.wait(60)
        return [Canned(f"{self.words} {prompt} ({seed})") for prompt in prompts]


def policies() -> dict[str, Entrant]:
    return {
        name: Entrant(Echo(words), {"plan": {"words": words}})
        for name, words in (("one", "Yes:"), ("two", "No:"))
    }


def app(store: Store) -> gr.Blocks:
    with gr.Blocks(title="Compare", analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML('<h1 class="tw-heard">Compare</h1>', apply_default_css=False)
        build(store, policies=policies, votes_a_minute=10_000)
    return blocks


if __name__ == "__main__":
    from ui.server import serve

    database, port, *rest = sys.argv[1:]
    opened = Store(database)
    try:
        create(
            opened, "Eggs", {"empty": [], "hostile": hostile()}[rest[0]] if rest else outputs(), repeats=0.0
        )
    except ArenaError as refused:
        print(refused)
    serve(app(opened).queue(max_size=256), "127.0.0.1", int(port), check=opened.check)
