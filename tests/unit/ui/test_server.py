"""What a caller may not have of the machine through a page that another process's page is mounted beside."""

import json
from pathlib import Path

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from ui.server import mounted

SECRET = "the operator's own"


@pytest.mark.parametrize("kind", ["text", "nested", "component"])
def test_no_file_of_the_machine_is_shown_to_whoever_names_it(tmp_path: Path, kind: str) -> None:
    def echo(value: str) -> str:
        return json.dumps(value)

    with gr.Blocks() as page:
        text = gr.Textbox()
        text.submit(echo, text, text, api_name="typed")
        gr.api(echo, api_name="echo")
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    named = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    value = [[named]] if kind == "nested" else named
    with TestClient(mounted(page, "")) as client:
        call = f"/gradio_api/call/{'typed' if kind == 'component' else 'echo'}"
        event = client.post(call, json={"data": [value]}).json()["event_id"]
        told = client.get(f"{call}/{event}").text
        assert "event: error" in told and "/file=" not in told
        assert client.get(f"/gradio_api/file={secret}").status_code in (403, 404)
