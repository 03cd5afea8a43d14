"""`python -m arena create | columns | preferences | export | import | ranking | migrate`:
the arena without a page.
"""

import argparse
import importlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from arena import preferences, sheet
from arena.agreement import agreement, annotators
from arena.answering import Entrant, generate
from arena.battles import Output, create
from arena.errors import ArenaError
from arena.exchange import export, import_
from arena.front import human_front
from arena.outside import Columns, guess, sample
from arena.outside import read as read_outputs
from arena.questions import GUIDELINE, OPENING, parsed
from arena.ranking import ranking
from arena.readers import read_policies, read_prompts, read_runs
from arena.records import asked, votes_frame
from arena.schema import REVEALS
from arena.settings import MAX_MINIMUM
from arena.store import Store
from arena.studies import listing
from common.arguments import Commands, Parser, integer, number
from common.bounds import MAX_NEW_TOKENS, MAX_SEED
from common.command import exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, or 2 with one line that says what to do."""
    options = _parser().parse_args(arguments)
    return exit_code(lambda: options.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m arena", description=__doc__)
    shared = Parser(add_help=False)
    shared.add_argument(
        "--database", help="SQLAlchemy URL (default: DATABASE_URL, else a file in your data folder)"
    )
    commands = parser.commands()
    _create_parser(commands, shared)
    _export_parsers(commands, shared)

    look = commands.add_parser("columns", help="the columns of a file, what they seem to be, and three rows")
    look.add_argument("outputs", type=Path)
    look.add_argument("--encoding", help="of the file, where its guess is wrong")
    look.set_defaults(run=_look)

    rank = commands.add_parser("ranking", parents=[shared], help="who is preferred, and how far people agree")
    rank.add_argument("--json", action="store_true", help="everything, as JSON")
    rank.set_defaults(run=_ranking)

    migrate = commands.add_parser("migrate", parents=[shared], help="bring an older database to this version")
    migrate.set_defaults(run=lambda options: print(f"schema {Store(options.database, migrate=True).version}"))
    return parser


def _create_parser(commands: Commands, shared: Parser) -> None:
    make = commands.add_parser("create", parents=[shared], help="generate answers and store a study")
    make.add_argument("--prompts", type=Path, help="a prompt a line, or JSON Lines with a field prompt")
    make.add_argument("--policies", type=Path, help='JSON: [{"name", "plan"|"checkpoint"|"mix"|"base"}, ...]')
    make.add_argument(
        "--runs", type=Path, help='answers made before: JSON Lines of {"prompt", "policy", "text"}'
    )
    make.add_argument(
        "--outputs",
        type=Path,
        help="outputs made elsewhere: CSV, JSON Lines, Parquet, or a data set's folder",
    )
    _columns(make)
    make.add_argument(
        "--resolver",
        default="lab.policies:policies",
        help="module:function that turns policies into entrants",
    )
    make.add_argument("--name", default="Battles", help="name of the study")
    make.add_argument(
        "--question",
        action="append",
        metavar="KEY:TEXT",
        help='what is asked of every battle, once for each question (default: "helpful" and "harmless")',
    )
    make.add_argument("--guideline", type=Path, help="Markdown that annotators read")
    make.add_argument("--reveal", choices=REVEALS, default="vote", help="when names are told (default: vote)")
    make.add_argument(
        "--minimum", type=integer(1, MAX_MINIMUM), default=3, help="votes wanted for every battle"
    )
    make.add_argument(
        "--repeats", type=number(0, 1), default=0.1, help="share of battles repeated with swapped sides"
    )
    make.add_argument(
        "--traps", type=number(0, 0.5), default=0.0, help="share of battles with a known answer"
    )
    make.add_argument("--seed", type=integer(0, MAX_SEED), default=0, help="seed of the generation")
    make.add_argument("--max-new-tokens", type=integer(1, MAX_NEW_TOKENS), default=128)
    make.set_defaults(run=_create)


def _export_parsers(commands: Commands, shared: Parser) -> None:
    out = commands.add_parser("export", parents=[shared], help="write CSV, Parquet and a dataset card")
    out.add_argument("folder", type=Path)
    out.add_argument("--names", action="store_true", help="keep the annotators' names")
    out.add_argument("--study", metavar="NAME", help="one study, with its outputs and preferences")
    out.set_defaults(run=_export)

    prefer = commands.add_parser(
        "preferences", parents=[shared], help="votes as prompt, chosen, rejected: a file for each question"
    )
    prefer.add_argument("folder", type=Path)
    prefer.add_argument("--study", metavar="NAME", help="of one study (default: all)")
    prefer.set_defaults(run=_preferences)

    into = commands.add_parser("import", parents=[shared], help="read an exported folder")
    into.add_argument("folder", type=Path)
    into.set_defaults(run=lambda options: _tell(import_(Store(options.database), options.folder)))


def _columns(parser: Parser) -> None:
    parser.add_argument("--prompt", metavar="COLUMN", help="with --outputs: the column of the prompts")
    parser.add_argument(
        "--output",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="with --outputs: a column for each model; or one, beside --model",
    )
    parser.add_argument(
        "--model", metavar="COLUMN", help="with --outputs: the column that names each row's model"
    )
    parser.add_argument("--system", metavar="COLUMN", help="with --outputs: the column of the system prompts")
    parser.add_argument("--tag", metavar="COLUMN", help="with --outputs: a word by which results are sliced")
    parser.add_argument("--encoding", help="with --outputs: of the file, where its guess is wrong")


def _tell(counts: Mapping[str, int]) -> None:
    print(", ".join(f"{count} {name}" for name, count in counts.items()))


def _create(options: argparse.Namespace) -> None:
    sources = (options.runs, options.outputs, options.policies)
    if sum(source is not None for source in sources) != 1 or (options.policies is None) != (
        options.prompts is None
    ):
        raise ArenaError(
            "Give just one of --outputs FILE, --runs FILE, or --prompts FILE with --policies FILE."
        )
    store = Store(options.database)
    created = create(
        store,
        options.name,
        _outputs(options),
        questions=parsed("\n".join(options.question)) if options.question else OPENING,
        guideline=options.guideline.read_text(encoding="utf-8") if options.guideline else GUIDELINE,
        minimum=options.minimum,
        repeats=options.repeats,
        traps=options.traps,
        reveal=options.reveal,
    )
    print(json.dumps(asdict(created)))


def _outputs(options: argparse.Namespace) -> list[Output]:
    if options.runs:
        return read_runs(options.runs)
    if options.policies:
        return _generate(options)
    columns = Columns(options.prompt, tuple(options.output), options.model, options.system, options.tag)
    if not (columns.prompt and columns.outputs):
        guessed = guess(sheet.read(options.outputs, encoding=options.encoding))
        columns = Columns(
            columns.prompt or guessed.prompt,
            columns.outputs or guessed.outputs,
            columns.model or (None if columns.outputs else guessed.model),
            columns.system or guessed.system,
            columns.tag or guessed.tag,
        )
        print(_as_options(columns), file=sys.stderr)
    return read_outputs(options.outputs, columns, encoding=options.encoding)


def _as_options(columns: Columns) -> str:
    """The columns written as command-line options."""
    named: list[tuple[str, str | None]] = [
        ("prompt", columns.prompt),
        *(("output", name) for name in columns.outputs),
    ]
    named += [("model", columns.model), ("system", columns.system), ("tag", columns.tag)]
    return "columns: " + " ".join(f"--{option} {shlex.quote(name)}" for option, name in named if name)


def _look(options: argparse.Namespace) -> None:
    table = sheet.read(options.outputs, encoding=options.encoding)
    names, rows = sample(table)
    print(f"{options.outputs.name}: {len(table.rows)} rows, {table.about}")
    print(_as_options(guess(table)))
    for row in rows:
        print(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, indent=1))


def _export(options: argparse.Namespace) -> None:
    store = Store(options.database)
    set_id = _study(store, options.study)
    _tell(export(store, options.folder, names=options.names, set_id=set_id))


def _preferences(options: argparse.Namespace) -> None:
    store = Store(options.database)
    counts = preferences.write(store, options.folder, _study(store, options.study))
    if not counts:
        raise ArenaError("No battle has more votes for one output than for the other yet: judge some first.")
    _tell({f"pairs for {question}": count for question, count in counts.items()})


def _study(store: Store, name: str | None) -> str | None:
    """The id of a study by its name."""
    if name is None:
        return None
    known = {study.name: study.id for study in listing(store)}
    if name not in known:
        raise ArenaError(f"There is no study {name!r}: give one of {', '.join(map(repr, known)) or 'none'}.")
    return known[name]


def _generate(options: argparse.Namespace) -> list[Output]:
    module, _, function = options.resolver.partition(":")
    resolve = getattr(importlib.import_module(module), function)
    entrants: Mapping[str, Entrant] = resolve(read_policies(options.policies))
    prompts = read_prompts(options.prompts)
    outputs: list[Output] = []
    for part in generate(entrants, prompts, seed=options.seed, max_new_tokens=options.max_new_tokens):
        outputs += part
        print(f"{len(outputs)} of {len(entrants) * len(prompts)} answers", file=sys.stderr)
    return outputs


def _ranking(options: argparse.Namespace) -> None:
    with Store(options.database).read() as session:
        votes = votes_frame(session)
    rankings = {question: ranking(votes, question) for question in asked(votes)}
    if options.json:
        report = {
            "questions": {question: result.to_json() for question, result in rankings.items()},
            "agreement": {question: agreement(votes, question) for question in rankings},
            "annotators": json.loads(annotators(votes).to_json(orient="records")),
            "front": json.loads(human_front(votes).to_json(orient="records", double_precision=15)),
        }
        print(json.dumps(report, indent=2))
        return
    for question, result in rankings.items():
        alpha = agreement(votes, question)["alpha"]
        print(f"{question}: {result.votes} votes, alpha {'—' if alpha is None else f'{alpha:.2f}'}")
        if result.warning:
            print(result.warning)
        print(result.table.to_string(index=False, float_format="{:.2f}".format), end="\n\n")


if __name__ == "__main__":
    sys.exit(main())
