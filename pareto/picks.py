"""What the page shows about a pick: the head of its text, and its card."""

from common.jsons import JsonObject
from lm import Policy
from lm.policy import between
from pareto import view
from pareto.detail import detail
from pareto.messages import Card, Head
from pareto.session import BASE, PLAN, Session


def side(session: Session, pick: str, policy: Policy) -> Head:
    """The head of a pick's text, which its policy gives."""
    point = _point(session, pick, policy)
    about = view.about(point, session.front.objectives)
    if point is None and _is_base(policy):
        return view.side(pick, view.methods()[BASE], BASE, "as it came")
    if point is None and pick.startswith(PLAN):
        return view.side(pick, pick.removeprefix(PLAN), "steered", about)
    facts = point or policy.about
    preference = None if pick == BASE else facts.get("preference")
    return view.side(pick, facts["name"], facts["method"], about, preference[0] if preference else None)


def card(session: Session, pick: str, policy: Policy) -> Card:
    """All that is known of a pick."""
    checkpoint, head = session.checkpoints.get(pick), side(session, pick, policy)
    ends = [end.name for end in session.ends(head["method"]) or ()] if between(session.name(pick)) else []
    facts, curves = (checkpoint.card, checkpoint.curves) if checkpoint else (None, [])
    return detail(head, _point(session, pick, policy), facts, curves, ends, session.front.objectives)


def named(session: Session, pick: str, policy: Policy) -> dict[str, str]:
    """What the point of a pick is called."""
    head = side(session, pick, policy)
    return {"id": pick, "name": head["name"], "method": head["method"]}


def _point(session: Session, pick: str, policy: Policy) -> JsonObject | None:
    """The scored point of a pick's policy, whatever name the base model is picked by."""
    return session.point(BASE if _is_base(policy) else pick)


def _is_base(policy: Policy) -> bool:
    """Whether nothing was added to the model, by whatever name it is picked."""
    return BASE in policy.parts
