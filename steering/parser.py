"""The command line of `python -m steering`."""

from pathlib import Path

from common.arguments import Commands, Parser, integer, number
from common.bounds import MAX_NEW_TOKENS, MAX_SEED
from lm.prompts import add_arguments
from steering.frontier import METHODS
from steering.plan import MAX_STRENGTH

MAX_TEXTS = 10**9
"""Upper bound of a count: a number beyond what a file holds takes all of it."""


def parser() -> Parser:
    """Every command with its options."""
    whole = Parser(
        prog="python -m steering", description="Concept activation vectors: train, steer, measure, export."
    )
    commands = whole.commands()
    shared, using, decode = _shared(), _using(), _decode()
    _train(commands, shared)
    _calibrate(commands, shared, using)
    _scorer(commands)
    _generate(commands, shared, using, decode)
    _sweep(commands, shared, using, decode)
    _evaluate(commands, shared, using)
    _frontier(commands, shared, using)
    _blind(commands)
    _judged(commands)
    _export(commands, shared, using)
    return whole


def _shared() -> Parser:
    """Options of every command that loads a model."""
    shared = Parser(add_help=False)
    shared.add_argument("--model", help="folder or hub id (default: $TRADEWIND_MODEL or the embedded model)")
    shared.add_argument("--json", action="store_true", help="print JSON")
    return shared


def _using() -> Parser:
    """Options that bring concepts, vectors and scorers."""
    using = Parser(add_help=False)
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
        help="what train wrote, in place of what ships, "
        "or llama.cpp control vectors (.gguf), each a concept of its file's name",
    )
    using.add_argument(
        "--scorer",
        nargs="+",
        default=[],
        metavar="CONCEPT=NAME",
        help="another independent scorer: vader, profanity, a head's name, "
        "or a sequence classifier as FOLDER#LABEL or ID#LABEL",
    )
    return using


def _decode() -> Parser:
    """Options of a decode."""
    decode = Parser(add_help=False)
    decode.add_argument("--plan", required=True, help="a plan as JSON, or a file that holds it")
    decode.add_argument("--seed", type=integer(0, MAX_SEED), default=0)
    decode.add_argument("--max-new-tokens", type=integer(1, MAX_NEW_TOKENS), default=48)
    decode.add_argument("--temperature", type=number(0, 10), default=0.0)
    decode.add_argument("--top-p", type=number(0, 1), default=1.0, help="below 1: draw from the nucleus")
    return decode


def _train(commands: Commands, shared: Parser) -> None:
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


def _calibrate(commands: Commands, shared: Parser, using: Parser) -> None:
    command = commands.add_parser(
        "calibrate",
        parents=[shared, using],
        help="measure what steering costs and does, and choose what it steers with; "
        "goes on where it was stopped",
    )
    command.add_argument("names", nargs="*", help="concepts (default: all)")
    command.add_argument("--out", type=Path, help="folder for NAME.safetensors (default: the user's cache)")
    command.add_argument("--methods", nargs="+", choices=["auto", "gcav", "fixed"], default=["auto", "fixed"])
    command.add_argument(
        "--prompts", type=integer(1, MAX_TEXTS), default=12, help="how many training prompts (default: 12)"
    )
    command.add_argument(
        "--tokens", type=integer(1, MAX_NEW_TOKENS), default=32, help="length of the answers (default: 32)"
    )
    command.add_argument("--no-search", action="store_true", help="take the usual direction and layers")
    command.add_argument("--again", action="store_true", help="also where there is a calibration")


def _scorer(commands: Commands) -> None:
    command = commands.add_parser(
        "scorer",
        parents=[],
        help="fit a concept's independent scorer on a sentence encoder, or try any scorer on people's labels",
    )
    command.add_argument(
        "concept", help="name of a shipped concept; or FOLDER#LABEL or ID#LABEL, a classifier to be tried"
    )
    command.add_argument("--labelled", type=Path, help="texts labelled by people beside the concept's own")
    command.add_argument(
        "--most", type=integer(2, MAX_TEXTS), default=1200, help="most labelled texts, half of each label"
    )
    command.add_argument("--data", default="the concept's texts", help="what the card says of the data")
    command.add_argument("--json", action="store_true", help="print JSON")


def _generate(commands: Commands, shared: Parser, using: Parser, decode: Parser) -> None:
    command = commands.add_parser(
        "generate", parents=[shared, using, decode], help="answer a prompt, unsteered and steered"
    )
    add_arguments(command)


def _sweep(commands: Commands, shared: Parser, using: Parser, decode: Parser) -> None:
    command = commands.add_parser(
        "sweep", parents=[shared, using, decode], help="a table over magnitudes and layer bands"
    )
    group = command.add_mutually_exclusive_group(required=True)
    group.add_argument("--prompt")
    group.add_argument("--prompts", type=Path, help="a file, one prompt a line")
    command.add_argument(
        "--values",
        type=number(0, MAX_STRENGTH),
        nargs="+",
        help="p0, or strengths for the method fixed (default: nine)",
    )
    command.add_argument("--bands", nargs="+", help="bands of layers such as 5-9 10-14")
    command.add_argument("--csv", type=Path)


def _evaluate(commands: Commands, shared: Parser, using: Parser) -> None:
    command = commands.add_parser(
        "evaluate",
        parents=[shared, using],
        help="methods compared at one plan; or accuracy on labelled texts",
    )
    command.add_argument("--plan", help="a plan as JSON, or a file that holds it")
    command.add_argument("--prompts", type=Path, help="a file, one prompt a line")
    command.add_argument("--concept", help="with --labelled: whose vectors are tried")
    command.add_argument(
        "--most",
        type=integer(2, MAX_TEXTS),
        default=600,
        help="with --labelled: most texts, half of each label",
    )
    command.add_argument("--labelled", type=Path, help="JSON Lines of text and toxic, label or rating")
    command.add_argument("--seed", type=integer(0, MAX_SEED), default=0)
    command.add_argument("--max-new-tokens", type=integer(1, MAX_NEW_TOKENS), default=48)


def _frontier(commands: Commands, shared: Parser, using: Parser) -> None:
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
    command.add_argument(
        "--count", type=integer(1, MAX_TEXTS), default=20, help="how many prompts (default: 20)"
    )
    command.add_argument(
        "--seeds",
        type=integer(0, MAX_SEED),
        nargs="+",
        default=[0],
        help="each lot of twelve prompts is answered from the next of them (default: 0)",
    )
    command.add_argument("--max-new-tokens", type=integer(1, MAX_NEW_TOKENS), default=24)
    command.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    command.add_argument("--folder", type=Path, help="where texts are kept, a file a concept and direction")


def _blind(commands: Commands) -> None:
    command = commands.add_parser(
        "blind", help="draw answers of a frontier for an outside reader, who sees no method"
    )
    command.add_argument("folder", type=Path, help="of frontier --folder")
    command.add_argument("key", type=Path, help="the file that will tell who wrote what")
    command.add_argument("blind", type=Path, help="the file for the reader")
    command.add_argument(
        "--each",
        type=integer(1, MAX_TEXTS),
        default=3,
        help="prompts of each concept and direction (default: 3)",
    )
    command.add_argument("--seed", type=integer(0, MAX_SEED), default=0)


def _judged(commands: Commands) -> None:
    command = commands.add_parser("judged", help="the table of what a reader judged")
    command.add_argument("key", type=Path, help="of blind")
    command.add_argument(
        "ratings",
        type=Path,
        nargs="+",
        help='a file a sitting: JSON Lines of {"id", "concept", "instruction", "fluent"}, each from 0 to 2',
    )


def _export(commands: Commands, shared: Parser, using: Parser) -> None:
    command = commands.add_parser(
        "export", parents=[shared, using], help="write a concept's directions as .gguf or .safetensors"
    )
    command.add_argument("concept")
    command.add_argument("out", type=Path)
    command.add_argument("--method", choices=["auto", "gcav", "diffmean"], default="auto")
