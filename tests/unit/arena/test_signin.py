"""Who votes under which name."""

import json

import gradio as gr
import pytest

from arena import ArenaError, Output, Service, Store, create, votes_frame
from arena.panel import build, signed
from arena.panel.judge import Judging
from arena.panel.shared import Who
from lab.compare import sent
from lm import load
from pareto.panel import build as build_pareto
from steering import Library
from steering.panel import build as build_steering
from tests.arena_canned import answers, open_only
from tests.arena_space import on_a_space, serving
from tests.tiny import tiny

pytest_plugins = ["tests.arena_fixtures"]


def profile(name: str) -> gr.OAuthProfile:
    return gr.OAuthProfile({"name": name, "preferred_username": name, "profile": "", "picture": ""})


def test_without_a_login_a_name_is_taken_as_typed():
    assert signed("  Ada   L ", None, login=False) == "Ada L"
    with pytest.raises(ArenaError, match="name is missing: type one"):
        signed(" ", None, login=False)


def test_a_name_that_is_refused_is_told_by_its_field_and_the_sentence_goes_when_it_is_mended(lite):
    create(lite, "Set", answers(2), repeats=0.0)
    judging = Judging(Service(lite), Who(gr.State(""), False, bool))
    *_, fault = judging.on_start("  ", "", None)
    assert fault.visible and "Your name is missing: type one" in fault.value
    person, *_, fault = judging.on_start("Ada", "", None)
    assert person == "Ada" and not fault.visible


def test_with_a_login_only_the_login_votes():
    assert signed("", profile("ada"), login=True) == "ada"
    assert signed("ada", profile("ada"), login=True) == "ada"
    with pytest.raises(ArenaError, match="Sign in with Hugging Face first"):
        signed("ada", None, login=True)
    with pytest.raises(ArenaError, match="signed in as ada"):
        signed("bob", profile("ada"), login=True)


@pytest.fixture
def space(lite, monkeypatch):
    """The tab as on a Space with `hf_oauth`: calls an endpoint with the cookie of a login, or none."""
    on_a_space(monkeypatch)
    create(lite, "Set", answers(2), repeats=0.0)
    with gr.Blocks() as blocks:
        build(lite, login=True)
    with serving(blocks) as call:
        yield call


def test_on_a_space_the_endpoints_serve_the_login_and_nobody_else(space, lite):
    kind, told = space("battle", "ada", "")
    assert kind == "complete"
    battle = json.loads(told)[0]["battle"]
    for login, annotator in ((None, "ada"), ("bob", "ada"), (None, "")):
        kind, told = space("vote", login, battle, annotator, "a", "a", "")
        assert kind == "error" and "ign" in told
    with lite.read() as session:
        assert votes_frame(session).empty
    assert space("vote", "ada", battle, "ada", "a", "a", "")[0] == "complete"
    with lite.read() as session:
        assert votes_frame(session)["annotator"].tolist() == ["ada"]


def test_only_the_five_endpoints_are_public(lite):
    with gr.Blocks() as app:
        build(lite)
    endpoints = app.get_api_info()["named_endpoints"]
    assert set(endpoints) == {"/battle", "/vote", "/answer", "/undo", "/ranking"}
    for name in ("/battle", "/vote", "/answer", "/undo"):
        assert "profile" not in {part["parameter_name"] for part in endpoints[name]["parameters"]}


@pytest.mark.parametrize("room", ["steering", "pareto"])
def test_a_tab_that_sends_knows_who_is_signed_in(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_space(monkeypatch)
    monkeypatch.setattr(f"{room}.controller.Controller.compare", lambda self, *given: given[-1] or "nobody")
    model = load(str(tiny("llama")))
    with gr.Blocks() as blocks:
        gr.LoginButton()
        if room == "steering":
            build_steering(Library(model), send=lambda *given: "")
        else:
            build_pareto(model, send=lambda *given: "")
    with serving(blocks) as call:
        assert "ada" in call("on_compare", "ada")[1]
        assert "nobody" in call("on_compare", None)[1]


def test_only_signed_people_send_where_people_sign_in(monkeypatch: pytest.MonkeyPatch, lite: Store) -> None:
    outputs = [Output("p", "x", "one"), Output("p", "y", "two")]
    assert "1 new battle" in sent(lite, outputs, None)
    on_a_space(monkeypatch)
    with pytest.raises(ArenaError, match="Sign in"):
        sent(lite, [Output("q", "x", "one"), Output("q", "y", "two")], None)
    assert "organizer opens" in sent(lite, [Output("q", "x", "one"), Output("q", "y", "two")], "ada")
    service = Service(lite)
    open_only(lite, ["Sent from the app"])
    judged = {service.next("ada").prompt}
    assert judged == {"p"}
