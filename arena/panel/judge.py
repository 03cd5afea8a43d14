"""Judge: the sign-in, the battle, the answers given before."""

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from arena import example, notices, view
from arena.errors import AlreadyVoted, ArenaError, NotServed, QuestionsChanged, StoreError, TooLate
from arena.panel.endpoints import SERVED
from arena.panel.place import Place
from arena.panel.shared import PRIVATE, Profile, Who, offered, refusals, signed
from arena.service import Service
from arena.shown import Shown
from ui.parts import part, sent

CORRECTED = "The correction is kept."


def build(service: Service, who: Who, place: Place) -> gr.Dropdown:
    """Builds the part in an open `gr.Tab`; returns the choice of a study, whose value is its id."""
    shown = gr.State(None)
    with gr.Row(elem_classes="tw-signin") as form:
        typed = gr.Textbox(
            label="Your name", placeholder="as it will stand beside your votes", visible=not who.login
        )
        # after a restart Gradio takes the studies that are there now, so that a page goes on where it was
        chosen = gr.Dropdown(offered(service.store), value="", label="Study", interactive=True)
        enter = gr.Button("Start judging", variant="primary")
        if who.login:
            gr.LoginButton()
    fault = gr.HTML(visible=False, elem_classes="tw-by")
    change = gr.Button(visible=False, size="sm", elem_classes="tw-signed")
    page = part(view.welcome(who.login), "compare/arena", "tw-judge")

    judging = Judging(service, who)
    served = PRIVATE | {"concurrency_limit": SERVED, "show_progress": "hidden"}
    name = who.name
    state, about = [name, shown, page], [form, change, place.part]
    for trigger in (enter.click, typed.submit):
        after = [*state, *about, fault]
        trigger(judging.on_start, [typed, chosen], after, concurrency_id="battles", **served)
    opened = place.part.open(
        judging.on_open, None, [typed, chosen, *state, *about], concurrency_id="battles", **served
    )
    place.failed(opened)
    change.click(lambda: (gr.Row(visible=True), gr.Button(visible=False)), None, [form, change], **served)
    page.next(judging.on_next, [name, typed, chosen], state, concurrency_id="battles", **served)
    page.earlier(judging.on_earlier, [name, typed, chosen], state, concurrency_id="battles", **served)
    page.look(judging.on_look, [name, typed, chosen], state, concurrency_id="battles", **served)
    for event, act in ((page.vote, judging.vote), (page.undo, judging.undo)):
        inputs = [name, shown, typed, chosen]
        event(judging.on_battle(act), inputs, state, concurrency_id="votes", **served)
    after = [chosen, *state, *about, fault]
    page.practise(judging.on_practise, [name, typed], after, concurrency_id="battles", **served)
    chosen.focus(lambda: gr.Dropdown(offered(service.store)), None, chosen, **served)
    return chosen


class Judging:
    """The handlers of the part's events; each returns the values of its components."""

    def __init__(self, service: Service, who: Who) -> None:
        self.service, self.who = service, who

    def named(self, person: str, typed: str, profile: Profile) -> str:
        """Who is at the page, also after a restart of the app."""
        return person or signed("" if self.who.login else typed, profile, self.who.login)

    def begin(self, typed: str, study: str, profile: Profile, visit: object = None) -> tuple[Any, ...]:
        person = signed("" if self.who.login else typed, profile, self.who.login)
        current, html = following(self.service, person, study)
        name = next(
            (name for name, id in offered(self.service.store) if id == study), "a study that is not there"
        )
        label = f"{person} · {name} · change"
        return (
            person,
            current,
            html,
            gr.Row(visible=False),
            gr.Button(label, visible=True),
            Place.at(study, person, visit),
        )

    def on_start(self, typed: str, study: str, profile: Profile) -> tuple[Any, ...]:
        """The first battle; a name that is refused is told by its field."""
        try:
            return *self.begin(typed, study, profile), gr.HTML(visible=False)
        except ArenaError as error:
            return *[gr.skip()] * 6, refused(error)

    def on_open(self, event: gr.EventData, profile: Profile) -> tuple[Any, ...]:
        """Takes up what the address names: a study, and the name of whoever comes back. Where it names neither,
        says whether anything waits before a name is asked for.
        """
        asked = sent(event)
        study, name = str(asked.get("study") or "")[:32], str(asked.get("name") or "")
        visit = asked.get("visit")
        choices = offered(self.service.store)
        known = study in [id for _, id in choices]
        if not (study or name):
            html = view.welcome(self.who.login) if self.service.waits() else view.finished(0)
            unchanged = gr.skip()  # a row that is told to be visible again forgets what is being typed
            return (
                unchanged,
                gr.Dropdown(choices),
                unchanged,
                unchanged,
                html,
                unchanged,
                unchanged,
                Place.at("", "", visit),
            )
        fields = (gr.Textbox(value=name), gr.Dropdown(choices, value=study if known else ""))
        try:
            if study and not known:
                self.service.check(study, name or "nobody")
            if name or self.who.login:
                return *fields, *self.begin(name, study, profile, visit)
            refused = ""
            html = (
                view.invited(self.service.about(study), self.who.login)
                if study
                else view.welcome(self.who.login)
            )
        except ArenaError as error:
            refused = str(error)
            html = view.refused(refused)
        return (
            *fields,
            "",
            None,
            html,
            gr.Row(visible=True),
            gr.Button(visible=False),
            Place.at(study, name, visit, refused),
        )

    def on_practise(self, person: str, typed: str, profile: Profile) -> tuple[Any, ...]:
        """A battle of the example; a name that is missing is told by its field."""
        try:
            person = self.named(person, typed, profile)
            study = example.practise(self.service.store)
            begun = self.begin(person, study, profile)
        except ArenaError as error:
            return *[gr.skip()] * 7, refused(error)
        return gr.Dropdown(offered(self.service.store), value=study), *begun, gr.HTML(visible=False)

    def on_next(self, person: str, typed: str, study: str, profile: Profile) -> tuple[Any, ...]:
        with refusals():
            person = self.named(person, typed, profile)
            return person, *following(self.service, person, study)

    def on_earlier(
        self, person: str, typed: str, study: str, profile: Profile, event: gr.EventData
    ) -> tuple[Any, ...]:
        """A page of the answers, or that on which a battle stands."""
        asked = sent(event)
        page, battle = asked.get("page"), str(asked.get("battle") or "")
        with refusals():
            person = self.named(person, typed, profile)
            number = page if isinstance(page, int) else 1
            answered = self.service.earlier(person, study or None, page=number, battle=battle)
            return person, None, view.earlier(answered)

    def on_look(
        self, person: str, typed: str, study: str, profile: Profile, event: gr.EventData
    ) -> tuple[Any, ...]:
        """An earlier answer, to be looked at and corrected."""
        battle = str(sent(event).get("battle"))
        with refusals():
            person = self.named(person, typed, profile)
            answered = self.service.earlier(person, study or None, battle=battle)
            vote = next((vote for vote in answered.votes if vote.reveal.battle == battle), None)
            if vote is None:
                raise ArenaError("There is no vote of yours on this battle.")
            html = view.battle(vote.shown, answers=vote.reveal.answers, comment=vote.comment, correcting=True)
            return person, vote.shown, html

    def on_battle(self, act: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
        """A handler of what is done with a battle: `act` gets who is at the page, what it shows, the study, and
        what the page sends.
        """

        def handler(
            person: str,
            current: Shown | None,
            typed: str,
            study: str,
            profile: Profile,
            event: gr.EventData,
        ) -> tuple[Any, ...]:
            fields = sent(event)
            battle = str(fields.get("battle"))
            try:
                person = self.named(person, typed, profile)
                if current is None or current.battle != battle:
                    current = self.service.again(battle, person, study or None)
                return act(person, current, study, fields)
            except StoreError as error:
                raise gr.Error(str(error), print_exception=False) from error
            except ArenaError:
                return "", None, view.welcome(self.who.login)

        return handler

    def vote(self, person: str, seen: Shown, study: str, fields: Mapping[str, Any]) -> tuple[Any, ...]:
        """What follows answers, given or corrected."""
        battle = seen.battle
        given, comment = fields.get("answers"), str(fields.get("comment", ""))
        answers = {str(key): str(value) for key, value in given.items()} if isinstance(given, dict) else {}
        correcting = fields.get("correcting") is True
        try:
            if correcting:
                self.service.correct(battle, person, answers, comment)
                answered = self.service.earlier(person, study or None, battle=battle)
                return person, None, view.earlier(answered, note=CORRECTED)
            reveal = self.service.vote(battle, person, answers, comment)
            if reveal.a is None:
                return person, *following(self.service, person, study)
            return person, seen, view.revealed(seen, reveal)
        except AlreadyVoted as error:
            return person, seen, view.revealed(seen, self.service.reveal(battle, person), error=str(error))
        except QuestionsChanged as error:
            seen = self.service.again(battle, person, study or None)
            return person, seen, view.battle(seen, comment=comment, error=str(error), correcting=correcting)
        except ArenaError as error:
            html = view.battle(
                seen, answers=answers, comment=comment, error=str(error), correcting=correcting
            )
            return person, seen, html

    def undo(self, person: str, seen: Shown, study: str, fields: Mapping[str, Any]) -> tuple[Any, ...]:
        """The battle again, without its vote."""
        try:
            self.service.undo(seen.battle, person)
        except TooLate as error:
            reveal = self.service.reveal(seen.battle, person)
            return person, seen, view.revealed(seen, reveal, error=str(error))
        note = "Vote taken back. You have seen the names: a new answer is kept as a correction, not as blind."
        return person, seen, view.battle(seen, note=note)


def refused(error: ArenaError) -> gr.HTML:
    """What stands by the name."""
    return gr.HTML(notices.failed(str(error)), visible=True)


def following(service: Service, person: str, study: str) -> tuple[Shown | None, str]:
    """The next battle, or the sentence where there is none."""
    try:
        shown = service.next(person, study or None)
    except NotServed as error:
        return None, view.refused(str(error))
    if shown is not None:
        return shown, view.battle(shown)
    reveal = service.about(study).reveal if study else "vote"
    return None, view.finished(service.judged(person, study or None), reveal)
