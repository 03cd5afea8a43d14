"""What the page tells of a pick: the head of its text, and its card."""

from lm.policy import between
from pareto import view
from pareto.detail import detail
from pareto.messages import Card, Head
from pareto.policy import known, title_at
from pareto.session import BASE, PLAN, Session


def side(session: Session, pick: str) -> Head:
    """The head of a pick's text. Raises PolicyError where it names no place between two ends."""
    point, checkpoint = session.point(pick), session.checkpoints.get(pick)
    about = view.about(point, session.front.objectives)
    if point is None and pick == BASE:
        return view.side(BASE, view.methods()[BASE], BASE, "as it came")
    if point is None and (live := between(pick)):
        method, share = live
        return view.side(pick, title_at(method, (share, 1 - share)), method, about, share)
    if point is None and pick.startswith(PLAN):
        return view.side(pick, pick.removeprefix(PLAN), "steered", about)
    facts = point or (known(checkpoint) if checkpoint else {"name": pick, "method": "other"})
    preference = None if pick == BASE else facts.get("preference")
    return view.side(pick, facts["name"], facts["method"], about, preference[0] if preference else None)


def card(session: Session, pick: str) -> Card:
    """All that is known of a pick."""
    checkpoint, head = session.checkpoints.get(pick), side(session, pick)
    ends = [end.name for end in session.ends(head["method"]) or ()] if checkpoint is None else []
    facts, curves = (checkpoint.card, checkpoint.curves) if checkpoint else (None, [])
    return detail(head, session.point(pick), facts, curves, ends, session.front.objectives)


def named(session: Session, pick: str) -> dict[str, str]:
    """What the point of a pick is called."""
    head = side(session, pick)
    return {"id": pick, "name": head["name"], "method": head["method"]}
