"""The Steer tab's work: checks what the page asks for, runs it, and reports progress to the page."""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from common.jsons import shown
from common.messages import Chart
from lm import Stopped
from steering import charts
from steering.cav import CAV
from steering.control_vectors import export
from steering.edits import layers_of
from steering.inspector import inspect
from steering.library import Library
from steering.messages import Lens, Stage, Work
from steering.methods import Cases, compare
from steering.plan import Plan
from steering.session import Request, Send, Session
from steering.stage import stream
from steering.sweep import sweep, thirds
from steering.teaching import drafted, learned
from ui import sessions
from ui.background import Report, Result, following, left
from ui.validation import sentence, whole, wrong

log = logging.getLogger(__name__)
MAX_OWN_CONCEPTS = 8
SWEEP_TOKENS = 48


class Controller:
    """What all sessions of one app ask of the tab."""

    def __init__(self, library: Library):
        self.library = library
        self._sessions = sessions.Sessions(lambda: Session(library.session()))

    def session(self, key: str | None) -> Session:
        """The tab of a session."""
        return self._sessions.of(key)

    def stop(self, key: str | None, work: str) -> None:
        """Stops a work of a session."""
        self._sessions.stop(key, work)

    def run(self, key: str | None, asked: Mapping[str, Any]) -> Iterator[tuple[Stage, Chart | None]]:
        """States of the stage, and the heat map at the end. A newer run of the session ends this one, or
        keeps it from starting.
        """
        session = self.session(key)
        number = asked.get("run", 0)
        if type(number) is not int:
            problem = f"Run is {shown(number)}: give a whole number."
            yield {"run": None, "phase": "error", "problem": problem, "field": None}, None
            return
        if number < session.newest:
            return
        session.newest = number
        stop = session.take_over("run")
        session.last = None
        state: Stage = {"run": number, "phase": "running", "unsteered": [], "steered": []}
        try:
            request = Request.parse(asked, session.library.model)
            for fraction, note in _learn(session, [*request.plan.concepts, *request.watch], stop):
                yield {**state, "phase": "learning", "fraction": fraction, "note": note}, None
            yield from stream(session, number, request, state, stop)
        except Stopped:
            yield {**state, "phase": "stopped", "note": "Stopped."}, None
        except Exception as error:
            yield {**state, "phase": "error", **wrong(error), "problem": _problem("run", error)}, None

    def sweep(self, key: str | None, asked: Mapping[str, Any]) -> Iterator[Work]:
        """States of the dose-response chart."""
        session = self.session(key)
        return _ended("sweep", _sweep(session.library, asked, session.take_over("sweep")))

    def train(self, key: str | None, asked: Mapping[str, Any]) -> Iterator[Work]:
        """States of the trainer; the last one names the concept that the session may use from then on."""
        session = self.session(key)
        return _ended("train", self._train(session, asked, session.take_over("train")))

    def _train(self, session: Session, asked: Mapping[str, Any], stop: threading.Event) -> Iterator[Work]:
        new = str(asked.get("name", "")).strip() not in session.library.concepts
        if new and session.own >= MAX_OWN_CONCEPTS:
            raise ValueError(f"A tab holds {MAX_OWN_CONCEPTS} concepts of its own at most: open another tab.")
        yield {"fraction": 0.0, "note": "Reading the examples."}
        began = time.monotonic()
        done, note = yield from _relay(
            lambda report: learned(session.library, asked, self.library.concepts, report, stop),
            lambda fraction: f"Reading, then trying how far it can go. {left(began, fraction)}",
        )
        session.own += new
        yield {"fraction": None, "note": note, "done": done}

    def write(self, key: str | None, asked: Mapping[str, Any]) -> Iterator[Work]:
        """States of the trainer while the model writes examples for a sentence; the last one has them."""
        session = self.session(key)
        return _ended("train", _write(session.library, asked.get("sentence"), session.take_over("train")))

    def inspect(self, key: str | None, asked: Mapping[str, Any]) -> Lens:
        """What the models would have said at a token of the last complete run, and what they
        read there. Raises ValueError.
        """
        session = self.session(key)
        if session.last is None or asked.get("run") != session.last.number:
            raise ValueError("The run is not complete yet: wait for the texts, then click a token.")
        pair = session.last.pair
        side = whole(asked, "side", 0, len(pair.sides) - 1)
        index = whole(asked, "index", 0, len(pair.decoding.runs[side].ids) - 1)
        return {**inspect(session.library, pair, side, index), "run": session.last.number}

    def compare(self, key: str | None, send: Send, sender: str | None = None) -> str:
        """Hands the last complete run to the blind comparison under a login; returns the sentence to show."""
        session = self.session(key)
        if session.last is None:
            return "There is no complete run yet: wait for the texts, then send them."
        if session.last is session.sent:
            return "These texts are in Compare already."
        request, runs = session.last.request, session.last.pair.decoding.runs[:2]
        if not request.prompts.alike:
            return (
                "The columns answered histories of their own here, "
                "and a blind comparison is of answers to one prompt: send the first turn."
            )
        if request.begin:
            return (
                "These answers go on from a beginning that you chose: "
                "send answers that the model began itself."
            )
        try:
            sides = list(zip(("base model", request.plan.title), (None, request.plan), runs, strict=True))
            answer = send(request, sides, sender)
        except ValueError as error:
            return sentence(error)
        session.sent = session.last
        return answer

    def vector(self, key: str | None, name: object, kind: object = "safetensors") -> tuple[str, bytes]:
        """File name and content of a concept's vectors; kind: "safetensors" or "gguf" (control vector)."""
        library = self.session(key).library
        cav = library.cav(str(name))
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"vector.{'gguf' if kind == 'gguf' else 'safetensors'}"
            if kind == "gguf":
                export(cav, path, method="auto", family=library.model.family)
            else:
                cav.save(path)
            return f"{cav.concept}-{cav.model.split('/')[-1]}{path.suffix}", path.read_bytes()


def _ended(work: str, states: Iterator[Work]) -> Iterator[Work]:
    """The states of a work, and a last one with the reason if it ends early."""
    try:
        yield from states
    except Stopped:
        yield {"fraction": None, "note": "Stopped."}
    except Exception as error:
        yield {"fraction": None, "problem": _problem(work, error)}


def _problem(work: str, error: Exception) -> str:
    """The page's sentence for an error: what is wrong with the request, or that the fault is ours, which the
    log explains.
    """
    if isinstance(error, ValueError):
        return sentence(error)
    log.error("the %s of a visitor failed", work, exc_info=error)
    return (
        f"This {work} failed by a fault of the app ({type(error).__name__}), which its log explains: "
        "try again, or change the settings."
    )


def _learn(session: Session, names: Sequence[str], stop: threading.Event) -> Iterator[tuple[float, str]]:
    """Makes the vectors that are missing; yields the share done of each and a note."""
    library, wanted = session.library, dict.fromkeys(names)
    if wanted.keys() <= session.ready:
        return
    missing = set(library.missing())
    for name in (name for name in wanted if name in missing):
        began = time.monotonic()
        for fraction in following(partial(_trained, library, name, stop)):
            yield fraction, f"Learning {name} for {library.model.name}, once. {left(began, fraction)}"
    session.ready |= wanted.keys() & library.concepts.keys()


def _trained(library: Library, name: str, stop: threading.Event, report: Report) -> CAV:
    return library.cav(name, progress=report, stop=stop)


def _sweep(library: Library, asked: Mapping[str, Any], stop: threading.Event) -> Iterator[Work]:
    request = Request.parse(asked, library.model)
    yield {"fraction": 0.02}
    if asked.get("methods") is not None:
        yield from _methods(library, request, asked["methods"], stop)
        return
    bands = _bands(library, request.plan) if asked.get("bands") else None
    table = yield from _relay(partial(_swept, library, request, bands, stop))
    concepts = [library.concepts[target.concept] for target in request.plan.targets]
    yield {"fraction": None, "chart": charts.dose(table, request.plan, concepts)}


def _methods(library: Library, request: Request, asked: object, stop: threading.Event) -> Iterator[Work]:
    """States of the same chart while methods are compared over several prompts."""
    parts = compare(
        library,
        request.plan,
        Cases.parse(asked),
        max_new_tokens=request.max_new_tokens,
        temperature=request.temperature,
        stop=stop,
    )
    for share, chart in parts:
        yield {"fraction": share if share < 1 else None, "chart": chart}


def _write(library: Library, sentence: object, stop: threading.Event) -> Iterator[Work]:
    doing = "The model writes examples."
    yield {"fraction": 0.0, "note": doing}
    sides, note = yield from _relay(
        lambda report: drafted(library.model, sentence, report, stop), lambda fraction: doing
    )
    yield {"fraction": None, "note": note, "drafts": sides}


def _bands(library: Library, plan: Plan) -> list[tuple[int, ...]]:
    """The plan's own layers, and the thirds of the model that differ from them."""
    own = layers_of(plan, [library.cav(target.concept) for target in plan.targets])
    return [own, *(band for band in thirds(library.model.layers) if band != own)]


def _swept(
    library: Library,
    request: Request,
    bands: list[tuple[int, ...]] | None,
    stop: threading.Event,
    report: Report,
) -> pd.DataFrame:
    [(_, table)] = sweep(
        library,
        [request.prompt],
        request.plan,
        bands=bands,
        seed=request.seed,
        max_new_tokens=min(request.max_new_tokens, SWEEP_TOKENS),
        temperature=request.temperature,
        top_p=request.top_p,
        stop=stop,
        report=report,
    )
    return table


def _relay(
    work: Callable[[Report], Result], note: Callable[[float], str] = lambda fraction: ""
) -> Generator[Work, None, Result]:
    """Yields how far work is while it runs in a thread, and returns its result."""
    running = following(work)
    while True:
        try:
            fraction = next(running)
        except StopIteration as end:
            result: Result = end.value
            return result
        yield {"fraction": max(0.02, fraction), "note": note(fraction)}
