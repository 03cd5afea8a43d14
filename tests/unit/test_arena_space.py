"""The whole app in the environment of a Hugging Face Space: who signs in, who organizes, where votes are kept."""

import json

import pytest

import app
from arena import ArenaError, create, space
from lm import load
from tests.arena_canned import answers
from tests.arena_space import on_a_space, serving
from tests.tiny import tiny

pytest_plugins = ["tests.arena_fixtures"]


@pytest.fixture(scope="module")
def model():
    return load(str(tiny("qwen2")))


def test_the_app_on_a_space_takes_votes_under_logins_and_is_organized_by_its_owner(model, lite, monkeypatch):
    on_a_space(monkeypatch)
    create(lite, "Set", answers(2), repeats=0.0)
    with serving(app.compose(model, lite)) as call:
        kind, told = call("battle", None, "Ada")
        assert kind == "error" and "Sign in with Hugging Face first" in told
        kind, told = call("battle", "Ada", "")
        assert kind == "complete" and json.loads(told)[0]["battle"]
        for login, end in ((None, "error"), ("Ada", "error"), ("Lab", "complete")):
            assert call("on_export", login, None)[0] == end
        monkeypatch.setenv("TRADEWIND_ORGANIZERS", "ada, bob")
        assert [call("on_export", login, None)[0] for login in ("Ada", "lab")] == ["complete", "error"]


def test_the_app_at_home_takes_names_as_typed_and_is_organized_by_anybody(model, lite, monkeypatch):
    monkeypatch.delenv("OAUTH_CLIENT_ID", raising=False)
    create(lite, "Set", answers(2), repeats=0.0)
    with serving(app.compose(model, lite)) as call:
        assert call("battle", None, "Ada")[0] == "complete"
        assert call("on_export", None, None)[0] == "complete"


def test_on_a_space_without_a_known_owner_nobody_organizes(monkeypatch):
    on_a_space(monkeypatch)
    monkeypatch.delenv("SPACE_AUTHOR_NAME")
    assert not space.organizes("lab") and not space.organizes("")


def test_organizers_without_a_sign_in_are_refused(monkeypatch):
    monkeypatch.delenv("OAUTH_CLIENT_ID", raising=False)
    monkeypatch.setenv("TRADEWIND_ORGANIZERS", "ada")
    with pytest.raises(ArenaError, match="TRADEWIND_ORGANIZERS.*has no sign-in"):
        space.login()
