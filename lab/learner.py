"""The circle as the page starts it: which questions a study's votes can teach, the training's progress, its
result.
"""

import json
import uuid
from collections.abc import Mapping
from typing import Any

import arena
from arena import preferences, studies
from common.jsons import is_number
from lab.process import Process
from lm import LanguageModel
from lm.paths import lab_folder
from pareto.pairs import MIN_FITTED, MIN_HELD_OUT, held_out

PROGRESS = "circle.json"
"""Where the process says how far it is, in the model's lab folder."""
BROUGHT = "brought.json"
"""What the last training on each study brought, by the study's id, beside it."""
MIN_STEPS, MAX_STEPS = 2, 200


class Learner:
    """Trains the served model on a study's votes, one study at a time."""

    def __init__(self, model: LanguageModel, name: str | None, store: arena.Store):
        self._store = store
        self._command = ["-m", "lab.circle", *(["--model", name] if name else [])]
        self._hash = model.hash
        self._process = Process(lab_folder(model.hash) / PROGRESS)
        self._study = ""

    def offer(self, study: str) -> dict[str, Any]:
        """The questions of a study, each with what it lacks to be learned, and how far a training is."""
        detail = studies.detail(self._store, study)
        pairs = preferences.preferences(self._store, study)
        questions = [
            {"key": question.key, "text": question.text, "lacks": lacks(pairs.get(question.key, []))}
            for question in detail.questions
        ]
        return {"study": study, "questions": questions, **self.state(study)}

    def state(self, study: str) -> dict[str, Any]:
        """How far a training is, and what the last one on this study brought."""
        progress, running = self._process.progress(), self._process.running
        at_work = running and self._study == study
        return {
            "of": self._study,
            "running": running,
            "problem": self._process.problem,
            "fraction": progress.get("fraction"),
            "note": progress.get("note", "Loading the model"),
            "seconds_left": progress.get("seconds_left"),
            "result": None if at_work else brought(self._hash).get(study),
        }

    def start(self, study: str, weights: Any, steps: Any) -> None:
        """Starts a training. weights: by question; those of none are left out. Raises arena.ArenaError."""
        lacking = {question["key"]: question["lacks"] for question in self.offer(study)["questions"]}
        chosen = _weights(weights, lacking)
        if not isinstance(steps, int) or not MIN_STEPS <= steps <= MAX_STEPS:
            raise arena.ArenaError(f"Steps is {steps!r}: give a number from {MIN_STEPS} to {MAX_STEPS}.")
        for key in chosen:
            if lacking[key]:
                raise arena.ArenaError(f"{key}: {lacking[key]}")
        id = f"votes-{study[:6]}-{uuid.uuid4().hex[:4]}"
        options = ["--study", study, "--weights", json.dumps(chosen), "--steps", str(steps), "--id", id]
        url = self._store.url.render_as_string(hide_password=False)
        if not self._process.start([*self._command, *options], {"DATABASE_URL": url}):
            raise arena.ArenaError("Another training is under way: wait for it, or stop it.")
        self._study = study

    def stop(self) -> None:
        """Ends the training; nothing comes of it."""
        self._process.stop()


def brought(model_hash: str) -> dict[str, Any]:
    """What `lab.circle.run` returned for each study on which a model was trained, by the study's id."""
    file = lab_folder(model_hash) / BROUGHT
    return dict(json.loads(file.read_text("utf-8"))) if file.exists() else {}


def lacks(pairs: list[dict[str, Any]]) -> str:
    """Why preferences cannot be learned, in one sentence; empty where they are enough."""
    out = sum(held_out(_prompt(row["prompt"])) for row in pairs)
    if len(pairs) - out >= MIN_FITTED and out >= MIN_HELD_OUT:
        return ""
    return (
        f"{len(pairs)} decided battles, {out} of them held out to measure with: it takes {MIN_FITTED} to learn from and "
        f"{MIN_HELD_OUT} held out, so judge more."
    )


def _prompt(prompt: Any) -> Any:
    """As pareto.pairs reads it: a text, or turns."""
    return prompt if isinstance(prompt, str) else tuple((turn["role"], turn["content"]) for turn in prompt)


def _weights(weights: Any, known: Mapping[str, str]) -> dict[str, float]:
    numbers = {
        key: float(value)
        for key, value in (weights.items() if isinstance(weights, dict) else ())
        if key in known and is_number(value) and value > 0
    }
    if not numbers:
        raise arena.ArenaError("No question has a weight: give one of them more than 0.")
    total = sum(numbers.values())
    shares = {key: round(value / total, 2) for key, value in numbers.items()}
    first = max(shares, key=lambda key: shares[key])
    shares[first] = round(shares[first] + 1 - sum(shares.values()), 6)
    return {key: share for key, share in shares.items() if share > 0}
