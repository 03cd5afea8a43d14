"""The Compare tab: judge, results, studies. The only folder of the arena that knows Gradio."""

from collections.abc import Callable, Mapping, Sequence

import gradio as gr

from arena import notices
from arena.answering import GROUP, Entrant
from arena.panel import endpoints, judge, results, studies
from arena.panel.learning import Learner
from arena.panel.place import Place
from arena.panel.shared import Who
from arena.panel.shared import signed as signed
from arena.service import Service
from arena.store import Store


def build(
    store: Store,
    *,
    policies: Callable[[], Mapping[str, Entrant]] = dict,
    groups: Sequence[str] = (GROUP,),
    login: bool = False,
    organizes: Callable[[str], bool] = lambda person: True,
    warning: str = "",
    votes_a_minute: int = 30,
    model_queue: str = "model",
    learner: Learner | None = None,
) -> None:
    """Builds the tab in an open `gr.Tab` or `gr.Blocks`, and the endpoints /battle, /vote, /answer, /undo,
    /ranking.

    Parameters
    ----------
    policies: asked each time an organizer opens the list of what can be compared.
    groups: under which they are listed.
    login: sign in with Hugging Face (`hf_oauth`); votes are then taken under the login alone.
    organizes: whether the person of this name may make, edit, export and import studies (an export tells all
        sides).
    warning: what annotators and organizers read first, if anything.
    votes_a_minute: most votes of one person in a minute.
    model_queue: the app's `concurrency_id` for whatever runs the model.
    learner: what trains a model on a study's votes, from Results.
    """
    service = Service(store, votes_a_minute=votes_a_minute)
    endpoints.build(service, login)
    who = Who(gr.State(""), login, organizes)
    if warning:
        gr.HTML(notices.failed(warning))
    gr.HTML('<h2 class="tw-heard">Compare</h2>', apply_default_css=False)
    place = Place()
    with gr.Tabs(elem_classes="tw-compare"):
        with gr.Tab("Judge"):
            chosen = judge.build(service, who, place)
        with gr.Tab("Results") as tab:
            shown = results.build(store, who, chosen, place, tab, learner)
        with gr.Tab("Studies") as tab:
            studies.build(store, who, policies, groups, model_queue, shown, tab)
