"""python -m steering train|calibrate|scorer|generate|sweep|evaluate|frontier|blind|judged|export"""

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from common.jsons import JsonObject
from lm import SourceError, load
from lm.paths import cache_folder
from lm.prompts import add_arguments, of_arguments
from steering import judged
from steering.calibrate import Settings as Bounds
from steering.calibrate import calibrate
from steering.cav import CAV, Settings, train
from steering.concepts import Concept, shipped
from steering.control_vectors import MAX_BYTES, export, imported
from steering.evaluate import evaluate, labelled, sample
from steering.frontier import METHODS, SUMMARISED, Bench, frontier, markdown, spread, summary, to_dict
from steering.library import Library
from steering.plan import Plan
from steering.prompt_sets import held_out
from steering.scorers import fit_head
from steering.steer import steer
from steering.sweep import sweep


def _plan(text: str) -> Plan:
    return Plan.from_json(text if text.lstrip().startswith("{") else Path(text).read_text())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m steering", description="Concept activation vectors: train, steer, measure, export."
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--model", help="folder or hub id (default: $TRADEWIND_MODEL or the embedded model)")
    shared.add_argument("--json", action="store_true", help="print JSON")
    using = argparse.ArgumentParser(add_help=False)
    using.add_argument(
        "--concepts",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="concept files beside the shipped ones",
    )
    using.add_argument(
        "--vectors",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="what train wrote, in place of what ships, or llama.cpp control vectors (.gguf), each a concept of its file's name",
    )
    decode = argparse.ArgumentParser(add_help=False)
    decode.add_argument("--plan", required=True, help="a plan as JSON, or a file that holds it")
    decode.add_argument("--seed", type=int, default=0)
    decode.add_argument("--max-new-tokens", type=int, default=48)
    decode.add_argument("--temperature", type=float, default=0.0)
    decode.add_argument("--top-p", type=float, default=1.0, help="below 1: draw from the nucleus")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("train", parents=[shared], help="train concepts and save their vectors")
    command.add_argument(
        "concepts", nargs="*", help="names of shipped concepts, or concept files (default: all shipped)"
    )
    command.add_argument(
        "--out",
        type=Path,
        help="folder for NAME.safetensors (default: trained/HASH OF THE MODEL in the user's cache)",
    )
    command.add_argument(
        "--source",
        choices=["input", "output"],
        default="input",
        help="label texts by their side, or by the model's response",
    )
    command.add_argument(
        "--position",
        choices=["mean", "last"],
        default="mean",
        help="read the mean over a text's tokens, or its last token",
    )
    command = commands.add_parser(
        "calibrate",
        parents=[shared, using],
        help="measure what steering costs and does, and choose what it steers with; goes on where it was stopped",
    )
    command.add_argument("names", nargs="*", help="concepts (default: all)")
    command.add_argument("--out", type=Path, help="folder for NAME.safetensors (default: the user's cache)")
    command.add_argument("--methods", nargs="+", choices=["auto", "gcav", "fixed"], default=["auto", "fixed"])
    command.add_argument("--prompts", type=int, default=12, help="how many training prompts (default: 12)")
    command.add_argument("--tokens", type=int, default=32, help="length of the answers (default: 32)")
    command.add_argument("--no-search", action="store_true", help="take the usual direction and layers")
    command.add_argument("--again", action="store_true", help="also where there is a calibration")
    command = commands.add_parser(
        "scorer", parents=[], help="fit a concept's independent scorer on a sentence encoder"
    )
    command.add_argument("concept", help="name of a shipped concept")
    command.add_argument("--labelled", type=Path, help="texts labelled by people beside the concept's own")
    command.add_argument("--most", type=int, default=1200, help="most labelled texts, half of each label")
    command.add_argument("--data", default="the concept's texts", help="what the card says of the data")
    command.add_argument("--json", action="store_true", help="print JSON")
    command = commands.add_parser(
        "generate", parents=[shared, using, decode], help="answer a prompt, unsteered and steered"
    )
    add_arguments(command)
    command = commands.add_parser(
        "sweep", parents=[shared, using, decode], help="a table over magnitudes and layer bands"
    )
    group = command.add_mutually_exclusive_group(required=True)
    group.add_argument("--prompt")
    group.add_argument("--prompts", type=Path, help="a file, one prompt a line")
    command.add_argument(
        "--values", type=float, nargs="+", help="p0, or strengths for the method fixed (default: nine)"
    )
    command.add_argument("--bands", nargs="+", help="bands of blocks such as 5-9 10-14")
    command.add_argument("--csv", type=Path)
    command = commands.add_parser(
        "evaluate",
        parents=[shared, using],
        help="methods compared at one plan; or accuracy on labelled texts",
    )
    command.add_argument("--plan", help="a plan as JSON, or a file that holds it")
    command.add_argument("--prompts", type=Path, help="a file, one prompt a line")
    command.add_argument("--concept", help="with --labelled: whose vectors are tried")
    command.add_argument(
        "--most", type=int, default=600, help="with --labelled: most texts, half of each label"
    )
    command.add_argument("--labelled", type=Path, help="JSON Lines of text and toxic, label or rating")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--max-new-tokens", type=int, default=48)
    command = commands.add_parser(
        "frontier",
        parents=[shared, using],
        help="score against KL of every method, on held-out prompts; goes on where it was stopped",
    )
    command.add_argument(
        "names", nargs="*", help="name to amplify a concept, -name to remove it (default: all)"
    )
    command.add_argument("--prompts", type=Path, help="a file, one prompt a line (default: held-out ones)")
    command.add_argument(
        "--continue",
        dest="continued",
        action="store_true",
        help="the lines of --prompts are plain text to be continued",
    )
    command.add_argument("--count", type=int, default=20, help="how many prompts (default: 20)")
    command.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[0],
        help="each lot of twelve prompts is answered from the next of them (default: 0)",
    )
    command.add_argument("--max-new-tokens", type=int, default=24)
    command.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    command.add_argument("--folder", type=Path, help="where texts are kept, a file a concept and direction")
    command = commands.add_parser(
        "blind", help="draw answers of a frontier for an outside reader, who sees no method"
    )
    command.add_argument("folder", type=Path, help="of frontier --folder")
    command.add_argument("key", type=Path, help="the file that will tell who wrote what")
    command.add_argument("blind", type=Path, help="the file for the reader")
    command.add_argument(
        "--each", type=int, default=3, help="prompts of each concept and direction (default: 3)"
    )
    command.add_argument("--seed", type=int, default=0)
    command = commands.add_parser("judged", help="the table of what a reader judged")
    command.add_argument("key", type=Path, help="of blind")
    command.add_argument(
        "ratings",
        type=Path,
        nargs="+",
        help='a file a sitting: JSON Lines of {"id", "concept", "instruction", "fluent"}, each from 0 to 2',
    )
    command = commands.add_parser(
        "export", parents=[shared, using], help="write a concept's directions as .gguf or .safetensors"
    )
    command.add_argument("concept")
    command.add_argument("out", type=Path)
    command.add_argument("--method", choices=["auto", "gcav", "diffmean"], default="auto")
    return parser


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8").splitlines() if line.strip()]


def _train(args: argparse.Namespace, library: Library) -> JsonObject:
    done: dict[str, JsonObject] = {}
    out = args.out or cache_folder("trained", library.model.hash)
    for name in args.concepts or list(shipped()):
        concept = shipped()[name] if name in shipped() else Concept.load(name)
        cav = train(library.model, concept, Settings(source=args.source, position=args.position))
        path = out / f"{concept.name}.safetensors"
        cav.save(path)
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
                f"{concept.name}: best held-out accuracy {best:.3f}, shuffled {shuffled:.3f}, random {random:.3f}: {path}",
                flush=True,
            )
    return done


def main(argv: list[str] | None = None) -> int:
    """Runs a command; errors of the user's input become one line."""
    args = _parser().parse_args(argv)
    try:
        if args.command in _WITHOUT_MODEL:
            print(_WITHOUT_MODEL[args.command](args))
            return 0
        library = Library(load(args.model))
        if args.command != "train":
            _own(library, args.concepts, args.vectors)
        result = _COMMANDS[args.command](args, library)
    except (ValueError, OSError, SourceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(result))
    elif args.command != "train":
        print(result if isinstance(result, str) else json.dumps(result, indent=1))
    return 0


def _own(library: Library, concepts: list[Path], vectors: list[Path]) -> None:
    library.concepts |= {concept.name: concept for concept in map(Concept.load, concepts)}
    for path in vectors:
        if path.suffix == ".gguf":
            _import(library, path)
            continue
        cav = CAV.load(path)
        if cav.concept not in library.concepts:
            raise ValueError(
                f"{path} holds vectors of {cav.concept!r}, which does not ship: give its texts with --concepts."
            )
        library.add(library.concepts[cav.concept], cav)


def _import(library: Library, path: Path) -> None:
    """A control vector as a concept that is called as its file, with the calibration that it was given here."""
    with path.open("rb") as file:
        concept, cav = imported(library.model, file.read(MAX_BYTES + 1), path.stem)
    library.add(concept, cav)
    if (kept := library.kept(concept.name)) is not None:
        library.add(concept, kept)


def _calibrate(args: argparse.Namespace, library: Library) -> JsonObject:
    done: dict[str, JsonObject] = {}
    settings = Bounds(args.prompts, args.tokens)
    for name in args.names or list(library.concepts):
        cav = _ready(args.out, name, library)
        if cav.calibration is None or args.again:
            cav = calibrate(
                library,
                name,
                methods=args.methods,
                settings=settings,
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
    concept = shipped()[args.concept]
    positive, negative = list(concept.positive), list(concept.negative)
    if args.labelled:
        sides = sample(args.labelled, args.most // 2, 0)
        positive, negative = positive + sides[1], negative + sides[0]
    head = fit_head(concept.name, positive, negative, args.data)
    return json.dumps({"written": str(head.save()), "n": head.n, "accuracy": head.accuracy})


def _band(text: str) -> tuple[int, ...]:
    match = re.fullmatch(r"(\d{1,4})-(\d{1,4})", text)
    if match is None or int(match[2]) < int(match[1]):
        raise ValueError(f"A band is {text!r}: give first and last block, such as 8-15.")
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
        bench = Bench(
            library,
            name,
            direction,
            methods=args.methods,
            tokens=args.max_new_tokens,
            continued=args.continued,
        )
        path = args.folder and args.folder / f"{name}-{direction}.jsonl"
        tell = _tell(f"{name} {direction}")
        for share, results in frontier(bench, spread(prompts, args.seeds), path):
            tell(share)
            so_far = results
        tables.append((name, direction, so_far))
    if args.json:
        return {f"{name} {direction}": to_dict(results) for name, direction, results in tables}
    whole = (
        [summary(tables)]
        if all({texts.method for texts in results} >= SUMMARISED for *_, results in tables)
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
