"""The Trade-offs tab's work: checks what the page asks for, runs it, and tells the page how it goes."""

import logging
import re
import reprlib
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from common.bounds import MAX_SEED
from lm import LanguageModel, Policy, Row, Run, Stopped
from lm.metrics import repetition
from pareto import view
from pareto.checkpoint import Checkpoint, CheckpointError
from pareto.detail import detail
from pareto.evaluate import evaluate, standard_prompts
from pareto.fetched import fetch_public
from pareto.front import Front
from pareto.messages import Card, Head, Texts, Work
from pareto.policy import known, policies, title_at, tuned
from pareto.rewards import Reward, RewardError
from pareto.session import BASE, PLAN, Request, Session, Side, mixed, weight
from pareto.uploaded import unpacked
from ui import sessions
from ui.background import following, frame, left
from ui.validation import bounded, nucleus, sentence, wrong

log = logging.getLogger(__name__)
MAX_OWN_POINTS = 12
MIN_SCORED, SCORED, MAX_SCORED = 4, 24, 48
"""Prompts of a point that is scored on request: least, from the page, and most."""
WAIT = 0.25
"""Seconds between two looks at whether it is one's turn to be scored."""
BROKEN = "Something failed on the server, which has noted it: try again."
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")

ANSWERED_AT_ONCE = 6

Rewards = dict[str, Reward]
Entrants = Mapping[str, Callable[[], Policy]]
Steered = Callable[[str | Mapping[str, Any]], Policy]
"""Makes a plan, as JSON, into a policy. Raises ValueError."""
Changed = Callable[[], tuple[Front, Sequence[Checkpoint]] | None]
Human = Callable[[], view.Votes | None]
Send = Callable[[Request, list[Side], str | None], str]
"""Takes a request and its answers to the Compare tab, and returns a sentence. Raises ValueError."""


class Controller:
    """What all sessions of one app ask of the tab."""

    def __init__(
        self,
        model: LanguageModel,
        front: Front,
        checkpoints: Sequence[Checkpoint],
        rewards: Callable[[], Rewards],
        folders: Path,
        entrants: Entrants,
        steered: Steered | None = None,
        changed: Changed = lambda: None,
    ):
        """changed: what front and checkpoints are now, where they are not what they were at its last call."""
        self.model, self.front, self.folders, self.entrants, self.steered = (
            model,
            front,
            folders,
            entrants,
            steered,
        )
        self.checkpoints = {checkpoint.id: checkpoint for checkpoint in checkpoints}
        self._read_rewards = rewards
        self._rewards: Rewards | None = None
        self._changed, self.version = changed, 0
        self._sessions = sessions.Sessions(self.stranger)
        self._lock, self._scoring, self._looking = threading.Lock(), threading.Lock(), threading.Lock()

    def session(self, key: str | None) -> Session:
        """The tab of a session."""
        return self._sessions.of(key)

    def stop(self, key: str | None, work: str) -> None:
        """Stops a work of a session."""
        self._sessions.stop(key, work)

    def stranger(self) -> Session:
        """Somebody who has what ships, and nothing else."""
        return Session(self.front, dict(self.checkpoints), version=self.version)

    def news(self, key: str | None) -> bool:
        """Whether the front has changed since this was last asked for the session, whose tab then has it:
        somebody may have scored a checkpoint in another process.
        """
        with self._looking:
            if news := self._changed():
                self.front, self.version, self._rewards = news[0], self.version + 1, None
                self.checkpoints = {checkpoint.id: checkpoint for checkpoint in news[1]}
        session = self.session(key)
        if session.version == self.version:
            return False
        mine = [point for point in session.front.points if point["id"] in session.own]
        session.front = reduce(Front.with_point, mine, self.front)
        session.checkpoints = session.checkpoints | self.checkpoints
        session.version = self.version
        return True

    @property
    def rewards(self) -> Rewards:
        """The reward models, read on first use. Raises RewardError."""
        with self._lock:
            if self._rewards is None:
                self._rewards = self._read_rewards()
            return self._rewards

    def run(self, key: str | None, asked: Mapping[str, Any]) -> Iterator[tuple[Texts, Card | None]]:
        """States of the texts, and the card of the selected point, first and last: a page that was not drawn
        yet when the first one came has it then. A newer run of the session ends this one.
        """
        session = self.session(key)
        stop = session.take_over("run")
        state: Texts = {"run": asked.get("run"), "phase": "running", "sides": [], "texts": []}
        try:
            request = Request.parse(asked)
            rows = [self.row(session, pick, request) for pick in (BASE, *request.picks)]
            state["sides"] = [self.side(session, pick) for pick in (BASE, *request.picks)]
            selected = asked.get("selected")
            card = self.card(session, selected if selected in request.picks else BASE)
            yield state, card
            for streamed, _ in self._stream(session, request, rows, state, stop):
                yield streamed, card if "rows" in streamed else None
        except Stopped:
            yield {**state, "phase": "stopped", "note": "Stopped."}, None
        except ValueError as error:
            yield {**state, "phase": "error", **wrong(error)}, None
        except Exception:
            log.exception("a run failed")
            yield {**state, "phase": "error", "problem": BROKEN}, None

    def row(self, session: Session, pick: str, request: Request) -> Row:
        """What answers for a pick. Raises ValueError where it cannot."""
        return self.policy(session, pick).row(request.prompt, request.sampling)

    def policy(self, session: Session, pick: str) -> Policy:
        """The policy of a pick: of a name, or of a plan that the app or the visitor named. Raises ValueError."""
        if pick in session.plans:
            return session.plans[pick]
        if (title := pick.removeprefix(PLAN)) in self.entrants and pick.startswith(PLAN):
            session.plans[pick] = self.entrants[title]()
            return session.plans[pick]
        return policies(self.model, session.checkpoint, self.steered)(session.name(pick))

    def side(self, session: Session, pick: str) -> Head:
        """The head of a pick's text."""
        point, checkpoint = session.point(pick), session.checkpoints.get(pick)
        if pick == BASE:
            return view.side(
                BASE,
                point["name"] if point else view.methods()[BASE],
                BASE,
                view.about(point, self.front.objectives) if point else "as it came",
            )
        if (method := mixed(pick)) and point is None:
            share = weight(pick)
            return view.side(pick, title_at(method, (share, 1 - share)), method, view.about(None), share)
        if pick.startswith(PLAN) and point is None:
            return view.side(pick, pick.removeprefix(PLAN), "steered", view.about(None))
        facts = point or (
            known(checkpoint) if checkpoint else {"name": pick, "method": "other", "preference": None}
        )
        preference = facts.get("preference")
        return view.side(
            pick,
            facts["name"],
            facts["method"],
            view.about(point, self.front.objectives),
            preference[0] if preference else None,
        )

    def card(self, session: Session, pick: str) -> Card:
        """All that is known of a pick."""
        point, checkpoint = session.point(pick), session.checkpoints.get(pick)
        head = self.side(session, pick)
        ends = [end.name for end in session.ends(head["method"]) or ()] if checkpoint is None else []
        card, curves = (checkpoint.card, checkpoint.curves) if checkpoint else (None, [])
        return detail(head, point, card, curves, ends, self.front.objectives)

    def _stream(
        self, session: Session, request: Request, rows: list[Row], state: Texts, stop: threading.Event
    ) -> Generator[tuple[Texts, None], None, None]:
        decoding = self.model.decode(rows, stop=stop)
        texts, sent = [""] * len(rows), 0.0
        try:
            for step in decoding:
                for token in step:
                    texts[token.row] += token.text
                if time.monotonic() - sent >= frame() and not stop.is_set():
                    sent = time.monotonic()
                    yield {**state, "texts": list(texts)}, None
        finally:
            decoding.close()
        whole: Texts = {**state, "texts": texts}
        if stop.is_set():
            yield {**whole, "phase": "stopped", "note": "Stopped."}, None
            return
        session.last, session.sent = (request, {}), set()
        for side, run in zip(state["sides"], decoding.runs, strict=True):
            session.last[1][side["id"]] = side["name"], self.policy(session, side["id"]), run
        note = _summary(request, decoding.runs)
        yield {**whole, "phase": "done", "note": note}, None
        metrics, missing = self.measure(request.prompt.text, rows, decoding.runs)
        if not stop.is_set():
            yield (
                {
                    **whole,
                    "phase": "done",
                    "note": f"{note} {missing}".strip(),
                    "rows": view.measures(metrics, self.front.objectives),
                },
                None,
            )

    def measure(
        self, prompt: str, rows: Sequence[Row], runs: Sequence[Run]
    ) -> tuple[list[dict[str, float]], str]:
        """Numbers of each answer: both rewards, KL to the base model over the answer, repetition, tokens,
        speed.

        And a sentence that says why there are no rewards, where there are none.
        """
        measures: list[dict[str, float]] = [{} for _ in runs]
        missing = ""
        try:
            for name, reward in self.rewards.items():
                for each, value in zip(
                    measures, reward.score([prompt] * len(runs), [run.text for run in runs]), strict=True
                ):
                    each[name] = round(float(value), 4)
        except RewardError as error:
            missing = sentence(error)
        for each, row, run in zip(measures, rows, runs, strict=True):
            each["kl"] = self._distance(row, run)
            each["repetition"] = round(repetition(run.ids), 4)
            each["tokens"] = len(run.ids)
            each["tokens_per_second"] = round(len(run.ids) / run.seconds, 1) if run.seconds else 0.0
        return measures, missing

    def _distance(self, row: Row, run: Run) -> float:
        if row.adapter is None and not row.edits:
            return 0.0
        divergences = self.model.divergence(
            [*run.prompt, *run.ids],
            len(run.prompt),
            edits=row.edits,
            adapter=row.adapter,
            temperature=row.sampling.temperature or 1.0,
        )
        return round(float(divergences.sum()), 4)

    def respond(self, request: Request) -> list[dict[str, Any]]:
        """The endpoint's answer: {"id", "text", "metrics"} for each of what ships, decoded in one batch."""
        if not request.picks:
            raise ValueError("checkpoint_ids is empty: give one id at least, such as base.")
        session = self.stranger()
        rows = [self.row(session, pick, request) for pick in request.picks]
        runs = self.model.generate(rows)
        metrics, _ = self.measure(request.prompt.text, rows, runs)
        return [
            {"id": pick, "text": run.text, "metrics": numbers}
            for pick, run, numbers in zip(request.picks, runs, metrics, strict=True)
        ]

    def score(
        self, key: str | None, asked: Mapping[str, Any], files: Sequence[Path] = ()
    ) -> Iterator[tuple[Work, bool]]:
        """States of the scoring, and whether the visitor's front has a new point.

        asked: {"checkpoint": folder name or hub id} or {"pick": id of a plan or a mix}. files: of a checkpoint that
        the visitor uploads, which are gone when it is read.
        """
        session = self.session(key)
        stop, scoring = session.take_over("score"), False
        try:
            if len(session.own) >= MAX_OWN_POINTS:
                raise ValueError(f"A tab holds {MAX_OWN_POINTS} points of its own at most: open another tab.")
            while not self._scoring.acquire(timeout=WAIT):
                if stop.is_set():
                    raise Stopped
                yield {"fraction": 0.0, "note": "Waiting: another visitor's model is being scored."}, False
            scoring = True
            yield (
                {
                    "fraction": 0.0,
                    "note": "Reading the checkpoint." if files or asked.get("checkpoint") else "Starting.",
                },
                False,
            )
            policy = self._candidate(session, asked, files)
            began = time.monotonic()
            work = following(lambda report: self.measured(policy, SCORED, 0, report, stop))
            while True:
                try:
                    fraction = next(work)
                except StopIteration as end:
                    point = end.value
                    break
                yield (
                    {
                        "fraction": max(0.02, fraction),
                        "note": f"Answering {SCORED} held-out prompts. {left(began, fraction)}",
                    },
                    False,
                )
            if stop.is_set():
                raise Stopped
            session.front = session.front.with_point(point)
            session.own.add(point["id"])
            note = f"{point['name']}: {view.about(point, self.front.objectives)}, from {SCORED} prompts, so with wide intervals."
            yield {"fraction": None, "note": note, "done": point["id"]}, True
        except Stopped:
            yield {"fraction": None, "note": "Stopped; nothing was added."}, False
        except (ValueError, OSError) as error:
            yield {"fraction": None, "problem": sentence(error)}, False
        except Exception:
            log.exception("a scoring failed")
            yield {"fraction": None, "problem": BROKEN}, False
        finally:
            stop.set()
            for file in files:
                file.unlink(missing_ok=True)
            if scoring:
                self._scoring.release()

    def _candidate(self, session: Session, asked: Mapping[str, Any], files: Sequence[Path]) -> Policy:
        name, pick = str(asked.get("checkpoint") or "").strip(), str(asked.get("pick") or "")
        if files:
            with unpacked(files) as folder:
                return self._added(session, Checkpoint.load(folder, self.model))
        if name:
            return self._added(session, Checkpoint.load(self.folder(name), self.model, name))
        if self.steered and isinstance(asked.get("plan"), Mapping):
            policy = self.steered(asked["plan"])
            session.plans[policy.about["id"]] = policy
            return policy
        if pick.startswith(PLAN):
            return replace(
                self.policy(session, pick),
                about={"id": pick, "name": pick.removeprefix(PLAN), "method": "steered", "preference": None},
            )
        if method := mixed(pick):
            share = weight(pick)
            about = {
                "id": pick,
                "name": title_at(method, (share, 1 - share)),
                "method": method,
                "preference": [share, 1 - share],
            }
            return replace(self.policy(session, pick), about=about)
        raise ValueError("There is nothing to score: give a checkpoint's folder or its hub id.")

    def _added(self, session: Session, checkpoint: Checkpoint) -> Policy:
        shipped = self.checkpoints.get(checkpoint.id)
        if shipped and shipped.card != checkpoint.card:
            raise CheckpointError(
                f"{checkpoint.id!r} is the id of another checkpoint that ships: rename the folder and its card's id."
            )
        session.checkpoints[checkpoint.id] = checkpoint
        return tuned(self.model, checkpoint)

    def folder(self, name: str) -> Path:
        """A checkpoint's folder: below `folders`, or fetched from the hub. Raises CheckpointError."""
        root = self.folders.resolve()
        path = (root / name).resolve()
        if path.is_relative_to(root) and path != root and path.is_dir():
            return path
        if HUB_ID.fullmatch(name) and not Path(name).exists():
            return fetch_public(name)
        raise CheckpointError(
            f"There is no checkpoint {name!r}: give the name of a folder below {root.name}, or a hub id such as owner/name."
        )

    def measured(
        self,
        policy: Policy,
        limit: int,
        seed: int,
        progress: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
    ) -> dict[str, Any]:
        """A point: what is known of a policy, and its scores on `limit` prompts, an answer each. Raises
        Stopped and RewardError.
        """
        prompts = spread(standard_prompts(), limit)
        scores = evaluate(
            policy,
            self.model,
            self.rewards,
            prompts,
            samples=1,
            seed=seed,
            at_once=ANSWERED_AT_ONCE,
            progress=progress,
            stop=stop,
        )
        return {"steps": None, "seed": None, **policy.about, **scores}

    def scored(self, id: str, limit: int, seed: int) -> dict[str, Any]:
        """The endpoint's answer: a shipped checkpoint, or a mix, scored anew."""
        if not isinstance(id, str):
            raise ValueError(f"Checkpoint id is {reprlib.repr(id)}: give a text, such as base.")
        session = self.stranger()
        policy = self.policy(session, id)
        if id not in session.checkpoints:
            side = self.side(session, id)
            named = {name: side[name] for name in ("id", "name", "method")}
            policy = replace(policy, about={"preference": None, **named})
        limit = int(bounded({"limit": limit}, "limit", MIN_SCORED, MAX_SCORED))
        return self.measured(policy, limit, int(bounded({"seed": seed}, "seed", 0, MAX_SEED)))

    def compare(self, key: str | None, picks: Sequence[str], send: Send, sender: str | None = None) -> str:
        """Hands texts of the last run to the blind comparison, under the sender's login; the sentence to show."""
        session = self.session(key)
        if session.last is None:
            return "There is no complete answer yet: wait for the texts, then send them."
        request, sides = session.last
        chosen = tuple(pick for pick in sides if pick in picks)
        if chosen in session.sent:
            return "These answers are in Compare already."
        try:
            answer = send(request, [sides[pick] for pick in chosen], sender)
        except ValueError as error:
            return sentence(error)
        session.sent.add(chosen)
        return answer


def spread(prompts: Sequence[tuple[str, str]], limit: int) -> list[tuple[str, str]]:
    """`limit` of (kind, prompt), the kinds taken in turn."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for prompt in prompts:
        kinds.setdefault(prompt[0], []).append(prompt)
    turns = sorted(
        ((at, kind) for kind, of in kinds.items() for at in range(len(of))), key=lambda turn: turn[0]
    )
    return [kinds[kind][at] for at, kind in turns[:limit]]


def _summary(request: Request, runs: Sequence[Run]) -> str:
    how = (
        "the likeliest token each time"
        if request.temperature == 0
        else f"seed {request.seed}, temperature {request.temperature:g}{nucleus(request.top_p)}"
    )
    equal = len(runs) > 1 and all(run.ids == runs[0].ids for run in runs)
    return f"One batch, {how}; {', '.join(str(len(run.ids)) for run in runs)} tokens." + (
        " The texts are equal." if equal else ""
    )
