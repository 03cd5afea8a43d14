"""python -m steering train|calibrate|scorer|generate|sweep|evaluate|frontier|blind|judged|export"""

import argparse
import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common.command import exit_code
from common.folders import expanded
from common.jsons import JsonObject
from common.reading import lines_of, text_of
from common.statistics import estimate
from lm import SourceError, load
from lm.paths import cache_folder
from lm.prompts import of_arguments
from steering import judged
from steering.calibrate import Extent, calibrate
from steering.cav import CAV, Settings, train
from steering.concepts import Concept, shipped
from steering.control_vectors import MAX_BYTES, export, imported
from steering.evaluate import evaluate, labelled, sample
from steering.frontier import Comparison, frontier, spread, to_dict
from steering.frontier_tables import SUMMARISED, markdown, summary
from steering.library import Library
from steering.parser import parser
from steering.plan import Plan
from steering.prompt_sets import held_out
from steering.scorers import fit_head, scorer
from steering.steer import steer
from steering.sweep import sweep


def _plan(text: str) -> Plan:
    if text.lstrip()[:1] in ("{", "["):
        return Plan.from_json(text)
    if not os.path.isfile(path := expanded(text)):
        raise ValueError(f"Plan is {text[:80]!r}, neither JSON nor a file: give one of them.")
    return Plan.from_json(text_of(path))


def _lines(path: Path) -> list[str]:
    return [line for line in lines_of(text_of(path)) if line.strip()]


def _written(out: Path | None, library: Library, concept: Concept, cav: CAV) -> Path:
    """Writes the vectors, to where the app finds them if they are trained as the app trains them; returns the
    file.
    """
    if out is None and library.concepts.get(concept.name) == concept and cav.settings == Settings():
        return library.keep(concept.name, cav)
    path = (out or cache_folder("trained", library.model.hash)) / f"{concept.name}.safetensors"
    cav.save(path)
    return path


def _train(args: argparse.Namespace, library: Library) -> JsonObject:
    done: dict[str, JsonObject] = {}
    for name in args.concepts or list(shipped()):
        concept = shipped()[name] if name in shipped() else Concept.load(name)
        cav = train(library.model, concept, Settings(source=args.source, position=args.position))
        path = _written(args.out, library, concept, cav)
        done[concept.name] = {
            name: [round(float(v), 3) for v in getattr(cav, name)]
            for name in ("accuracy", "shuffled", "random")
        }
        done[concept.name] |= {"settings": dataclasses.asdict(cav.settings), "written": str(path)}
        if not args.json:
            best, shuffled, random = (
                float(cav.accuracy.max()),
                float(cav.shuffled.mean()),
                float(cav.random.mean()),
            )
            print(
                f"{concept.name}: best held-out accuracy {best:.3f}, "
                f"shuffled {shuffled:.3f}, random {random:.3f}: {path}",
                flush=True,
            )
    return done


def main(argv: list[str] | None = None) -> int:
    """Runs a command; errors of the user's input become one line."""
    args = parser().parse_args(argv)
    return exit_code(lambda: _run(args), SourceError)


def _run(args: argparse.Namespace) -> None:
    if args.command in _WITHOUT_MODEL:
        print(_WITHOUT_MODEL[args.command](args))
        return
    library = Library(load(args.model))
    if args.command != "train":
        _own(library, args.concepts, args.vectors)
        library.concepts |= dict(_judged_by(library, each) for each in args.scorer)
    result = _COMMANDS[args.command](args, library)
    if args.json:
        print(json.dumps(result))
    elif args.command != "train":
        print(result if isinstance(result, str) else json.dumps(result, indent=1))


def _own(library: Library, concepts: list[Path], vectors: list[Path]) -> None:
    library.concepts |= {concept.name: concept for concept in map(Concept.load, concepts)}
    for path in vectors:
        if path.suffix == ".gguf":
            _import(library, path)
            continue
        cav = CAV.load(path)
        if cav.concept not in library.concepts:
            raise ValueError(
                f"{path} holds vectors of {cav.concept!r}, "
                "which does not ship: give its texts with --concepts."
            )
        library.add(library.concepts[cav.concept], cav)


def _judged_by(library: Library, entry: str) -> tuple[str, Concept]:
    """A concept with another scorer."""
    name, _, judge = entry.partition("=")
    if name not in library.concepts or not judge:
        raise ValueError(
            f"Scorer is {entry!r}: give CONCEPT=NAME with a concept of {', '.join(library.concepts)}."
        )
    scorer(judge)
    return name, dataclasses.replace(library.concepts[name], scorer=judge)


def _import(library: Library, path: Path) -> None:
    """Adds a control vector as a concept named after its file, with the calibration that was kept for it."""
    with path.open("rb") as file:
        concept, cav = imported(library.model, file.read(MAX_BYTES + 1), path.stem)
    library.add(concept, cav)
    if (kept := library.kept(concept.name)) is not None:
        library.add(concept, kept)


def _calibrate(args: argparse.Namespace, library: Library) -> JsonObject:
    done: dict[str, JsonObject] = {}
    extent = Extent(args.prompts, args.tokens)
    for name in args.names or list(library.concepts):
        cav = _ready(args.out, name, library)
        if cav.calibration is None or args.again:
            cav = calibrate(
                library,
                name,
                methods=args.methods,
                extent=extent,
                search=not args.no_search,
                progress=_tell(name),
            )
            if args.out is None:
                library.keep(name, cav)
            else:
                cav.save(args.out / f"{name}.safetensors")
        assert cav.calibration is not None
        done[name] = cav.calibration.to_dict()
    return done


def _ready(out: Path | None, name: str, library: Library) -> CAV:
    """The vectors of a concept, those of an earlier run that was stopped first."""
    path = out and out / f"{name}.safetensors"
    if path and path.exists() and name in library.concepts:
        library.add(library.concepts[name], CAV.load(path))
    return library.cav(name)


def _tell(name: str) -> Callable[[float], None]:
    return lambda share: print(f"{name}: {100 * share:.0f} %", file=sys.stderr, flush=True)


def _blind(args: argparse.Namespace) -> str:
    answers = judged.draw(args.folder, args.each, args.seed)
    judged.save(answers, args.key, args.blind)
    return f"{len(answers)} answers: {args.blind} for the reader, {args.key} for you."


def _judged(args: argparse.Namespace) -> str:
    return judged.table(*judged.read(args.key, args.ratings))


def _scorer(args: argparse.Namespace) -> str:
    if args.concept not in shipped():
        return json.dumps(_tried(args))
    concept = shipped()[args.concept]
    positive, negative = list(concept.positive), list(concept.negative)
    if args.labelled:
        sides = sample(args.labelled, args.most // 2, 0)
        positive, negative = positive + sides[1], negative + sides[0]
    head = fit_head(concept.name, positive, negative, args.data)
    return json.dumps({"written": str(head.save()), "n": head.n, "accuracy": head.accuracy})


def _tried(args: argparse.Namespace) -> JsonObject:
    """A scorer's accuracy on people's labels, at .5 and at the sample's median."""
    if not args.labelled:
        raise ValueError(
            f"Concept is {args.concept!r}: give one of {', '.join(shipped())}, "
            "or a classifier to be tried with --labelled FILE."
        )
    judge, sides = scorer(args.concept), sample(args.labelled, args.most // 2, 0)
    scores = np.array([judge(text) for side in sides for text in side])
    truth = np.repeat([False, True], len(sides[0]))
    return {
        "scorer": args.concept,
        "n": len(scores),
        "accuracy": estimate((scores > 0.5) == truth),
        "accuracy_at_median": estimate((scores > np.median(scores)) == truth),
    }


def _band(text: str) -> tuple[int, ...]:
    match = re.fullmatch(r"(\d{1,4})-(\d{1,4})", text)
    if match is None or int(match[2]) < int(match[1]):
        raise ValueError(f"A band is {text!r}: give first and last layer, such as 8-15.")
    return tuple(range(int(match[1]), int(match[2]) + 1))


def _generate(args: argparse.Namespace, library: Library) -> JsonObject:
    return steer(
        library,
        of_arguments(args),
        _plan(args.plan),
        seed=args.seed,
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
        top_p=args.top_p,
    )


def _sweep(args: argparse.Namespace, library: Library) -> object:
    bands = [_band(band) for band in args.bands] if args.bands else None
    prompts = [args.prompt] if args.prompt else _lines(args.prompts)
    *_, (_, table) = sweep(
        library,
        prompts,
        _plan(args.plan),
        values=args.values,
        bands=bands,
        seed=args.seed,
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
        top_p=args.top_p,
    )
    if args.csv:
        table.to_csv(args.csv, index=False)
    return (
        json.loads(table.to_json(orient="records")) if args.json else table.drop(columns="prompt").to_string()
    )


def _evaluate(args: argparse.Namespace, library: Library) -> JsonObject | str:
    if args.labelled:
        if args.concept is None:
            raise ValueError("--labelled needs a concept to try: name it with --concept.")
        return labelled(library, library.cav(args.concept), args.labelled, most=args.most, seed=args.seed)
    if not (args.plan and args.prompts):
        raise ValueError(
            "There is nothing to evaluate: give --plan and --prompts, or --concept and --labelled."
        )
    return evaluate(
        library, _plan(args.plan), _lines(args.prompts), seed=args.seed, max_new_tokens=args.max_new_tokens
    )


def _frontier(args: argparse.Namespace, library: Library) -> JsonObject | str:
    if args.continued and args.prompts is None:
        raise ValueError(
            "--continue is given without texts: give the file of their beginnings with --prompts."
        )
    names = args.names or [sign + name for name in library.concepts for sign in ("", "-")]
    tables = []
    for name in names:
        direction, name = "remove" if name.startswith("-") else "amplify", name.removeprefix("-")
        library.cav(name)
        concept = library.concepts[name]
        prompts = _lines(args.prompts)[: args.count] if args.prompts else held_out(concept, args.count)
        if args.count < 1 or not prompts:
            raise ValueError(
                f"There are no prompts (--count {args.count}, "
                f"{args.prompts or 'held-out ones'}): give at least one."
            )
        comparison = Comparison(
            library,
            name,
            direction,
            methods=args.methods,
            tokens=args.max_new_tokens,
            continued=args.continued,
        )
        path = args.folder and args.folder / f"{name}-{direction}.jsonl"
        tell = _tell(f"{name} {direction}")
        for share, results in frontier(comparison, spread(prompts, args.seeds), path):
            tell(share)
            so_far = results
        tables.append((name, direction, so_far))
    if args.json:
        return {f"{name} {direction}": to_dict(results) for name, direction, results in tables}
    whole = (
        [summary(tables)]
        if all({result.method for result in results} >= SUMMARISED for *_, results in tables)
        else []
    )
    return "\n\n".join([*whole, *(markdown(*table) for table in tables)])


def _export(args: argparse.Namespace, library: Library) -> JsonObject:
    return {
        "written": str(
            export(library.cav(args.concept), args.out, method=args.method, family=library.model.family)
        )
    }


_WITHOUT_MODEL = {"scorer": _scorer, "blind": _blind, "judged": _judged}
_COMMANDS = {
    "train": _train,
    "calibrate": _calibrate,
    "generate": _generate,
    "sweep": _sweep,
    "evaluate": _evaluate,
    "frontier": _frontier,
    "export": _export,
}

if __name__ == "__main__":
    sys.exit(main())
