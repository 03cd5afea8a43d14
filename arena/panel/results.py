"""Results: a study's ranking, agreement, slices and answers; drawn anew while somebody looks
and votes come in.
"""

import json
from collections.abc import Sequence
from typing import Any

import gradio as gr
import pandas as pd

from arena import notices, plots, reading
from arena.agreement import agreement, annotators, by_question, over_time
from arena.front import human_front
from arena.messages import Listing
from arena.panel.learning import Learner, Learning
from arena.panel.place import Place
from arena.panel.shared import PRIVATE, Profile, Who, offered, refusals
from arena.pseudonyms import pseudonyms
from arena.questions import Question
from arena.ranking import ranking
from arena.records import asked, every_question, questions, votes_frame
from arena.slices import slices
from arena.store import Store
from ui.parts import part, sent

AT_ONCE = 4


def build(
    store: Store, who: Who, judging: gr.Dropdown, place: Place, tab: gr.Tab, learner: Learner | None = None
) -> gr.Dropdown:
    """Builds the part in an open `gr.Tab`; its choice of a study, which others make too. judging: the study
    that is judged, with which the choice begins; learner: what trains on votes, if anything does.
    """
    with store.read() as session:  # after a restart Gradio takes what is there now
        known = every_question(session)
    with gr.Row(elem_classes="tw-asked"):
        chosen = gr.Dropdown(offered(store), value="", label="Study", interactive=True)
        question = gr.Radio(_choices(known), value=known[0].key, label="Question")
    watch = part({}, "compare/fresh", "tw-fresh")
    summary = gr.HTML(elem_classes="tw-summary")
    with gr.Column(visible=False) as tallied:
        with gr.Row(elem_classes="tw-charts"):
            strength, wins = _chart(), _chart()
        table = _table()
        with gr.Row(elem_classes="tw-charts"):
            front, time_line = _chart(), _chart()
        points, alike, sliced, people = (_table() for _ in range(4))
    answers = gr.HTML(elem_classes="tw-read-all")
    with gr.Row(elem_classes="tw-asked"):
        page = gr.Number(
            1, label="Page of the answers", precision=0, minimum=1, visible=False, elem_classes="tw-page"
        )
    learning = Learning(learner, who, chosen)

    def draw(question: str, study: str, person: str, at: float, profile: Profile) -> tuple[Any, ...]:
        organizer = who.is_organizer(person, profile)
        with refusals(), store.read() as session:
            votes = votes_frame(session, study or None)
            listed, names = questions(session, study or None), pseudonyms(session)
            known = asked(votes)
            question = question if question in known else known[0]
            read, pages = (
                reading.page(session, study, votes, int(at or 1)) if organizer and study else ("", 0)
            )
        if not organizer:
            votes["annotator"] = votes["annotator"].map(names)  # their names are for organizers
        result, human = ranking(votes, question), human_front(votes) if len(known) > 1 else None
        return (
            gr.Dropdown(offered(store), value=study),
            gr.Radio(_choices(listed), value=question),
            {"votes": len(votes)},
            notices.summary(result, agreement(votes, question)),
            gr.Column(visible=len(votes) > 0),
            plots.strengths(result),
            plots.wins(result),
            _listed("Ranking", _spaced(result.table)),
            None if human is None else plots.front(human),
            plots.over_time(over_time(votes)),
            None if human is None else _listed("Human front", _spaced(human)),
            _listed("Agreement by question", _spaced(by_question(votes))),
            _listed("Win rate by the prompts' tags", slices(votes, question)),
            _listed("Annotators", _spaced(annotators(votes))),
            gr.Number(visible=pages > 1, maximum=max(pages, 1)),
            read,
            learning.of(study, organizer, len(votes)),
        )

    def fresh(
        question: str, study: str, person: str, at: float, profile: Profile, event: gr.EventData
    ) -> Any:
        """Draws anew where votes have come in since the page was drawn."""
        with refusals(), store.read() as session:
            same = len(votes_frame(session, study or None)) == sent(event).get("votes")
        return [gr.skip()] * len(outputs) if same else draw(question, study, person, at, profile)

    def enter(
        question: str, judged: str, study: str, person: str, at: float, profile: Profile
    ) -> tuple[Any, ...]:
        return draw(question, study or judged, person, at, profile)

    outputs = [chosen, question, watch, summary, tallied, strength, wins, table, front, time_line, points, alike, sliced, people, page, answers, learning.part]  # fmt: skip
    asked_for = [question, chosen, who.name, page]
    settings = PRIVATE | {
        "concurrency_limit": AT_ONCE,
        "show_progress": "minimal",
        "show_progress_on": [summary],
    }
    tab.select(enter, [question, judging, chosen, who.name, page], outputs, **settings)
    gr.on([chosen.input, question.input, page.change], draw, asked_for, outputs, **settings)
    chosen.input(Place.at, [chosen, who.name], place.part, **PRIVATE)
    watch.fresh(fresh, asked_for, outputs, **settings | {"show_progress": "hidden"})
    judging.input(lambda study: choose(store, study), judging, chosen, **PRIVATE)
    return chosen


def choose(store: Store, study: str) -> gr.Dropdown:
    """The choice of a study as it is when somebody chose one elsewhere:
    all of them where it is not offered.
    """
    listed = offered(store)
    return gr.Dropdown(listed, value=study if study in [id for _, id in listed] else "")


def _choices(questions: Sequence[Question]) -> list[tuple[str, str]]:
    return [(question.text, question.key) for question in questions]


def _chart() -> gr.HTML:
    return part(None, "shared/plot", "tw-chart")


def _listed(title: str, table: pd.DataFrame) -> Listing:
    """A table as the page draws it; its file is called by its title."""
    plain = json.loads(table.to_json(orient="split", index=False, double_precision=2))
    file = f"{title.lower().replace(' ', '-')}.csv"
    return {"title": title, "columns": plain["columns"], "rows": plain["data"], "file": file}


def _spaced(table: pd.DataFrame) -> pd.DataFrame:
    """Columns with names of our own, as words."""
    return table.rename(columns=lambda name: name.replace("_", " "))


def _table() -> gr.HTML:
    return part(None, "compare/table", "tw-listing")
