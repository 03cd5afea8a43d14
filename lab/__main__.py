"""tradewind prepare [MODEL]"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from common.arguments import Parser, integer
from common.command import exit_code
from lab.lacking import PARTS, TRADE_OFFS
from lab.pace import Pace
from lab.prepare import Preparation, Task, left
from lm import SourceError, load
from pareto.arguments import replacements, share
from pareto.prepare import Wanted
from pareto.rewards import KINDS, OBJECTIVES, named
from pareto.settings import BOUNDS

MINUTE, HOUR = 90, 5400


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="tradewind prepare",
        description="Makes all that the tabs want of a model: concept vectors with their calibration, reward heads, checkpoints, a front. "
        "It goes on where it was stopped, and any number of processes share the work.",
    )
    parser.add_argument(
        "model", nargs="?", help="folder or hub id (default: $TRADEWIND_MODEL or the embedded model)"
    )
    parser.add_argument("--only", choices=PARTS, help="one tab's part")
    parser.add_argument(
        "--part", type=share, default=(1, 1), metavar="I/N", help="do only this share of the work"
    )
    parser.add_argument(
        "--steps", type=integer(*BOUNDS["steps"]), default=Wanted.steps, help="of each training"
    )
    parser.add_argument("--seeds", type=integer(1, 100), default=Wanted.seeds, help="trainings of each point")
    parser.add_argument(
        "--samples", type=integer(1, 100), default=Wanted.samples, help="answers to a prompt that are scored"
    )
    parser.add_argument(
        "--reward",
        action="append",
        default=[],
        metavar="OBJECTIVE=WHAT",
        help=f"for {' or '.join(OBJECTIVES)}, in place of a fitted head: "
        + ", ".join(kind.title for kind in KINDS),
    )
    parser.add_argument(
        "--anew",
        action="store_true",
        help="make what ships with the model, too: give it a cache of its own in $TRADEWIND_CACHE, since trainings take heads that were fitted before those that ship",
    )
    parser.add_argument("--estimate", action="store_true", help="tell what it takes, and do nothing")
    return parser


def duration(seconds: float) -> str:
    """40 s, 12 min, 3.5 h."""
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < HOUR else f"{seconds / 3600:.1f} h"


def announced(tasks: list[Task], pace: Pace) -> str:
    """What is left, what it takes, and from what that is known."""
    undone = [task for task in tasks if not task.done()]
    counts = Counter(task.kind for task in undone)
    seconds = {kind: sum(task.seconds for task in undone if task.kind == kind) for kind in counts}
    lines = [
        f"  {kind}: {counts[kind]}, about {duration(seconds[kind])}" for kind in counts if kind != "front"
    ]
    step = "" if pace.step is None else f", {pace.step:.2f} s a training step"
    measured = f"{1 / pace.reading:,.0f} tokens/s read, {1 / pace.decoding:,.0f} written{step}"
    return "\n".join([*lines, f"Together about {duration(left(tasks))} here ({measured}, just measured)."])


def _shower() -> Callable[[dict[str, Any]], None]:
    """Prints how far it is, a line for every percent and every task."""
    shown: set[tuple[int, str]] = set()

    def show(state: dict[str, Any]) -> None:
        line = round(100 * state["fraction"]), state["note"].partition(":")[0]
        if line not in shown:
            shown.add(line)
            print(
                f"{line[0]:3} %, {duration(state['seconds_left'])} left: {state['note']}",
                file=sys.stderr,
                flush=True,
            )

    return show


def _prepare(args: argparse.Namespace) -> None:
    words = replacements(args.reward)
    if unknown := [name for name in words if name not in OBJECTIVES]:
        raise ValueError(f"--reward names {', '.join(unknown)}: give {' or '.join(OBJECTIVES)}")
    model = load(args.model, engine="rows")
    rewards = {name: named(word, model) for name, word in words.items()}
    wanted = Wanted(args.steps, args.seeds, args.samples, rewards)
    part, parts = args.part
    only = (args.only,) if args.only else PARTS
    preparation = Preparation(model, wanted, only, part, parts, args.anew)
    trades = TRADE_OFFS in preparation.only
    if trades and preparation.untrained:
        print(f"No trade-offs but reward heads: {preparation.untrained}", file=sys.stderr)
    pace = Pace.of(model, heads=trades, trains=trades and not preparation.untrained)
    tasks = preparation.tasks(pace)
    undone = [task for task in tasks if not task.done()]
    if not undone:
        print(f"All of {model.name} is there, in {preparation.folder} or shipped.")
        return
    print(f"{model.name} lacks:\n{announced(tasks, pace)}", file=sys.stderr, flush=True)
    if args.estimate:
        return
    preparation.run(pace, _shower())
    print(
        f"Done: start it with tradewind --model {args.model or model.name}. All lies in {preparation.folder}."
    )


def main() -> int:
    """Exit code 2 where it cannot be done, with one sentence."""
    args = _parser().parse_args()
    return exit_code(lambda: _prepare(args), SourceError)


if __name__ == "__main__":
    sys.exit(main())
