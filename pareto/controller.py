"""The Trade-offs tab's work: checks what the page asks for, runs it, and reports progress to the page."""

import logging
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from common.bounds import MAX_SEED
from common.jsons import shown
from lm import LanguageModel, Policy, Row, Run, Stopped
from lm.metrics import repetition
from lm.policy import between, scaled
from pareto import view
from pareto.checkpoint import Checkpoint, CheckpointError
from pareto.evaluate import asked_of, evaluate, spread
from pareto.fetched import fetch_public
from pareto.front import Front
from pareto.messages import Card, Texts, Work
from pareto.picks import card, named, side
from pareto.policy import policies, tuned
from pareto.rewards import Reward, RewardError
from pareto.session import BASE, PLAN, Request, Session, Side
from pareto.uploaded import unpacked
from ui import sessions
from ui.background import following, frame, left, reading
from ui.validation import nucleus, sentence, whole, wrong

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
        """changed: returns front and checkpoints where they have changed since its last call, else None."""
        self.model, self.front, self.folders = model, front, folders
        self.entrants, self.steered = entrants, steered
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
        """A session that has added nothing and sees what was there when the app began."""
        return Session(self.front, dict(self.checkpoints))

    def news(self, key: str | None) -> bool:
        """Whether the front has changed since the session's tab last showed it, and notes it as shown.
        Another process may have scored a checkpoint.
        """
        session = self._renewed(key)
        if session.version == self.version:
            return False
        mine = [point for point in session.front.points if point["id"] in session.own]
        session.front = reduce(Front.with_point, mine, self.front)
        session.version = self.version
        return True

    def _renewed(self, key: str | None) -> Session:
        """The tab of a session, with the checkpoints that are there now."""
        self._look()
        session = self.session(key)
        session.checkpoints = session.checkpoints | self.checkpoints
        return session

    def _look(self) -> None:
        with self._looking:
            if news := self._changed():
                self.front, self.version, self._rewards = news[0], self.version + 1, None
                self.checkpoints = {checkpoint.id: checkpoint for checkpoint in news[1]}

    @property
    def rewards(self) -> Rewards:
        """The reward models, read on first use. Raises RewardError."""
        with self._lock:
            if self._rewards is None:
                self._rewards = self._read_rewards()
            return self._rewards

    def run(self, key: str | None, fields: Mapping[str, Any]) -> Iterator[tuple[Texts, Card | None]]:
        """States of the texts, with the selected point's card in the first and the last one: the page may not
        be drawn yet when the first one comes. A newer run of the session ends this one.
        """
        session = self._renewed(key)
        stop = session.take_over("run")
        state: Texts = {"run": fields.get("run"), "phase": "running", "sides": [], "texts": []}
        try:
            request = Request.parse(fields)
            asked = {pick: self.policy(session, pick) for pick in (BASE, *request.picks)}
            rows = [policy.row(request.prompt, request.sampling) for policy in asked.values()]
            state["sides"] = [side(session, pick, policy) for pick, policy in asked.items()]
            selected = fields.get("selected")
            selected = selected if selected in request.picks else BASE
            shown = card(session, selected, asked[selected])
            yield state, shown
            for streamed in self._stream(session, request, rows, state, stop):
                yield streamed, shown if "rows" in streamed else None
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
        """The policy of a pick: of a name, or of a plan that the app or the visitor named.
        Raises ValueError.
        """
        if pick in session.plans:
            return session.plans[pick]
        if (title := pick.removeprefix(PLAN)) in self.entrants and pick.startswith(PLAN):
            session.plans[pick] = self.entrants[title]()
            return session.plans[pick]
        return policies(self.model, session.checkpoint, session.checkpoints.values, self.steered)(
            session.name(pick)
        )

    def _stream(
        self, session: Session, request: Request, rows: list[Row], state: Texts, stop: threading.Event
    ) -> Iterator[Texts]:
        decoding = self.model.decode(rows, stop=stop)
        texts, sent, begun = [""] * len(rows), 0.0, False
        try:
            for step in decoding:
                begun = begun or bool(step)
                for token in step:
                    texts[token.row] += token.text
                if time.monotonic() - sent >= frame() and not stop.is_set():
                    sent = time.monotonic()
                    note = "" if begun else reading(decoding)
                    yield {**state, "texts": list(texts), "note": note}
        finally:
            decoding.close()
        if stop.is_set():
            yield {**state, "texts": texts, "phase": "stopped", "note": "Stopped."}
            return
        answers = {
            head["id"]: (head["name"], self.policy(session, head["id"]), run)
            for head, run in zip(state["sides"], decoding.runs, strict=True)
        }
        session.last, session.sent = (request, answers), set()
        note = _summary(request, decoding.runs)
        done: Texts = {**state, "texts": texts, "phase": "done", "note": note}
        yield done
        metrics, missing = self.measure(request.prompt.text, rows, decoding.runs)
        if not stop.is_set():
            table = view.measures(metrics, self.front.objectives)
            yield {**done, "note": f"{note} {missing}".strip(), "rows": table}

    def measure(
        self, prompt: str, rows: Sequence[Row], runs: Sequence[Run]
    ) -> tuple[list[dict[str, float]], str]:
        """Numbers of each answer: its rewards, KL to the base model over the answer in nats, repetition,
        tokens, tokens a second. And a sentence that says why, where there are no rewards.
        """
        measures: list[dict[str, float]] = [{} for _ in runs]
        missing = ""
        try:
            for name, reward in self.rewards.items():
                scores = reward.score([prompt] * len(runs), [run.text for run in runs])
                for numbers, score in zip(measures, scores, strict=True):
                    numbers[name] = round(float(score), 4)
        except RewardError as error:
            missing = sentence(error)
        for numbers, row, run in zip(measures, rows, runs, strict=True):
            numbers |= {
                "kl": self._distance(row, run),
                "repetition": round(repetition(run.ids), 4),
                "tokens": len(run.ids),
                "tokens_per_second": round(len(run.ids) / run.seconds, 1) if run.seconds else 0.0,
            }
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
        self._look()
        session = self.stranger()
        rows = [self.row(session, pick, request) for pick in request.picks]
        runs = self.model.generate(rows)
        metrics, _ = self.measure(request.prompt.text, rows, runs)
        return [
            {"id": pick, "text": run.text, "metrics": numbers}
            for pick, run, numbers in zip(request.picks, runs, metrics, strict=True)
        ]

    def score(
        self, key: str | None, fields: Mapping[str, Any], files: Sequence[Path] = ()
    ) -> Iterator[tuple[Work, bool]]:
        """States of the scoring, and whether the visitor's front has a new point.

        fields: {"checkpoint": folder name or hub id}, {"plan": JSON} or {"pick": id of a plan or a mix}.
            files: of a checkpoint that the visitor uploads, which are gone when it is read.
        """
        session = self.session(key)
        stop = session.take_over("score")
        try:
            if len(session.own) >= MAX_OWN_POINTS:
                raise ValueError(f"A tab holds {MAX_OWN_POINTS} points of its own at most: open another tab.")
            while not self._scoring.acquire(timeout=WAIT):
                if stop.is_set():
                    raise Stopped
                yield {"fraction": 0.0, "note": "Waiting: another visitor's model is being scored."}, False
            try:
                yield from self._score(session, fields, files, stop)
            finally:
                self._scoring.release()
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

    def _score(
        self, session: Session, fields: Mapping[str, Any], files: Sequence[Path], stop: threading.Event
    ) -> Iterator[tuple[Work, bool]]:
        reads = files or fields.get("checkpoint")
        yield {"fraction": 0.0, "note": "Reading the checkpoint." if reads else "Starting."}, False
        policy = self._candidate(session, fields, files)
        point = yield from self._followed(policy, stop)
        if stop.is_set():
            raise Stopped
        session.front = session.front.with_point(point)
        session.own.add(point["id"])
        place = view.about(point, self.front.objectives)
        note = f"{point['name']}: {place}, from {SCORED} prompts, so with wide intervals."
        yield {"fraction": None, "note": note, "done": point["id"]}, True

    def _followed(
        self, policy: Policy, stop: threading.Event
    ) -> Generator[tuple[Work, bool], None, dict[str, Any]]:
        """States of a measurement; returns the point."""
        began = time.monotonic()
        work = following(lambda report: self.measured(policy, SCORED, 0, report, stop))
        while True:
            try:
                fraction = next(work)
            except StopIteration as end:
                return dict(end.value)
            note = f"Answering {SCORED} held-out prompts. {left(began, fraction)}"
            yield {"fraction": max(0.02, fraction), "note": note}, False

    def _candidate(self, session: Session, fields: Mapping[str, Any], files: Sequence[Path]) -> Policy:
        """The policy to be scored. Raises ValueError where there is none."""
        name, pick = str(fields.get("checkpoint") or "").strip(), str(fields.get("pick") or "")
        if files:
            with unpacked(files) as folder:
                return self._added(session, Checkpoint.load(folder, self.model))
        if name:
            return self._added(session, Checkpoint.load(self.folder(name), self.model, name))
        if self.steered and isinstance(fields.get("plan"), Mapping):
            policy = self.steered(fields["plan"])
            session.plans[policy.about["id"]] = policy
            return policy
        if pick.startswith(PLAN) or between(pick) or scaled(pick)[1] != 1:
            policy = self.policy(session, pick)
            return replace(
                policy, about={"preference": policy.about.get("preference"), **named(session, pick, policy)}
            )
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
        prompts = spread(asked_of(self.front)[0], limit)
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
            raise ValueError(f"Checkpoint id is {shown(id)}: give a text, such as base.")
        session = self.stranger()
        policy = self.policy(session, id)
        if id not in session.checkpoints:
            policy = replace(policy, about={"preference": None, **named(session, id, policy)})
        limit = whole({"limit": limit}, "limit", MIN_SCORED, MAX_SCORED)
        return self.measured(policy, limit, whole({"seed": seed}, "seed", 0, MAX_SEED))

    def compare(self, key: str | None, picks: Sequence[str], send: Send, sender: str | None = None) -> str:
        """Hands texts of the last run to the blind comparison, under the sender's login;
        the sentence to show.
        """
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
