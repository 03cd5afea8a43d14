"""Short messages of the results and of the organizer's view, as HTML."""

from collections.abc import Sequence
from html import escape
from typing import Any

from arena.battles import Made
from arena.ranking import Ranking


def summary(ranked: Ranking, agreed: dict[str, Any]) -> str:
    """The figures beside a ranking: votes, agreement, position bias."""
    if not ranked.votes:
        return "<p>No votes yet. Judge some battles, then come back.</p>"
    position = ranked.position
    decided = position["left"] + position["right"]
    alpha = "not known yet: it needs battles that two people judged, and more than one answer"
    if agreed["alpha"] is not None:
        alpha = f"{agreed['alpha']:.2f} over {agreed['battles']} battles of {agreed['annotators']} annotators"
    facts = (
        (
            "Votes",
            f"{ranked.votes} ({ranked.ties} ties, {ranked.both_bad} both bad, {ranked.skipped} skipped)",
        ),
        (
            "Left out",
            f"corrections made after the names were seen: {ranked.revised}; repeats and traps measure the annotators",
        ),
        ("Agreement (Krippendorff’s alpha)", alpha),
        (
            "Position",
            f"A was chosen in {position['share']:.0%} of {decided} decided votes, 95% interval "
            f"{position['low']:.0%} to {position['high']:.0%}; {_chance(position['p'])} if unbiased",
        ),
    )
    rows = (f"<dt>{escape(term)}</dt><dd>{escape(fact)}</dd>" for term, fact in facts)
    apart = f'<p class="tw-note" role="status">{escape(ranked.warning)}</p>' if ranked.warning else ""
    return f"{apart}<dl>{''.join(rows)}</dl>"


def _chance(p: float) -> str:
    return "p < 0.01" if p < 0.01 else f"p = {p:.2f}"


def working(done: int, total: int, seconds: float) -> str:
    """A progress bar with the time left."""
    left = f", about {seconds / done * (total - done):.0f} s left" if done else ""
    return (
        f'<div class="tw-progress" role="progressbar" aria-valuemin="0" aria-valuemax="{total}" '
        f'aria-valuenow="{done}" aria-label="Answers generated">'
        f'<div style="width:{100 * done / total:.0f}%"></div>'
        f"</div><p>{done} of {total} answers{left}</p>"
    )


def created(battles: Made) -> str:
    """The result of a request for battles."""
    text = (
        f"“{battles.name}” got {battles.plain} battles, {battles.repeats} repeats and {battles.traps} traps."
    )
    if battles.same:
        text += f" {battles.same} pairs had equal texts and were left out."
    if battles.leaks:
        text += f" {battles.leaks} pairs were left out because a text names its model."
    if battles.known:
        text += f" {battles.known} pairs were in the set already."
    return status(f"{text} Open Judge to vote")


def sample(about: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first rows of a file, as they were read."""
    head = "".join(f'<th scope="col" dir="auto">{escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f'<td dir="auto">{escape(cell)}</td>' for cell in cells) + "</tr>" for cells in rows
    )
    return (
        f'<p role="status">{escape(about)}</p><div class="tw-scroll" tabindex="0"><table class="tw-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def status(text: str) -> str:
    """One sentence."""
    return f'<p role="status">{escape(text)}.</p>'


def failed(text: str) -> str:
    """One sentence of what went wrong, with its remedy."""
    return f'<p class="tw-error" role="alert">{escape(text)}</p>'
