"""What the three parts of the tab share: who is at the page, and how a refusal is said."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from sqlalchemy import select

from arena.errors import ArenaError
from arena.schema import BattleSet
from arena.store import Store
from arena.text import clean_name

ALL = ("All studies", "")
Profile = gr.OAuthProfile | None
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
"""Of events that are the page's alone."""


@dataclass(frozen=True)
class Who:
    """Who is at the page. name: the component that keeps the name under which they judge."""

    name: gr.State
    login: bool
    organizes: Callable[[str], bool]

    def is_organizer(self, person: str, profile: Profile) -> bool:
        """Whether a person may see names and texts, and handle studies."""
        return self.organizes((profile.username if profile else "") if self.login else person)

    def check(self, person: str, profile: Profile) -> None:
        """Raises gr.Error where somebody is no organizer."""
        with refusals():
            person = signed("", profile, self.login) if self.login else person
            if not self.organizes(person):
                raise ArenaError("Only the organizers of this arena may do this. Sign in as one.")


class refusals:
    """Turns what the arena refuses into the page's one-sentence error."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ArenaError):
            raise gr.Error(str(error), print_exception=False) from error


def signed(name: str, profile: Profile, login: bool) -> str:
    """The name to vote under: the login's where one is wanted, else the given one; ArenaError without one."""
    if not login:
        return clean_name(name, label="Your name")
    if profile is None:
        raise ArenaError("Sign in with Hugging Face first; votes are taken under your login.")
    if name and name != profile.username:
        raise ArenaError(f"You are signed in as {profile.username}, and can vote under that name only.")
    return profile.username


def offered(store: Store) -> list[tuple[str, str]]:
    """(name, id) of the studies that are not archived, newest first, behind all of them."""
    with store.read() as session:
        query = select(BattleSet).where(BattleSet.archived_at.is_(None)).order_by(BattleSet.created_at.desc())
        return [ALL, *((study.name, study.id) for study in session.scalars(query))]
