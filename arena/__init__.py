"""Blind side-by-side comparisons: battles, votes, rankings and the human front."""

from arena.agreement import agreement, annotators, over_time
from arena.answering import Entrant, generate
from arena.battles import Made, Output, create, send
from arena.errors import ArenaError
from arena.exchange import export, import_
from arena.front import human_front
from arena.hub import Mirror
from arena.questions import GUIDELINE, OPENING, Question
from arena.ranking import Ranking, ranking
from arena.records import specs, votes_frame
from arena.service import Service
from arena.shown import Reveal, Shown
from arena.store import Store

__all__ = [
    "GUIDELINE",
    "ArenaError",
    "Entrant",
    "Made",
    "Mirror",
    "OPENING",
    "Output",
    "Question",
    "Ranking",
    "Reveal",
    "Service",
    "Shown",
    "Store",
    "agreement",
    "annotators",
    "create",
    "export",
    "generate",
    "human_front",
    "import_",
    "over_time",
    "ranking",
    "send",
    "specs",
    "votes_frame",
]
