"""The Trade-offs tab alone, with adapters at random: python tests/web/pareto_app.py FOLDER PORT, "bare" for one with no front and no
checkpoint, and "curve" for one with a curve, too."""

import sys
import time
from pathlib import Path

import gradio as gr
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from lm import Adapter, LanguageModel, Policy, Row, Sampling, load  # noqa: E402
from lm.prompts import Asked, read  # noqa: E402
from pareto import checkpoint  # noqa: E402
from pareto import front as fronts  # noqa: E402
from pareto.front import Front  # noqa: E402
from pareto.panel import build  # noqa: E402

SHIPPED = [
    ("pgapo", 0.1, 0.02, 0.95),
    ("pgapo", 0.5, 0.3, 0.55),
    ("pgapo", 0.9, 0.5, -0.25),
    ("gapo", None, 0.2, 0.3),
]
ENDS = [("linear", 1.0, 0.55, -0.5), ("linear", 0.0, -0.35, 1.05)]
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def adapter(model: LanguageModel, seed: int) -> Adapter:
    """A random one that changes every answer."""
    dice = torch.Generator().manual_seed(seed)
    shapes = (2, model.width), (model.width, 2)
    keys = [(block, "o_proj") for block in range(model.layers - 6, model.layers)]
    return Adapter(
        {
            key: (torch.randn(shapes[0], generator=dice) * 0.05, torch.randn(shapes[1], generator=dice))
            for key in keys
        }
    )


def card(model: LanguageModel, name: str, method: str, weight: float | None) -> dict:
    return {
        "name": name, "base_model": model.name, "base_hash": model.hash, "method": method, "steps": 12, "seed": 0, "objective": "rloo",
        "preference": None if weight is None else [weight, 1 - weight], "licence": "Apache-2.0", "data": ["none"], "command": "none",
    }  # fmt: skip


def curves() -> list[dict]:
    return [
        {"step": step, "reward": {"helpful": 0.02 * step, "harmless": -0.01 * step}, "kl": 0.1 * step, "length": 40, "norms": [1, 2],
         "cosine": -0.2, "coefficients": [0.5, 0.25], "beta": 0.1, "tokens_per_second": 100, "seconds": 9}
        for step in range(12)
    ]  # fmt: skip


def point(id: str, name: str, method: str, weight: float | None, helpful: float, harmless: float) -> dict:
    intervals = {
        f"{axis}_ci": [value - 0.1, value + 0.1]
        for axis, value in (("helpful", helpful), ("harmless", harmless))
    }
    return {
        "id": id, "name": name, "method": method, "preference": None if weight is None else [weight, 1 - weight], "steps": 12, "seed": 0,
        "helpful": helpful, "harmless": harmless, **intervals,
        "kl": 3.0, "length": 40.0, "repetition": 0.02, "prompts": 240, "samples": 2,
    }  # fmt: skip


def made(model: LanguageModel, folder: Path) -> Front:
    """Writes the checkpoints and returns their front; beside them "mine", which is on no front, and two that
    are refused.
    """
    points = [point("base", "base model", "base", None, -0.1, -0.45)]
    for seed, (method, weight, helpful, harmless) in enumerate([*SHIPPED, *ENDS]):
        id = method if weight is None else f"{method}-{weight:g}"
        checkpoint.save(
            folder / "shipped" / id, adapter(model, seed), card(model, f"{id} name", method, weight), curves()
        )
        points.append(
            point(id, f"{id} name", "single" if weight in (0, 1) else method, weight, helpful, harmless)
        )
    points.append(point("soup", "soup name", "soup", 0.5, 0.05, 0.2))
    checkpoint.save(
        folder / "added" / "mine", adapter(model, 99), card(model, HOSTILE, "pgapo", 0.3), curves()
    )
    foreign = card(model, "foreign", "pgapo", 0.3) | {"base_hash": "0" * 16, "base_model": "another"}
    checkpoint.save(folder / "added" / "foreign", adapter(model, 98), foreign, [])
    checkpoint.save(
        folder / "added" / "pickled", adapter(model, 97), card(model, "pickled", "pgapo", 0.3), []
    )
    weights = folder / "added" / "pickled" / "adapter_model.safetensors"
    weights.replace(weights.with_suffix(".bin"))
    points[2] |= {
        "seeds": [0, 1],
        "runs": [{"seed": seed, "helpful": 0.2 + 0.2 * seed, "harmless": 0.5, "kl": 3.0} for seed in (0, 1)],
    }
    return Front(model.name, model.hash, (-2.0, -2.0), tuple(points))


def votes() -> dict[str, dict]:
    """What people are made to think."""
    names = ["base", *(f"{method}-{weight:g} name" for method, weight, *_ in [*SHIPPED[:3], *ENDS])]
    return {
        name: {"helpful": 0.1 * i, "helpful_ci": [0.1 * i - 0.3, 0.1 * i + 0.3], "harmless": -0.2 * i, "harmless_ci": [-0.2 * i - 0.3, 0.3],
               "comparisons": 20 + i}
        for i, name in enumerate(names)
    }  # fmt: skip


class Loud(Policy):
    """A policy of another kind: the base model asked to shout."""

    def row(self, prompt: Asked, sampling: Sampling) -> Row:
        return super().row(read(prompt).text + " Shout!", sampling)


def with_curve(front: Front, model: LanguageModel, folder: Path) -> Front:
    """Two ends of a curve, and a scored place between them."""
    for seed, weight in ((90, 1), (91, 0)):
        about = card(model, f"curve-{weight} name", "pgapo", weight) | {"hyperparameters": {"positions": 2}}
        checkpoint.save(folder / "shipped" / f"curve-{weight}", adapter(model, seed), about, curves())
    return front.with_point(point("curve-0.5", "curve .5 : .5", "curve", 0.5, 0.5, 0.6))


def app(model: LanguageModel, folder: Path, kind: str) -> gr.Blocks:
    fronts.FOLDER = folder
    if kind != "bare":
        front = made(model, folder)
        front = with_curve(front, model, folder) if kind == "curve" else front
        front.save(fronts.path_of(model.name))
    with gr.Blocks(title="Trade-offs", analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML((ROOT / "assets" / "web" / "shared" / "head.html").read_text(), apply_default_css=False)
        with gr.Tabs(elem_classes="tw-tabs"):
            with gr.Tab("Front"):
                gr.Markdown("Nothing.")
            with gr.Tab("Trade-offs"):
                build(
                    model, preference=0.5, checkpoints=checkpoint.shipped(model, folder / "shipped"),
                    folders=folder / "added", human=votes,
                    entrants={"loud": lambda: Loud(model, "plan:loud", parts={"plan": "loud"})}, send=lambda prompt, sides, sender: "Sent " + " and ".join(side[0] for side in sides),
                )  # fmt: skip
    return blocks


if __name__ == "__main__":
    from ui.server import serve

    where, port, *kind = sys.argv[1:]
    serve(
        app(load(), Path(where), "".join(kind)).queue(max_size=256), "127.0.0.1", int(port), check=time.time
    )
