"""A battle as HTML. Model text reaches the page escaped, every character as it was written. Before the vote
nothing here
knows more than the two texts."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from html import escape

from markdown_it import MarkdownIt

from arena.formatting import differences, plain, rich
from arena.questions import Question
from arena.schema import COMMENT
from arena.shown import About, Answered, Earlier, Reveal, Shown, Side

ROLES = {"system": "System prompt", "user": "User, earlier", "assistant": "Assistant, earlier"}
PRACTISE = '<button type="button" class="tw-quiet" data-open="practise">Practise on an example</button>'
BACK = '<button type="button" class="tw-quiet" data-open="next">Back to judging</button>'
LABELS = {"a": "A", "b": "B", "tie": "Tie", "both_bad": "Both bad", "skip": "Skip"}

_markdown = MarkdownIt("commonmark", {"html": False}).disable(["image", "link", "autolink", "reference"])


def battle(
    shown: Shown,
    *,
    answers: Mapping[str, str] | None = None,
    comment: str = "",
    error: str = "",
    note: str = "",
    correcting: bool = False,
) -> str:
    """The battle and its ballot, with answers given before if an error brought them back,
    or to be corrected.
    """
    chosen = answers or {}
    questions = "".join(_question(question, chosen.get(question.key, "")) for question in shown.questions)
    commit = "Commit and reveal" if shown.reveal == "vote" else "Commit"
    go = "Keep the correction" if correcting else commit
    above = _heading(shown) if correcting else _progress(shown)
    return f"""<article class="tw-arena" data-stage="{"correct" if correcting else "vote"}" data-battle="{escape(shown.battle)}">
{above}{_note(note)}{_texts(shown, "A", "B")}
<form class="tw-ballot">{questions}
<details class="tw-comment"{" open" if comment else ""}><summary>Comment <kbd>C</kbd></summary>
<textarea dir="auto" maxlength="{COMMENT}" rows="2" aria-label="Comment, optional">{escape(comment)}</textarea></details>
<p class="tw-error" role="alert">{escape(error)}</p>
<button class="tw-go" type="submit">{go} <kbd>Enter</kbd></button>
</form>{_guide(shown)}</article>"""


def revealed(shown: Shown, reveal: Reveal, *, error: str = "") -> str:
    """The battle after its vote is committed: names, plans, the answers, and undo while there is time."""
    left = max(0, int((reveal.undo_until - datetime.now(UTC)).total_seconds()))
    answers = _answers(shown, reveal)
    after = replace(shown, done=shown.done + 1, remaining=shown.remaining - 1)
    undo = (
        f'<button class="tw-undo" type="button" data-seconds="{left}">Undo <kbd>U</kbd> '
        f'<span class="tw-seconds">{left} s</span></button>'
    )
    outcome = (
        "Kept as a correction: the names were known, so it is left out of the blind ranking."
        if reveal.revised
        else "Your vote is stored."
    )
    return f"""<article class="tw-arena" data-stage="reveal" data-battle="{escape(reveal.battle)}">
{_progress(after)}
{_texts(shown, _name("A", reveal.a), _name("B", reveal.b), _spec(reveal.a), _spec(reveal.b))}
<div class="tw-ballot tw-result" role="status"><p>{outcome} You answered: {answers}.</p>
<p class="tw-error" role="alert">{escape(error)}</p>
<button class="tw-go" type="button">Next battle <kbd>Enter</kbd></button>
{undo if left else ""}</div></article>"""


def welcome(login: bool) -> str:
    """What is shown before the sign-in."""
    return _plate(
        "Two answers, no names",
        f"{_enter(login)} to start. You will see one prompt and two answers, and say which is better in what you are asked. "
        "The same name brings you back to where you stopped.",
    )


def _enter(login: bool) -> str:
    return "Sign in with Hugging Face above, then press Start judging," if login else "Type a name above"


def finished(done: int, reveal: str = "vote") -> str:
    """What is shown when nothing is left to judge."""
    if not done:
        says = "Make a study under Studies, or send two texts from Steer or Trade-offs."
        return _plate("No battle yet", says, PRACTISE)
    names = " Your answers now tell who wrote what." if reveal == "end" else ""
    return _plate("All judged", f"You have judged {_count(done)}. Thank you.{names}", _listed())


def invited(study: About, login: bool) -> str:
    """What is shown to whoever comes by the link of a study, before they give a name."""
    notice = f'<p class="tw-note">{escape(study.notice)}</p>' if study.notice else ""
    return (
        f'<article class="tw-arena" data-stage="done"><h3 class="tw-title">{escape(study.name)}</h3>{notice}'
        f'<div class="tw-guideline" dir="auto">{guideline(study.guideline)}</div>'
        f'<p class="tw-count">{_enter(login)} to start. The same name brings you back to where you stopped.</p></article>'
    )


def refused(error: str) -> str:
    """What is shown where a study cannot be judged, and why."""
    return _plate("This study cannot be judged now", error)


def earlier(answered: Answered, *, note: str = "") -> str:
    """A page of a person's answers, the latest first, each with a way to correct it."""
    if not answered.votes:
        return _plate("No answers yet", "Judge a battle first.", BACK)
    rows = "".join(_earlier(vote) for vote in answered.votes)
    return f"""<article class="tw-arena" data-stage="earlier"><div class="tw-heading"><h3>Your answers</h3>{BACK}</div>{_note(note)}
<p class="tw-count">A correction is kept and marked; where you know who wrote what by then, it no longer counts as blind.</p>
<ol class="tw-answered">{rows}</ol>{_pages(answered)}</article>"""


def _pages(answered: Answered) -> str:
    if answered.pages == 1:
        return ""
    later = _listed("Later", page=answered.page - 1) if answered.page > 1 else ""
    before = _listed("Earlier", page=answered.page + 1) if answered.page < answered.pages else ""
    at = f'<span class="tw-count">Page {answered.page} of {answered.pages}</span>'
    return f'<nav class="tw-pages" aria-label="Pages of your answers">{later}{at}{before}</nav>'


def _listed(label: str = "Your answers", *, page: int = 1, battle: str = "") -> str:
    """The way to a page of one's answers, or to that which holds a battle."""
    return f'<button type="button" class="tw-quiet" data-open="earlier" data-page="{page}" data-battle="{escape(battle)}">{label}</button>'


def _earlier(vote: Earlier) -> str:
    names = ""
    if vote.reveal.a is not None and vote.reveal.b is not None:
        names = f"<p>{_name('A', vote.reveal.a)} · {_name('B', vote.reveal.b)}</p>"
    mark = " · corrected" if vote.corrected else ""
    if vote.corrected and vote.reveal.revised:
        mark += " after the names"
    return (
        f'<li><p class="tw-opening" dir="auto">{escape(plain(vote.shown.prompt)[:200])}</p>'
        f"<p>{_answers(vote.shown, vote.reveal)}</p>{names}"
        f'<p class="tw-count"><time datetime="{vote.voted_at.isoformat()}">{vote.voted_at:%Y-%m-%d %H:%M} UTC</time>{mark}'
        f' <button type="button" class="tw-quiet" data-correct="{escape(vote.reveal.battle)}">Look again</button></p></li>'
    )


def _answers(shown: Shown, reveal: Reveal) -> str:
    return " · ".join(
        f"{escape(question.text)} <strong>{LABELS.get(reveal.answers.get(question.key, ''), '—')}</strong>"
        for question in shown.questions
    )


def _plate(title: str, text: str, more: str = "") -> str:
    return (
        f'<article class="tw-arena tw-empty" data-stage="done"><h3>{escape(title)}</h3><p>{escape(text)}</p>{more}'
        "</article>"
    )


def _count(done: int) -> str:
    return "1 battle" if done == 1 else f"{done} battles"


def guideline(text: str) -> str:
    """An organizer's Markdown; raw HTML is escaped, links and images stay text."""
    return str(_markdown.render(text))


def _texts(shown: Shown, a: str, b: str, about_a: str = "", about_b: str = "") -> str:
    marked = differences(shown.a, shown.b)
    sides = ((a, shown.a, marked[0], about_a), (b, shown.b, marked[1], about_b))
    panes = "".join(
        f'<section class="tw-pane"><h3>{title}</h3>{about}'
        f'<div class="tw-plain" dir="auto">{words}</div><div class="tw-rich" dir="auto">{rich(text)}</div></section>'
        for title, text, words, about in sides
    )
    turns = "".join(
        f'<div class="tw-before"><h3>{escape(ROLES.get(role, role))}</h3><p dir="auto">{escape(plain(words))}</p></div>'
        for role, words in shown.turns
    )
    return f"""<section class="tw-prompt">{turns}<h3>Prompt</h3><p dir="auto">{escape(plain(shown.prompt))}</p></section>
<div class="tw-views" role="group" aria-label="View">
<button type="button" data-view="rich" aria-pressed="false">Show formatting <kbd>F</kbd></button>
<button type="button" data-view="diff" aria-pressed="false">Mark differences <kbd>D</kbd></button></div>
<div class="tw-panes">{panes}</div>"""


def _question(question: Question, chosen: str) -> str:
    options = "".join(
        f'<label><input type="radio" name="{question.key}" value="{value}"{" checked" if value == chosen else ""}>'
        f"<span><kbd>{number}</kbd> {label}</span></label>"
        for number, (value, label) in enumerate(LABELS.items(), start=1)
    )
    return (
        f'<fieldset class="tw-{question.key}" data-question="{question.key}"><legend dir="auto">{escape(question.text)}</legend>'
        f'<div class="tw-options">{options}</div></fieldset>'
    )


def _heading(shown: Shown) -> str:
    back = _listed(battle=shown.battle)
    return f'<div class="tw-heading"><h3>{escape(shown.study)}: an earlier answer</h3>{back}</div>'


def _progress(shown: Shown) -> str:
    done, left = shown.done, shown.remaining
    total = max(done + left, 1)
    to_go = f"{left} to go" if shown.short else f"all votes that were wanted are in; {left} more can be given"
    notice = f'<p class="tw-note">{escape(shown.notice)}</p>' if shown.notice else ""
    return notice + (
        f'<div class="tw-progress" role="progressbar" aria-label="Battles judged" aria-valuemin="0" '
        f'aria-valuemax="{total}" aria-valuenow="{done}">'
        f'<div style="width:{100 * done / total:.1f}%"></div></div>'
        f'<p class="tw-count">{escape(shown.study)} · {done} judged, {to_go} {_listed()}</p>'
    )


def _note(note: str) -> str:
    return f'<p class="tw-note" role="status">{escape(note)}</p>' if note else ""


def _guide(shown: Shown) -> str:
    return (
        f'<details class="tw-guide"{"" if shown.done else " open"}><summary>Guideline and keys</summary>'
        f'<div class="tw-guideline" dir="auto">{guideline(shown.guideline)}</div><p class="tw-keys"><kbd>1</kbd>–<kbd>5</kbd> answer the marked question, '
        "<kbd>←</kbd> <kbd>→</kbd> move the answer, <kbd>↑</kbd> <kbd>↓</kbd> change the question, "
        "<kbd>Enter</kbd> commits and goes on.</p></details>"
    )


def _name(letter: str, side: Side | None) -> str:
    return letter if side is None else f'{letter} <bdi class="tw-policy">{escape(side.policy)}</bdi>'


def _spec(side: Side | None) -> str:
    if side is None:
        return ""
    text = json.dumps({**side.spec, **side.about}, indent=1, ensure_ascii=False)
    return f'<details class="tw-spec"><summary>What wrote it</summary><pre dir="auto">{escape(text)}</pre></details>'
