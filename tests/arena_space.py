"""A page as it runs on a Space with `hf_oauth`, called with the cookie of a login, or with none."""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gradio as gr
import itsdangerous
import pytest
from fastapi.testclient import TestClient

Call = Callable[..., tuple[str, str]]


def on_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a Space of the user `lab`."""
    for setting, value in (
        ("SYSTEM", "spaces"),
        ("SPACE_ID", "lab/arena"),
        ("SPACE_AUTHOR_NAME", "lab"),
        ("SPACE_HOST", "lab-arena.hf.space"),
        ("OAUTH_CLIENT_ID", "test"),
        ("OAUTH_CLIENT_SECRET", "test"),
        ("OAUTH_SCOPES", "test"),
        ("OPENID_PROVIDER_URL", "test"),
    ):
        monkeypatch.setenv(setting, value)
    for setting in ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL"):
        monkeypatch.setattr(f"gradio.oauth.{setting}", "test")


@contextmanager
def serving(blocks: gr.Blocks) -> Iterator[Call]:
    """Yields call(endpoint, login, *data): how it ended ("complete" or "error"), and what was told.

    An endpoint of the page alone is called by its function's name.
    """
    app = gr.routes.App.create_app(blocks)
    secret = hashlib.sha256(b"test-v4").hexdigest()
    private = {
        found.name: number for number, found in blocks.fns.items() if found.api_visibility == "private"
    }

    def cookie(login: str) -> str:
        info = {"preferred_username": login, "name": login, "profile": "", "picture": ""}
        session = {"oauth_info": {"userinfo": info, "expires_at": time.time() + 600, "access_token": "t"}}
        return (
            itsdangerous.TimestampSigner(secret).sign(base64.b64encode(json.dumps(session).encode())).decode()
        )

    with TestClient(app, base_url="https://testserver") as client:
        client.get("/gradio_api/startup-events")

        def call(endpoint: str, login: str | None, *data: object) -> tuple[str, str]:
            client.cookies.clear()
            if login is not None:
                client.cookies.set("session", cookie(login))
            if endpoint in private:
                return page(private[endpoint], data)
            reply = client.post(f"/gradio_api/call/{endpoint}", json={"data": data})
            stream = client.get(f"/gradio_api/call/{endpoint}/{reply.json()['event_id']}").text
            kind, value = [line.split(": ", 1)[1] for line in stream.split("\n") if ": " in line][-2:]
            return kind, value

        def page(number: int, data: tuple[object, ...]) -> tuple[str, str]:
            asked = {
                "fn_index": number,
                "data": data,
                "event_data": {},
                "session_hash": f"tab {time.monotonic_ns()}",
            }
            client.post("/gradio_api/queue/join", json=asked).raise_for_status()
            stream = client.get("/gradio_api/queue/data", params={"session_hash": asked["session_hash"]}).text
            told = [
                json.loads(line.removeprefix("data: "))
                for line in stream.split("\n")
                if line.startswith("data: ")
            ]
            (end,) = (message for message in told if message["msg"] == "process_completed")
            return "complete" if end["success"] else "error", json.dumps(end["output"])

        yield call
