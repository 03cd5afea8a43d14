"""Parts of the page that are drawn by the JavaScript modules of assets/web."""

import json
import re
from functools import cache
from typing import Any

import gradio as gr

from ui.document import WEB


def module(name: str) -> str:
    """`js_on_load` of a part whose code is assets/web/<name>.js; Gradio wants the events named in it."""
    events = " ".join(f"'{event}'" for event in triggers().get(name, ()))
    return f"import(new URL('tw/{name}.js', document.baseURI)).then((m) => m.default({{ element, trigger, props, watch }})); // {events}"


@cache
def triggers() -> dict[str, dict[str, str]]:
    """What each part sends to Python, by part and event: the list of assets/web/shared/events.js."""
    source = (WEB / "shared" / "events.js").read_text("utf-8")
    written = re.search(r"TRIGGERS = (\{.*?\n\});", source, re.DOTALL)
    assert written is not None
    listed: dict[str, dict[str, str]] = json.loads(written[1])
    return listed


def part(value: Any, name: str, css: str) -> gr.HTML:
    """A part of the page: its code is assets/web/<name>.js, `css` the classes of its element."""
    return gr.HTML(
        value,
        html_template=f'<div class="{css}"></div>',
        js_on_load=module(name),
        apply_default_css=False,
    )


def sent(event: gr.EventData) -> dict[str, Any]:
    """What a part of the page sent with an event.
    Raises gr.Error where a caller that is no page sent something else.
    """
    if not isinstance(event._data, dict):
        raise gr.Error(
            "What came with the event is no object of named fields: send it as the page does.",
            print_exception=False,
        )
    return event._data
