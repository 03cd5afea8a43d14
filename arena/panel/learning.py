"""Learn from a study's votes: a training on them is begun, followed and stopped on the page."""

from typing import Any, Protocol

import gradio as gr

from arena.errors import ArenaError
from arena.panel.shared import PRIVATE, Profile, Who, refusals
from ui.parts import part, sent


class Learner(Protocol):
    """Trains on votes; the arena does not know how."""

    def offer(self, study: str) -> dict[str, Any]:
        """The questions of a study, each with what it lacks, and how far a training is."""

    def state(self, study: str) -> dict[str, Any]:
        """How far a training is, and what the last one on this study brought."""

    def start(self, study: str, weights: Any, steps: Any) -> None:
        """Starts one. Raises ArenaError."""

    def stop(self) -> None:
        """Ends it."""


class Learning:
    """The part of the page, for organizers and one study; nothing where nothing can be trained."""

    def __init__(self, learner: Learner | None, who: Who, study: gr.Dropdown) -> None:
        self._learner = learner
        self.part = part({}, "compare/learn", "tw-learn")
        if learner is None:
            return

        def on_start(event: gr.EventData, study: str, person: str, profile: Profile) -> dict[str, Any]:
            who.check(person, profile)
            try:
                asked = sent(event)
                learner.start(study, asked.get("weights"), asked.get("steps"))
            except ArenaError as error:
                return learner.state(study) | {"refused": str(error)}
            return learner.state(study)

        def on_stop(study: str, person: str, profile: Profile) -> dict[str, Any]:
            who.check(person, profile)
            learner.stop()
            return learner.state(study) | {"stopped": True}

        def on_look(study: str, person: str, profile: Profile) -> dict[str, Any]:
            with refusals():
                return learner.state(study) if who.is_organizer(person, profile) else {}

        settings = PRIVATE | {"show_progress": "hidden", "concurrency_limit": 8}
        self.part.start(on_start, [study, who.name], self.part, **settings)
        self.part.stop(on_stop, [study, who.name], self.part, **settings)
        self.part.look(on_look, [study, who.name], self.part, **settings)

    def of(self, study: str, organizer: bool, votes: int) -> dict[str, Any]:
        """The values of the part for a study."""
        if self._learner is None or not organizer or not study or not votes:
            return {"study": ""}
        return self._learner.offer(study)
