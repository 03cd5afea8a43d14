"""A study's answers beside the votes on them, for its lead to read:
the battles on which people differ come first.
"""

from collections.abc import Hashable
from html import escape
from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from arena.formatting import plain
from arena.records import asked
from arena.schema import Battle
from arena.view import LABELS

BATTLES = 10
"""On one page."""


def page(session: Session, set_id: str, votes: pd.DataFrame, number: int) -> tuple[str, int]:
    """The battles of a page as HTML, and how many pages there are.
    Names of models and annotators stand in it.
    """
    judged = votes[votes["kind"] != "trap"]
    order = _differing(judged)
    pages = -(-len(order) // BATTLES)
    shown = order[BATTLES * (min(max(number, 1), max(pages, 1)) - 1) :][:BATTLES]
    query = select(Battle).where(Battle.id.in_(shown)).options(joinedload(Battle.a), joinedload(Battle.b))
    battles = {battle.id: battle for battle in session.scalars(query)}
    parts = [_battle(battles[id], judged[judged["battle"] == id]) for id in shown]
    heading = '<h3 class="tw-title">Answers beside votes</h3><p class="tw-count">Where people differ most comes first.</p>'
    return (heading + "".join(parts) if parts else ""), pages


def _differing(votes: pd.DataFrame) -> list[str]:
    """The battles, by how few of their votes agree with the most frequent answer to each question,
    then by their age.
    """
    if votes.empty:
        return []
    questions = asked(votes)

    def agreed(own: pd.DataFrame) -> float:
        shares = [own[key].value_counts(normalize=True).max() for key in questions if own[key].notna().any()]
        return float(sum(shares) / len(shares))

    first = {battle: agreed(own) for battle, own in votes.groupby("battle", sort=False)}
    return sorted(first, key=lambda battle: first[battle])


def _battle(battle: Battle, votes: pd.DataFrame) -> str:
    panes = "".join(
        f'<section class="tw-pane"><h3>{side} <bdi class="tw-policy">{escape(run.policy_name)}</bdi></h3>'
        f'<div class="tw-plain" dir="auto">{escape(plain(run.text))}</div></section>'
        for side, run in (("A", battle.a), ("B", battle.b))
    )
    questions = [key for key in asked(votes) if votes[key].notna().any()]
    head = "".join(f'<th scope="col">{escape(key)}</th>' for key in questions)
    rows = "".join(_vote(vote, questions) for vote in votes.to_dict("records"))
    tag = f' <span class="tw-count">{escape(battle.a.tag)}</span>' if battle.a.tag else ""
    return (
        f'<details class="tw-arena tw-read"><summary dir="auto">{escape(plain(battle.a.prompt)[:200])}{tag}</summary>'
        f'<section class="tw-prompt"><p dir="auto">{escape(plain(battle.a.prompt))}</p></section>'
        f'<div class="tw-panes">{panes}</div><div class="tw-scroll"><table class="tw-table"><thead><tr>'
        f'<th scope="col">annotator</th>{head}<th scope="col">comment</th></tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def _vote(vote: dict[Hashable, Any], questions: list[str]) -> str:
    cells = "".join(f"<td>{LABELS.get(vote[key], '—')}</td>" for key in questions)
    mark = " (corrected)" if vote["corrected"] else ""
    return (
        f"<tr><td><bdi>{escape(vote['annotator'])}</bdi>{mark}</td>{cells}"
        f'<td dir="auto">{escape(plain(vote["comment"]))}</td></tr>'
    )
