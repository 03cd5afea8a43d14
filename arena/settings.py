"""How a study is judged: guideline, votes wanted, who judges, when names are told."""

from collections.abc import Sequence
from dataclasses import dataclass

from arena.errors import ArenaError, of_field
from arena.questions import GUIDELINE, Question, fitting
from arena.schema import ACCESS, PROMPT, REVEALS, BattleSet
from arena.text import clean, key
from arena.values import one_of, whole

MAX_MINIMUM = 1_000
MAX_MEMBERS = 1_000
MAX_SHARE = 100_000


@dataclass(frozen=True)
class Settings:
    """What a lead sets for a study, and may change at any time.

    minimum: votes wanted for every battle. access: one of `schema.ACCESS`; `members` are the names of
        "listed".
    reveal: one of `schema.REVEALS`. share: battles of one person at most; all where it is None.
    """

    guideline: str = GUIDELINE
    minimum: int = 3
    access: str = "signed"
    members: Sequence[str] = ()
    reveal: str = "vote"
    share: int | None = None

    def put(self, study: BattleSet, questions: Sequence[Question]) -> None:
        """Sets them, checked; a standard guideline becomes that for `questions`. Raises ArenaError."""
        with of_field("guideline"):
            study.guideline = clean(fitting(self.guideline, questions), most=PROMPT, label="The guideline")
        with of_field("minimum"):
            study.minimum = whole("The number of votes wanted", self.minimum, 1, MAX_MINIMUM)
        with of_field("share"):
            study.share = (
                None if self.share is None else whole("The share of a person", self.share, 1, MAX_SHARE)
            )
        with of_field("access"):
            study.access = one_of("Who may judge", self.access, ACCESS)
        with of_field("reveal"):
            study.reveal = one_of("When names are told", self.reveal, REVEALS)
        with of_field("members"):
            study.members = _members(self.members) if self.access == "listed" else []


def _members(names: Sequence[str]) -> list[str]:
    listed = list(dict.fromkeys(key(name) for name in names if name.strip()))
    if not 1 <= len(listed) <= MAX_MEMBERS:
        raise ArenaError(
            f"The list of who may judge has {len(listed)} names: give 1 to {MAX_MEMBERS:,}, one a line."
        )
    return listed
