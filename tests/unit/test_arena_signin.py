"""Who votes under which name."""

import base64
import hashlib
import json
import time

import gradio as gr
import itsdangerous
import pytest
from fastapi.testclient import TestClient

from arena import ArenaError, create, votes_frame
from arena.panel import build, signed
from tests.arena_canned import answers

pytest_plugins = ["tests.arena_fixtures"]


def profile(name: str) -> gr.OAuthProfile:
    return gr.OAuthProfile({"name": name, "preferred_username": name, "profile": "", "picture": ""})


def test_without_a_login_a_name_is_taken_as_typed():
    assert signed("  Ada   L ", None, login=False) == "Ada L"
    with pytest.raises(ArenaError, match="1 to 80 characters"):
        signed("", None, login=False)


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
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("SPACE_ID", "lab/arena")
    settings = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")
    for setting in settings:
        monkeypatch.setattr(f"gradio.oauth.{setting}", "test")
    create(lite, "Set", answers(2), repeats=0.0)
    with gr.Blocks() as blocks:
        build(lite, login=True)
    app = gr.routes.App.create_app(blocks)
    secret = hashlib.sha256(b"test-v4").hexdigest()

    with TestClient(app, base_url="https://testserver") as client:
        client.get("/gradio_api/startup-events")

        def call(endpoint: str, login: str | None, *data: object) -> tuple[str, str]:
            client.cookies.clear()
            if login is not None:
                info = {"preferred_username": login, "name": login, "profile": "", "picture": ""}
                session = {
                    "oauth_info": {"userinfo": info, "expires_at": time.time() + 600, "access_token": "t"}
                }
                signer = itsdangerous.TimestampSigner(secret)
                cookie = signer.sign(base64.b64encode(json.dumps(session).encode())).decode()
                client.cookies.set("session", cookie)
            reply = client.post(f"/gradio_api/call/{endpoint}", json={"data": data})
            stream = client.get(f"/gradio_api/call/{endpoint}/{reply.json()['event_id']}").text
            kind, value = [line.split(": ", 1)[1] for line in stream.split("\n") if ": " in line][-2:]
            return kind, value

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


def test_only_the_four_endpoints_are_public(lite):
    with gr.Blocks() as app:
        build(lite)
    endpoints = app.get_api_info()["named_endpoints"]
    assert set(endpoints) == {"/battle", "/vote", "/undo", "/ranking"}
    for name in ("/battle", "/vote", "/undo"):
        assert "profile" not in {part["parameter_name"] for part in endpoints[name]["parameters"]}
