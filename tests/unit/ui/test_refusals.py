"""A call that no endpoint takes is answered with one sentence, and is one line of the log."""

import logging

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from ui.server import mounted, queued


@pytest.fixture
def client():
    def echo(prompt: str | None, ids: list[str], seed: int = 0) -> str:
        return "heard"

    with gr.Blocks() as page:
        gr.api(echo, api_name="echo")
    with TestClient(mounted(queued(page), "")) as client:
        yield client


@pytest.mark.parametrize(
    "data", [[], ["hi"], ["hi", {"path": "/etc/hosts", "meta": {"_type": "gradio.FileData"}}]]
)
def test_missing_inputs_are_one_sentence_and_one_line_of_the_log(client, caplog, data):
    event = client.post("/gradio_api/call/echo", json={"data": data}).json()["event_id"]
    told = client.get(f"/gradio_api/call/echo/{event}").text
    assert "event: error" in told and "is not what it takes" in told
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.exc_info is None and "\n" not in line.getMessage()


@pytest.mark.parametrize(
    ("endpoint", "body", "names"),
    [
        ("echo", {"prompt": "hi"}, "ids"),
        ("echo", {"prompt": "hi", "ids": [], "sead": 1}, "sead"),
        ("sing", {}, "sing"),
    ],
)
def test_values_of_other_names_are_one_sentence_that_names_one(client, caplog, endpoint, body, names):
    answer = client.post(f"/gradio_api/call/v2/{endpoint}", json=body)
    assert answer.status_code == 422 and names in answer.json()["detail"]
    assert answer.json()["detail"].count(".") == 1
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.exc_info is None and names not in line.getMessage()


def test_an_endpoint_that_is_not_there_is_not_found(client, caplog):
    answer = client.post("/gradio_api/call/sing", json={"data": []})
    assert answer.status_code == 404 and "'sing'" in answer.json()["detail"]
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.exc_info is None
