"""The Steer tab's work: checks what the page asks for, runs it, and tells the page how it goes."""

import json
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd

from lm import Run, Stopped
from lm.paths import cache_folder
from lm.prompts import FIELDS, MAX_NEW_TOKENS, Prompt, read
from lm.sources import DEFAULT_NAME
from steering import charts, view
from steering.calibrate import trial
from steering.cav import CAV, train
from steering.concepts import Concept
from steering.edits import layers_of
from steering.library import Library
from steering.plan import Layers, Plan
from steering.snippet import snippet
from steering.steer import finish, pair
from steering.sweep import sweep, thirds
from ui import sessions
from ui.background import Report, Result, following, frame, left
from ui.validation import MAX_SEED, MAX_TEMPERATURE, bounded, sentence, wrong

log = logging.getLogger(__name__)
MOST_OWN_CONCEPTS = 8
MOST_OWN_TEXTS, MOST_OWN_TOKENS = 300, 40_000
"""Texts a side, and tokens of both, that a visitor's concept is learned from: half a minute on two cores."""
READING = 0.5
"""Share of the time of teaching a concept that goes by until it is tried."""
SWEEP_TOKENS = 48
MOST_SWEPT = 120
"""Texts of 64 tokens that a script may sweep at once."""


@dataclass(frozen=True)
class Request:
    """What a page or a script asks for; every number is within bounds."""

    prompt: Prompt
    plan: Plan
    seed: int = 0
    max_new_tokens: int = 96
    temperature: float = 0.0

    @classmethod
    def parse(cls, asked: Mapping[str, Any]) -> "Request":
        """Raises ValueError with one sentence where something is missing or out of bounds."""
        return cls(
            read({name: asked.get(name) for name in FIELDS}),
            Plan.from_json(asked.get("plan") or {}),
            int(bounded(asked, "seed", 0, MAX_SEED)),
            int(bounded(asked, "max_new_tokens", 1, MAX_NEW_TOKENS)),
            float(bounded(asked, "temperature", 0, MAX_TEMPERATURE)),
        )


Send = Callable[[Request, list[tuple[str, Plan | None, Run]], str | None], str]
"""Takes a request and its runs (policy name, plan, run) to the Compare tab, and returns a sentence;
ValueError where it cannot.
"""


def swept(request: Request, magnitudes: Any, bands: Any) -> list[Layers]:
    """The bands of layers that a script sweeps over `magnitudes`; the plan's own where it gives none. Raises
    ValueError.
    """
    if not isinstance(magnitudes, list) or not all(type(value) in (int, float) for value in magnitudes):
        raise ValueError(f"magnitudes are {magnitudes!r}: give a list of numbers")
    if not isinstance(bands, list | None):
        raise ValueError(f"bands are {bands!r}: give a list of bands, each auto or a list of layers")
    told = json.loads(request.plan.to_json())
    found = [Plan.from_json(told | {"layers": band}).layers for band in bands or [told["layers"]]]
    if not 0 < len(magnitudes) * len(found) * request.max_new_tokens <= MOST_SWEPT * 64:
        raise ValueError(
            f"{len(magnitudes)} magnitudes over {len(found)} bands: give 1 to {MOST_SWEPT} texts of 64 tokens"
        )
    return found


@dataclass
class Session(sessions.Session):
    """One browser tab: its concepts, its last complete run, and the newest run's number. Its works are "run",
    "sweep" and "train".
    """

    library: Library
    newest: int = 0
    last: tuple[Request, tuple[Run, ...]] | None = None
    sent: tuple[Request, tuple[Run, ...]] | None = None
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

    def run(self, key: str | None, asked: Mapping[str, Any]) -> Iterator[tuple[dict, dict | None]]:
        """States of the stage, and the heat map at the end. A newer run of the session ends this one, or
        keeps it from starting.
        """
        session = self.session(key)
        number = asked.get("run", 0)
        if number < session.newest:
            return
        session.newest = number
        stop = session.take_over("run")
        session.last = None
        state: dict[str, Any] = {"run": asked.get("run"), "phase": "running", "unsteered": [], "steered": []}
        try:
            request = Request.parse(asked)
            for fraction, note in self._learn(session, request.plan, stop):
                yield {**state, "phase": "learning", "fraction": fraction, "note": note}, None
            complete = yield from _stream(session.library, request, state, stop)
            if not stop.is_set():
                session.last = complete
        except Stopped:
            yield {**state, "phase": "stopped", "note": "Stopped."}, None
        except Exception as error:
            yield {**state, "phase": "error", **wrong(error), "problem": _problem("run", error)}, None

    def _learn(self, session: Session, plan: Plan, stop: threading.Event) -> Iterator[tuple[float, str]]:
        wanted, library = {target.concept for target in plan.targets}, session.library
        if wanted <= session.ready:
            return
        missing = set(library.missing())
        for target in plan.targets:
            if target.concept in missing:
                name, began = target.concept, time.monotonic()
                for fraction in following(partial(_fetched, library, name, stop)):
                    yield fraction, f"Learning {name} for {library.model.name}, once. {left(began, fraction)}"
        session.ready |= wanted & library.concepts.keys()

    def sweep(self, key: str | None, asked: Mapping[str, Any]) -> Iterator[dict]:
        """States of the dose-response chart."""
        session = self.session(key)
        stop = session.take_over("sweep")
        try:
            request = Request.parse(asked)
            yield {"fraction": 0.02}
            bands = _bands(session.library, request.plan) if asked.get("bands") else None
            found = yield from _relay(
                following(lambda report: _swept(session.library, request, bands, report, stop))
            )
            if found is None:
                raise Stopped
            yield {
                "fraction": None,
                "chart": charts.dose(
                    found, request.plan, session.library.concepts[request.plan.targets[0].concept]
                ),
            }
        except Stopped:
            yield {"fraction": None, "note": "Stopped."}
        except Exception as error:
            yield {"fraction": None, "problem": _problem("sweep", error)}

    def train(self, key: str | None, asked: Mapping[str, Any]) -> Iterator[dict]:
        """States of the trainer; the last one names the concept that the session may use from then on."""
        session = self.session(key)
        stop = session.take_over("train")
        try:
            if session.own >= MOST_OWN_CONCEPTS:
                raise ValueError(
                    f"a tab holds {MOST_OWN_CONCEPTS} concepts of its own at most: open another tab"
                )
            concept = _concept(asked, session.library)
            _small_enough(concept, session.library)
            began = time.monotonic()
            yield {"fraction": 0.0, "note": "Reading the examples."}
            work = following(lambda report: train(self.library.model, concept, progress=report, stop=stop))
            cav = yield from _relay(
                work, lambda fraction: f"Reading the examples. {left(began, fraction)}", 0.0, READING
            )
            session.library.add(concept, cav)
            session.own += 1
            work = following(lambda report: trial(session.library, concept.name, progress=report, stop=stop))
            cav = yield from _relay(work, lambda fraction: "Trying how far it can go.", READING, 1.0)
            session.library.add(concept, cav)
            opens = view.opening(cav)
            yield {
                "fraction": None,
                "note": view.learned(concept, cav, opens),
                "done": view.concept(concept, cav) | {"curves": view.curves(cav), "opens": opens},
            }
        except Stopped:
            yield {"fraction": None, "note": "Stopped."}
        except Exception as error:
            yield {"fraction": None, "problem": _problem("train", error)}

    def compare(self, key: str | None, send: Send, sender: str | None = None) -> str:
        """Hands the last complete run to the blind comparison, under the sender's login; the sentence to show."""
        session = self.session(key)
        if session.last is None:
            return "There is no complete run yet: wait for the texts, then send them."
        if session.last is session.sent:
            return "These texts are in Compare already."
        request, runs = session.last
        try:
            sides = list(zip(("unsteered", request.plan.title), (None, request.plan), runs, strict=True))
            told = send(request, sides, sender)
        except ValueError as error:
            return sentence(error)
        session.sent = session.last
        return told

    def vector(self, key: str | None, name: object) -> tuple[str, bytes]:
        """File name and content of a concept's vectors as safetensors."""
        cav = self.session(key).library.cav(str(name))
        path = cache_folder("exports") / f"{threading.get_ident()}-{time.monotonic_ns()}.safetensors"
        try:
            cav.save(path)
            return f"{cav.concept}-{cav.model.split('/')[-1]}.safetensors", path.read_bytes()
        finally:
            path.unlink(missing_ok=True)


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
    library: Library, request: Request, state: dict, stop: threading.Event
) -> Generator[tuple[dict, dict | None], None, tuple[Request, tuple[Run, ...]] | None]:
    cavs = [library.cav(target.concept) for target in request.plan.targets]
    concepts = [library.concepts[cav.concept] for cav in cavs]
    started = pair(
        library,
        request.prompt,
        request.plan,
        seed=request.seed,
        max_new_tokens=request.max_new_tokens,
        temperature=request.temperature,
        stop=stop,
    )
    shades = [view.Shades(edits) for edits in started.edits]
    state |= {
        "layers": started.steering.layers,
        "cosines": started.steering.cosines,
        "choice": view.choice(request.plan, cavs[0]),
        "concepts": [view.poles(concept) for concept in concepts],
        "curves": [view.curves(cav) for cav in cavs],
        "snippet": snippet(
            request.prompt,
            request.plan,
            model=None if library.model.name == DEFAULT_NAME else library.model.name,
            seed=request.seed,
            max_new_tokens=request.max_new_tokens,
            temperature=request.temperature,
        ),
    }
    tokens: tuple[list, list] = ([], [])
    told = 0.0
    try:
        for step in started.decoding:
            for token in step:
                tokens[token.row].append(shades[token.row](token))
            now = time.monotonic()
            if now - told >= frame() and not stop.is_set():
                told = now
                yield {**state, "unsteered": list(tokens[0]), "steered": list(tokens[1])}, None
    finally:
        started.decoding.close()
    whole = {**state, "unsteered": tokens[0], "steered": tokens[1]}
    if stop.is_set():
        yield {**whole, "phase": "stopped", "note": f"Stopped after {len(tokens[1])} tokens."}, None
        return None
    whole |= {"phase": "done", "note": _summary(request, tokens), "held": _held_back(tokens[1])}
    yield whole, None
    sides = finish(library, started)
    if not stop.is_set():
        rows = view.rows(sides, concepts, tokens)
        yield {**whole, "rows": rows}, charts.heat(sides, started.edits[1], concepts)
    return request, tuple(started.decoding.runs)


def _summary(request: Request, tokens: tuple[list, list]) -> str:
    how = (
        "the likeliest token each time"
        if request.temperature == 0
        else f"seed {request.seed}, temperature {request.temperature:g}"
    )
    counts = f"{len(tokens[0])} and {len(tokens[1])} tokens, {how}."
    if [token[view.TEXT] for token in tokens[0]] != [token[view.TEXT] for token in tokens[1]]:
        return counts
    if any(token[view.FLAG] for token in tokens[1]):
        return f"{counts} The texts are equal."
    pushed = any(token[view.PUSH] for token in tokens[1])
    return f"{counts} The texts are equal: {'the push was too weak to change a token' if pushed else 'no token of the answer was pushed'}."


def _held_back(tokens: list[list]) -> str:
    capped, stuck = (sum(token[view.FLAG] == flag for token in tokens) for flag in (1, 2))
    if stuck:
        return f"At {stuck} of {len(tokens)} tokens no push reaches all targets, so none was made: drop one or change its direction."
    if capped:
        return f"The cap held back the push at {capped} of {len(tokens)} tokens: raise it under Method and scope, or ask for less."
    return ""


def _concept(asked: Mapping[str, Any], library: Library) -> Concept:
    name, lines = str(asked.get("name", "")).strip(), asked.get("lines") or ""
    if not name:
        raise ValueError("the concept has no name: give it one")
    if name in library.concepts:
        raise ValueError(f"there is a concept {name!r} already: give another name")
    if lines:
        return Concept.parse(str(lines), name)
    return Concept.from_texts(name, _texts(asked, "positive"), _texts(asked, "negative"))


def _small_enough(concept: Concept, library: Library) -> None:
    for side in ("positive", "negative"):
        if (count := len(getattr(concept, side))) > MOST_OWN_TEXTS:
            raise ValueError(
                f"the {side} side has {count:,} texts: the page learns from at most {MOST_OWN_TEXTS} a side"
            )
    tokens = sum(len(library.model.text_ids(text)) for text in concept.positive + concept.negative)
    if tokens > MOST_OWN_TOKENS:
        raise ValueError(
            f"the texts have {tokens:,} tokens: the page learns from at most {MOST_OWN_TOKENS:,}; give fewer or shorter ones"
        )


def _texts(asked: Mapping[str, Any], side: str) -> list[str]:
    texts = asked.get(side)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"the {side} examples must be a list of texts")
    return texts


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
        stop=stop,
        report=report,
    )
    return next((table for _, table in tables), None)


def _relay(
    work: Generator[float, None, Result],
    note: Callable[[float], str] = lambda fraction: "",
    low: float = 0.0,
    high: float = 1.0,
) -> Generator[dict, None, Result]:
    while True:
        try:
            fraction = next(work)
        except StopIteration as end:
            return end.value
        yield {"fraction": max(0.02, low + (high - low) * fraction), "note": note(fraction)}
