"""A battle as HTML. Model text reaches the page escaped, every character as it was written. Before the vote nothing here
knows more than the two texts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape

from markdown_it import MarkdownIt

from arena.formatting import differences, plain, rich
from arena.questions import Question
from arena.schema import COMMENT
from arena.service import Reveal, Shown, Side

LABELS = {"a": "A", "b": "B", "tie": "Tie", "both_bad": "Both bad", "skip": "Skip"}

_markdown = MarkdownIt("commonmark", {"html": False}).disable(["image", "link", "autolink", "reference"])


def battle(
    shown: Shown,
    *,
    answers: Mapping[str, str] | None = None,
    comment: str = "",
    error: str = "",
    note: str = "",
) -> str:
    """The battle and its ballot, with answers given before if an error brought them back."""
    given = answers or {}
    questions = "".join(_question(question, given.get(question.key, "")) for question in shown.questions)
    return f"""<article class="tw-arena" data-stage="vote" data-battle="{escape(shown.battle)}">
{_progress(shown.done, shown.remaining)}{_note(note)}{_texts(shown, "A", "B")}
<form class="tw-ballot">{questions}
<details class="tw-comment"{" open" if comment else ""}><summary>Comment <kbd>C</kbd></summary>
<textarea dir="auto" maxlength="{COMMENT}" rows="2" aria-label="Comment, optional">{escape(comment)}</textarea></details>
<p class="tw-error" role="alert">{escape(error)}</p>
<button class="tw-go" type="submit">Commit and reveal <kbd>Enter</kbd></button>
</form>{_guide(shown)}</article>"""


def revealed(shown: Shown, reveal: Reveal, *, error: str = "") -> str:
    """The battle after its vote is committed: names, plans, the answers, undo while it can be had."""
    left = max(0, int((reveal.undo_until - datetime.now(UTC)).total_seconds()))
    answers = " · ".join(
        f"{escape(question.text)} <strong>{LABELS[reveal.answers[question.key]]}</strong>"
        for question in shown.questions
    )
    undo = (
        f'<button class="tw-undo" type="button" data-seconds="{left}">Undo <kbd>U</kbd> '
        f'<span class="tw-left">{left} s</span></button>'
    )
    kept = (
        "Kept as a correction: the names were known, so it is left out of the blind ranking."
        if reveal.revised
        else "Your vote is stored."
    )
    return f"""<article class="tw-arena" data-stage="reveal" data-battle="{escape(reveal.battle)}">
{_progress(shown.done + 1, shown.remaining - 1)}
{_texts(shown, _name("A", reveal.a), _name("B", reveal.b), _spec(reveal.a), _spec(reveal.b))}
<div class="tw-ballot tw-result" role="status"><p>{kept} You answered: {answers}.</p>
<p class="tw-error" role="alert">{escape(error)}</p>
<button class="tw-go" type="button">Next battle <kbd>Enter</kbd></button>
{undo if left else ""}</div></article>"""


def welcome(login: bool) -> str:
    """What is shown before the sign-in."""
    how = "Sign in with Hugging Face above, then press Start judging," if login else "Type a name above"
    return (
        '<article class="tw-arena tw-empty" data-stage="done"><h3>Two answers, no names</h3>'
        f"<p>{how} to start. You will see one prompt and two answers, and say which is better in what you are asked. "
        "Who wrote them is told after your vote.</p></article>"
    )


def finished(done: int) -> str:
    """What is shown when nothing is left to judge."""
    text = (
        f"<h3>All judged</h3><p>You have judged {done} battles. Thank you: see <em>Results</em>.</p>"
        if done
        else "<h3>No battle yet</h3><p>Make a battle set under <em>Organize</em>, or send two texts from "
        "<em>Steer</em> or <em>Trade-offs</em>.</p>"
    )
    return f'<article class="tw-arena tw-empty" data-stage="done">{text}</article>'


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
    return f"""<section class="tw-prompt"><h3>Prompt</h3><p dir="auto">{escape(plain(shown.prompt))}</p></section>
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


def _progress(done: int, left: int) -> str:
    total = max(done + left, 1)
    return (
        f'<div class="tw-progress" role="progressbar" aria-label="Battles judged" aria-valuemin="0" '
        f'aria-valuemax="{total}" aria-valuenow="{done}">'
        f'<div style="width:{100 * done / total:.1f}%"></div></div>'
        f'<p class="tw-count">{done} judged, {left} to go</p>'
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


def _name(side: str, found: Side) -> str:
    return f'{side} <bdi class="tw-policy">{escape(found.policy)}</bdi>'


def _spec(found: Side) -> str:
    text = json.dumps({**found.spec, **found.about}, indent=1, ensure_ascii=False)
    return f'<details class="tw-spec"><summary>What wrote it</summary><pre dir="auto">{escape(text)}</pre></details>'
