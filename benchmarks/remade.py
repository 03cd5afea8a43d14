"""Whether what ships with the default model can be made again: after `tradewind prepare --anew`, python -m
benchmarks.remade [--seeds 3] [--samples 1] [--only heads front vectors]

Give the same $TRADEWIND_CACHE and the same --seeds and --samples. Reward heads: the accuracy of the fitted
and the shipped ones on held-out pairs and contrasts.
Front: every policy that was trained anew, scored by the shipped heads on the prompts of the shipped front,
beside the shipped point and its interval; scores are kept, so it goes on where it was ended. Vectors: the
least cosine of a layer's, and the direction and blocks that the calibration chose.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable

import torch

from common.jsons import JsonObject
from lm import LanguageModel, Policy, load
from lm.paths import lab_folder
from pareto.evaluate import ANSWER, asked_of, evaluate, merged
from pareto.front import Front, path_of
from pareto.heads import FOLDER, OBJECTIVES, Head, HeadReward
from pareto.prepare import Wanted, grid_of, head_file
from steering import Library

PARTS = ("heads", "front", "vectors")
SHOWN = (*OBJECTIVES, "kl", "refusal_unsafe", "refusal_safe")


def heads(model: LanguageModel) -> list[str]:
    """A line an objective."""
    titles = ("accuracy", "safe contrasts", "unsafe contrasts")
    lines = [f"| head, anew and shipped | {' | '.join(titles)} |", "|---" * 4 + "|"]
    for objective in OBJECTIVES:
        files = head_file(model, objective).with_suffix(".json"), FOLDER / f"{objective}.json"
        both = [json.loads(file.read_text("utf-8")) for file in files]
        measures = [
            (about["accuracy"], about["contrast"]["safe"], about["contrast"]["unsafe"]) for about in both
        ]
        cells = [f"{_interval(anew)}, {_interval(ships)}" for anew, ships in zip(*measures, strict=True)]
        lines.append(f"| {objective} | {' | '.join(cells)} |")
    return lines


def _interval(measure: JsonObject) -> str:
    return f"{measure['value']:.2f} [{measure['low']:.2f}, {measure['high']:.2f}]"


def scored(model: LanguageModel, wanted: Wanted, front: Front) -> list[JsonObject]:
    """The points of the front that was made anew, scored as those of `front` were."""
    grid, (prompts, samples) = grid_of(model, wanted), asked_of(front)
    rewards = {name: HeadReward(model, Head.load(FOLDER / f"{name}.safetensors")) for name in OBJECTIVES}
    groups: dict[str, list[JsonObject]] = defaultdict(list)
    for job in grid.jobs:
        file = lab_folder(model.hash, "remade") / f"{job.id}.json"
        if not file.exists():
            policy = Policy(model, adapter=grid.adapter(job))
            limit = min(ANSWER, grid.settings.max_new_tokens)
            found = evaluate(policy, model, rewards, prompts, samples=samples, max_new_tokens=limit)
            file.write_text(json.dumps(found | {"seed": job.seed}))
            print(job.id, flush=True)
        groups[job.group].append(json.loads(file.read_text("utf-8")))
    return [merged(runs, OBJECTIVES) | {"id": id} for id, runs in groups.items()]


def compared(anew: Iterable[JsonObject], front: Front) -> list[str]:
    """A line a point; at the end, how many measures lie in the interval of the shipped point."""
    ships = {point["id"]: point for point in front.points}
    lines = ["| point | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    inside = apart = total = 0
    for point in anew:
        other, cells = ships[point["id"]], []
        for name in SHOWN:
            low, high = other[f"{name}_ci"]
            own_low, own_high = point[f"{name}_ci"]
            within = low <= point[name] <= high
            inside, total = inside + within, total + 1
            apart += own_high < low or own_low > high
            cells.append(
                f"{point[name]:.2f}, {other[name]:.2f} [{low:.2f}, {high:.2f}]{'' if within else ' *'}"
            )
        lines.append(f"| {point['id']} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"Anew, shipped [95 %]; {inside} of {total} lie in the shipped point's interval (others: *), "
        f"and {apart} have an interval that does not meet it.",
    ]


def vectors(model: LanguageModel) -> list[str]:
    """A line a concept."""
    lines = ["| concept | least cosine | chosen anew | shipped |", "|---" * 4 + "|"]
    made, ships = Library(model, ships=False), Library(model)
    for name in made.concepts:
        anew, shipped = made.ready(name), ships.ready(name)
        if anew is None or anew.calibration is None or shipped is None or shipped.calibration is None:
            lines.append(f"| {name} | not made | | |")
            continue
        cosine = float(torch.cosine_similarity(anew.w, shipped.w, dim=1).min())
        chosen = [
            f"{each.direction}, blocks {each.layers[0]} to {each.layers[-1]}"
            for each in (anew.calibration, shipped.calibration)
        ]
        lines.append(f"| {name} | {cosine:.4f} | {' | '.join(chosen)} |")
    return lines


def main() -> None:
    """Prints a table a part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=Wanted.seeds)
    parser.add_argument("--samples", type=int, default=Wanted.samples)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    asked = parser.parse_args()
    model = load(engine="rows")
    front = Front.load(path_of(model.name))
    wanted = Wanted(seeds=asked.seeds, samples=asked.samples)
    for part in asked.only:
        if part == "front":
            print(*compared(scored(model, wanted, front), front), sep="\n")
        else:
            print(*(heads if part == "heads" else vectors)(model), sep="\n")


if __name__ == "__main__":
    main()
