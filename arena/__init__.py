"""Blind side-by-side comparisons: battles, votes, rankings and the human front."""

from arena.agreement import agreement, annotators, over_time
from arena.answering import Entrant, generate
from arena.battles import GUIDELINE, Made, Output, create, send
from arena.errors import ArenaError
from arena.exchange import export, import_
from arena.front import human_front
from arena.hub import Mirror
from arena.ranking import Ranking, ranking
from arena.records import specs, votes_frame
from arena.service import Desk, Reveal, Shown
from arena.store import Store

__all__ = [
    "GUIDELINE",
    "ArenaError",
    "Desk",
    "Entrant",
    "Made",
    "Mirror",
    "Output",
    "Ranking",
    "Reveal",
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
