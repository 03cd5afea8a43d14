"""The arena for scripts: /battle, /vote, /answer, /undo, /ranking."""

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

import gradio as gr

from arena.agreement import agreement
from arena.errors import ArenaError
from arena.panel.shared import refusals, signed
from arena.questions import OPENING
from arena.ranking import ranking
from arena.records import votes_frame
from arena.service import Service

SERVED = 4
"""Requests of annotators answered at once: their threads hold the server up where they are many."""
LINES = {"battle": "battles", "ranking": "ranking", "vote": "votes", "answer": "votes", "undo": "votes"}
"""In which line a request waits: a vote never behind the search for a battle."""


def build(service: Service, login: bool) -> None:
    def battle(annotator: str, profile: gr.OAuthProfile | None = None) -> dict[str, Any]:
        """The next battle: an opaque id and the two texts; `battle` is null when all are judged."""
        with refusals():
            shown = service.next(signed(annotator, profile, login))
        if shown is None:
            return {"battle": None, "prompt": "", "a": "", "b": "", "remaining": 0}
        return {name: getattr(shown, name) for name in ("battle", "prompt", "a", "b", "remaining")}

    def vote(battle: str, annotator: str, *rest: Any) -> dict[str, Any]:
        """Commits a vote on the opening questions (answers: a, b, tie, both_bad, skip),
        then tell who stood where.
        """
        *opening, comment, profile = rest
        given = {question.key: value for question, value in zip(OPENING, opening, strict=True)}
        with refusals():
            return service.vote(battle, signed(annotator, profile, login), given, comment).to_json()

    def answer(
        battle: str,
        annotator: str,
        answers: dict[str, str],
        comment: str = "",
        profile: gr.OAuthProfile | None = None,
    ) -> dict[str, Any]:
        """Commits a vote in a set with questions of its own: an answer to each by its key;
        then tell who stood where.
        """
        with refusals():
            if not isinstance(answers, dict):
                raise ArenaError(
                    "The answers are no JSON object: give one answer by the key of each question."
                )
            return service.vote(battle, signed(annotator, profile, login), answers, comment).to_json()

    _declare(vote)

    def undo(battle: str, annotator: str, profile: gr.OAuthProfile | None = None) -> dict[str, str]:
        """Takes a vote back within a minute of it."""
        with refusals():
            service.undo(battle, signed(annotator, profile, login))
        return {"undone": battle}

    def rank(question: str) -> dict[str, Any]:
        """Bradley-Terry ranking on a question, by its key, with agreement."""
        with refusals(), service.store.read() as session:
            votes = votes_frame(session)
            return {**ranking(votes, question).to_json(), "agreement": agreement(votes, question)}

    endpoints = {"battle": battle, "vote": vote, "answer": answer, "undo": undo, "ranking": rank}
    for api_name, function in endpoints.items():
        gr.api(function, api_name=api_name, concurrency_limit=SERVED, concurrency_id=LINES[api_name])


def _declare(vote: Callable[..., Any]) -> None:
    """Gives the endpoint one parameter for each of the opening questions."""
    kinds: dict[str, tuple[Any, Any]] = {
        "battle": (str, Parameter.empty),
        "annotator": (str, Parameter.empty),
        **{question.key: (str, "") for question in OPENING},
        "comment": (str, ""),
        "profile": (gr.OAuthProfile | None, None),
    }
    parameters = [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)
        for name, (kind, default) in kinds.items()
    ]
    vote.__signature__ = Signature(parameters, return_annotation=dict)  # type: ignore[attr-defined]
    vote.__annotations__ = {name: kind for name, (kind, _) in kinds.items()} | {"return": dict}
