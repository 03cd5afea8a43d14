"""The Steer tab's work: checks what the page asks for, runs it, and tells the page how it goes."""

import json
import logging
import reprlib
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pandas as pd

from common.bounds import MAX_SEED, MAX_TEMPERATURE
from common.messages import Chart
from lm import LanguageModel, Run, Stopped
from lm.prompts import MAX_NEW_TOKENS, Prompt
from lm.sources import DEFAULT_NAME
from steering import charts, view
from steering.cav import CAV
from steering.control_vectors import export
from steering.conversation import STEERED, Prompts
from steering.edits import Steering, layers_of
from steering.inspector import inspect
from steering.library import Library
from steering.messages import Lens, Shade, SideName, Stage, Work
from steering.methods import Asked, compared
from steering.plan import Layers, Plan
from steering.snippet import snippet
from steering.steer import MAX_WATCHED, Pair, finish, pair, wishes
from steering.sweep import sweep, thirds
from steering.teaching import drafted, learned
from ui import sessions
from ui.background import Report, Result, following, frame, left
from ui.validation import bounded, nucleus, sentence, wrong

log = logging.getLogger(__name__)
MAX_OWN_CONCEPTS = 8
SWEEP_TOKENS = 48
MAX_SWEPT = 120
"""Texts of 64 tokens that a script may sweep at once."""


@dataclass(frozen=True)
class Request:
    """What a page or a script asks for; every number is within bounds."""

    prompts: Prompts
    plan: Plan
    seed: int = 0
    max_new_tokens: int = 96
    temperature: float = 0.0
    top_p: float = 1.0
    rival: str | None = None
    watch: tuple[str, ...] = ()
    begin: tuple[int, ...] = ()

    @property
    def prompt(self) -> Prompt:
        """What the steered side answers."""
        return self.prompts.sides[STEERED]

    @classmethod
    def parse(cls, asked: Mapping[str, Any], model: LanguageModel) -> "Request":
        """Raises ValueError with one sentence where something is missing or out of bounds."""
        length = int(bounded(asked, "max_new_tokens", 1, MAX_NEW_TOKENS))
        return cls(
            Prompts.read(asked, model, length),
            Plan.from_json(asked.get("plan") or {}),
            int(bounded(asked, "seed", 0, MAX_SEED)),
            length,
            float(bounded(asked, "temperature", 0, MAX_TEMPERATURE)),
            float(bounded({"top_p": 1.0, **asked}, "top_p", 0, 1)),
            asked.get("rival"),
            tuple(_listed(asked, "watch", str, MAX_WATCHED)),
            tuple(_listed(asked, "begin", int, MAX_NEW_TOKENS)),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of `pair`."""
        names = ("seed", "max_new_tokens", "temperature", "top_p", "rival", "watch", "begin")
        return {name: getattr(self, name) for name in names} | {
            "prompts": {} if self.prompts.alike else self.prompts.sides
        }


Item = TypeVar("Item", int, str)


def _listed(asked: Mapping[str, Any], name: str, kind: type[Item], most: int) -> list[Item]:
    values = asked.get(name) or []
    if not isinstance(values, list) or len(values) > most or not all(type(value) is kind for value in values):
        what = "token ids" if kind is int else "names"
        raise ValueError(f"{name.capitalize()} is {str(values)[:60]}: give a list of at most {most} {what}.")
    return values


Send = Callable[[Request, list[tuple[str, Plan | None, Run]], str | None], str]
"""Takes a request and its runs (policy name, plan, run) to the Compare tab, and returns a sentence;
ValueError where it cannot.
"""


def swept(request: Request, magnitudes: Any, bands: Any) -> list[Layers]:
    """The bands of layers that a script sweeps over `magnitudes`; the plan's own where it gives none. Raises
    ValueError.
    """
    if not isinstance(magnitudes, list) or not all(type(value) in (int, float) for value in magnitudes):
        raise ValueError(f"magnitudes are {reprlib.repr(magnitudes)}: give a list of numbers")
    if not isinstance(bands, list | None):
        raise ValueError(
            f"bands are {reprlib.repr(bands)}: give a list of bands, each auto or a list of layers"
        )
    plan = json.loads(request.plan.to_json())
    layers = [Plan.from_json(plan | {"layers": band}).layers for band in bands or [plan["layers"]]]
    if not 0 < len(magnitudes) * len(layers) * request.max_new_tokens <= MAX_SWEPT * 64:
        raise ValueError(
            f"{len(magnitudes)} magnitudes over {len(layers)} bands: give 1 to {MAX_SWEPT} texts of 64 tokens"
        )
    return layers


@dataclass(frozen=True, eq=False)
class Complete:
    """A run of the page that came to its end: its number, what was asked, and its sides."""

    number: int
    request: Request
    pair: Pair


@dataclass
class Session(sessions.Session):
    """One browser tab: its concepts, its last complete run, and the newest run's number. Its works are "run",
    "sweep" and "train".
    """

    library: Library
    newest: int = 0
    last: Complete | None = None
    sent: Complete | None = None
    own: int = 0
    ready: set[str] = field(default_factory=set)


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
            problem = f"Run is {str(number)[:40]!r}: give a whole number."
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
            for fraction, note in self._learn(session, request.plan, request.watch, stop):
                yield {**state, "phase": "learning", "fraction": fraction, "note": note}, None
            yield from _stream(session, number, request, state, stop)
        except Stopped:
            yield {**state, "phase": "stopped", "note": "Stopped."}, None
        except Exception as error:
            yield {**state, "phase": "error", **wrong(error), "problem": _problem("run", error)}, None

    def _learn(
        self, session: Session, plan: Plan, watch: Sequence[str], stop: threading.Event
    ) -> Iterator[tuple[float, str]]:
        wanted = dict.fromkeys([*plan.concepts, *watch])
        library = session.library
        if wanted.keys() <= session.ready:
            return
        missing = set(library.missing())
        for name in wanted:
            if name in missing:
                began = time.monotonic()
                for fraction in following(partial(_fetched, library, name, stop)):
                    yield fraction, f"Learning {name} for {library.model.name}, once. {left(began, fraction)}"
        session.ready |= wanted.keys() & library.concepts.keys()

    def sweep(self, key: str | None, asked: Mapping[str, Any]) -> Iterator[Work]:
        """States of the dose-response chart."""
        session = self.session(key)
        stop = session.take_over("sweep")
        try:
            request = Request.parse(asked, session.library.model)
            yield {"fraction": 0.02}
            if asked.get("methods") is not None:
                yield from self._methods(session.library, request, asked["methods"], stop)
                return
            bands = _bands(session.library, request.plan) if asked.get("bands") else None
            table = yield from _relay(
                following(lambda report: _swept(session.library, request, bands, report, stop))
            )
            if table is None:
                raise Stopped
            yield {
                "fraction": None,
                "chart": charts.dose(
                    table, request.plan, session.library.concepts[request.plan.targets[0].concept]
                ),
            }
        except Stopped:
            yield {"fraction": None, "note": "Stopped."}
        except Exception as error:
            yield {"fraction": None, "problem": _problem("sweep", error)}

    def _methods(
        self, library: Library, request: Request, asked: object, stop: threading.Event
    ) -> Iterator[Work]:
        """States of the same chart while methods are compared over several prompts."""
        parts = compared(
            library,
            request.plan,
            Asked.parse(asked),
            max_new_tokens=request.max_new_tokens,
            temperature=request.temperature,
            stop=stop,
        )
        for share, chart in parts:
            yield {"fraction": share if share < 1 else None, "chart": chart}

    def train(self, key: str | None, asked: Mapping[str, Any]) -> Iterator[Work]:
        """States of the trainer; the last one names the concept that the session may use from then on."""
        session = self.session(key)
        stop = session.take_over("train")
        try:
            new = str(asked.get("name", "")).strip() not in session.library.concepts
            if new and session.own >= MAX_OWN_CONCEPTS:
                raise ValueError(
                    f"A tab holds {MAX_OWN_CONCEPTS} concepts of its own at most: open another tab."
                )
            yield {"fraction": 0.0, "note": "Reading the examples."}
            began = time.monotonic()
            done, note = yield from _relay(
                following(
                    lambda report: learned(session.library, asked, self.library.concepts, report, stop)
                ),
                lambda fraction: f"Reading, then trying how far it can go. {left(began, fraction)}",
            )
            session.own += new
            yield {"fraction": None, "note": note, "done": done}
        except Stopped:
            yield {"fraction": None, "note": "Stopped."}
        except Exception as error:
            yield {"fraction": None, "problem": _problem("train", error)}

    def write(self, key: str | None, asked: Mapping[str, Any]) -> Iterator[Work]:
        """States of the trainer while the model writes examples of what a sentence describes; the last one has them."""
        session = self.session(key)
        stop = session.take_over("train")
        try:
            yield {"fraction": 0.0, "note": "The model writes examples."}
            work = following(
                lambda report: drafted(session.library.model, asked.get("sentence"), report, stop)
            )
            sides, note = yield from _relay(work, lambda fraction: "The model writes examples.")
            yield {"fraction": None, "note": note, "drafts": sides}
        except Stopped:
            yield {"fraction": None, "note": "Stopped."}
        except Exception as error:
            yield {"fraction": None, "problem": _problem("train", error)}

    def inspect(self, key: str | None, asked: Mapping[str, Any]) -> Lens:
        """What the models would have said at a token of the last complete run, and what they
        read there. Raises ValueError.
        """
        session = self.session(key)
        if session.last is None or asked.get("run") != session.last.number:
            raise ValueError("The run is not complete yet: wait for the texts, then click a token.")
        whole = session.last.pair
        side = int(bounded(asked, "side", 0, len(whole.sides) - 1))
        index = int(bounded(asked, "index", 0, len(whole.decoding.runs[side].ids) - 1))
        return {**inspect(session.library, whole, side, index), "run": asked.get("run")}

    def compare(self, key: str | None, send: Send, sender: str | None = None) -> str:
        """Hands the last complete run to the blind comparison, under the sender's login; the sentence to show."""
        session = self.session(key)
        if session.last is None:
            return "There is no complete run yet: wait for the texts, then send them."
        if session.last is session.sent:
            return "These texts are in Compare already."
        request, runs = session.last.request, session.last.pair.decoding.runs[:2]
        if not request.prompts.alike:
            return "The columns answered histories of their own here, and a blind comparison is of answers to one prompt: send the first turn."
        if request.begin:
            return "These answers go on from a beginning that you chose: send answers that the model began itself."
        try:
            sides = list(zip(("base model", request.plan.title), (None, request.plan), runs, strict=True))
            answer = send(request, sides, sender)
        except ValueError as error:
            return sentence(error)
        session.sent = session.last
        return answer

    def vector(self, key: str | None, name: object, kind: object = "safetensors") -> tuple[str, bytes]:
        """File name and content of a concept's vectors, as safetensors or as a llama.cpp control vector ("gguf")."""
        library = self.session(key).library
        cav = library.cav(str(name))
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"vector.{'gguf' if kind == 'gguf' else 'safetensors'}"
            if kind == "gguf":
                export(cav, path, method="auto", family=library.model.family)
            else:
                cav.save(path)
            return f"{cav.concept}-{cav.model.split('/')[-1]}{path.suffix}", path.read_bytes()


def _problem(work: str, error: Exception) -> str:
    """What the page says of an error: what is wrong with the request, or that the fault is here, which the
    log then explains.
    """
    if isinstance(error, ValueError):
        return sentence(error)
    log.error("the %s of a visitor failed", work, exc_info=error)
    return f"This {work} failed by a fault of the app ({type(error).__name__}), which its log explains: try again, or change the settings."


def _fetched(library: Library, name: str, stop: threading.Event, report: Report) -> CAV:
    return library.cav(name, progress=report, stop=stop)


def _stream(
    session: Session, number: int, request: Request, state: Stage, stop: threading.Event
) -> Iterator[tuple[Stage, Chart | None]]:
    library = session.library
    started = pair(library, request.prompt, request.plan, **request.settings, stop=stop)
    shades = [view.Shades(side.edits, started.watchers) for side in started.sides]
    names = [side.name for side in started.sides]
    state.update(_about(library, request, started))
    tokens: list[list[Shade]] = [[] for _ in started.sides]
    drawn = 0.0
    try:
        for step in started.decoding:
            for token in step:
                tokens[token.row].append(shades[token.row](token))
            now = time.monotonic()
            if now - drawn >= frame() and not stop.is_set():
                drawn = now
                yield _with(state, names, tokens), None
    finally:
        started.decoding.close()
    whole = _with(state, names, tokens)
    if stop.is_set():
        yield {**whole, "phase": "stopped", "note": f"Stopped after {len(tokens[1])} tokens."}, None
        return
    session.last = Complete(number, request, started)
    whole["phase"], whole["note"] = "done", _summary(request, tokens)
    whole["held"] = _held_back(tokens[1], started.steering)
    yield whole, None
    sides = finish(library, started)
    if not stop.is_set():
        targets = [library.concepts[target.concept] for target in request.plan.targets]
        rows = view.rows(sides, [*targets, *(library.concepts[name] for name in request.watch)], tokens)
        yield {**whole, "rows": rows}, charts.heat(sides, started.sides[1].edits, targets)


def _with(state: Stage, names: Sequence[SideName], tokens: Sequence[Sequence[Shade]]) -> Stage:
    """The state with the tokens that are there now."""
    shown = state.copy()
    for name, side in zip(names, tokens, strict=True):
        shown[name] = [*side]
    return shown


def _about(library: Library, request: Request, started: Pair) -> Stage:
    """What the stage shows beside the texts."""
    names = [*(target.concept for target in request.plan.targets), *request.watch]
    cavs = [library.cav(name) for name in names]
    return {
        "sides": [side.name for side in started.sides],
        "wish": " ".join(wishes(library, request.plan)) if request.rival else "",
        "begin": library.model.codec.decode(request.begin),
        "layers": [*started.steering.layers],
        "cosines": started.steering.cosines,
        "choice": view.choice(request.plan, cavs[0]),
        "concepts": [view.poles(library.concepts[name]) for name in names],
        "targets": len(request.plan.targets),
        "dropped": request.prompts.dropped,
        "curves": [view.curves(cav) for cav in cavs[: len(request.plan.targets)]],
        "snippet": snippet(
            request.prompt,
            request.plan,
            model=None if library.model.name == DEFAULT_NAME else library.model.name,
            imported=[
                name for name in request.plan.concepts + request.watch if library.concepts[name].source
            ],
            **request.settings,
        ),
    }


def _summary(request: Request, tokens: Sequence[Sequence[Shade]]) -> str:
    how = (
        "the likeliest token each time"
        if request.temperature == 0
        else f"seed {request.seed}, temperature {request.temperature:g}{nucleus(request.top_p)}"
    )
    *first, last = (str(len(side)) for side in tokens)
    counts = f"{', '.join(first)} and {last} tokens, {how}."
    if [token.text for token in tokens[0]] != [token.text for token in tokens[1]]:
        return counts
    if any(token.flag for token in tokens[1]):
        return f"{counts} The texts are equal."
    pushed = any(token.push for token in tokens[1])
    return f"{counts} The texts are equal: {'the push was too weak to change a token' if pushed else 'no token of the answer was pushed'}."


def _held_back(tokens: Sequence[Shade], applied: Steering) -> str:
    if applied.plan.when is not None and applied.reading is not None:
        condition, read = (
            applied.plan.when,
            f"The prompt reads as {applied.plan.when.concept} with P {applied.reading:.2f}",
        )
        if not condition.met(applied.reading):
            return f"{read}, not {condition.side} {condition.p:g}: nothing was pushed."
    capped, stuck = (sum(token.flag == flag for token in tokens) for flag in (1, 2))
    if stuck:
        return f"At {stuck} of {len(tokens)} tokens no push reaches all targets, so none was made: drop one or change its direction."
    if capped:
        return f"The cap held back the push at {capped} of {len(tokens)} tokens: raise it under Method and scope, or ask for less."
    return ""


def _bands(library: Library, plan: Plan) -> list[tuple[int, ...]]:
    """The plan's own blocks, and those thirds of the model that are not just these."""
    own = layers_of(plan, [library.cav(target.concept) for target in plan.targets])
    return [own, *(band for band in thirds(library.model.layers) if band != own)]


def _swept(
    library: Library,
    request: Request,
    bands: list[tuple[int, ...]] | None,
    report: Report,
    stop: threading.Event,
) -> pd.DataFrame | None:
    tables = sweep(
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
    return next((table for _, table in tables), None)


def _relay(
    work: Generator[float, None, Result],
    note: Callable[[float], str] = lambda fraction: "",
    low: float = 0.0,
    high: float = 1.0,
) -> Generator[Work, None, Result]:
    while True:
        try:
            fraction = next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
        yield {"fraction": max(0.02, low + (high - low) * fraction), "note": note(fraction)}
