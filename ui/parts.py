"""Parts of the page that are drawn by the JavaScript modules of assets/web."""

from typing import Any

import gradio as gr


def module(name: str, events: str = "") -> str:
    """`js_on_load` of a part whose code is assets/web/<name>.js; Gradio wants the events named in it."""
    return f"import(new URL('tw/{name}.js', document.baseURI)).then((m) => m.default({{ element, trigger, props, watch }})); // {events}"


def part(value: Any, name: str, css: str, events: str = "") -> gr.HTML:
    """A part of the page: its code is assets/web/<name>.js, `css` the classes of its element, `events` those
    it sends to Python.
    """
    return gr.HTML(
        value,
        html_template=f'<div class="{css}"></div>',
        js_on_load=module(name, events),
        apply_default_css=False,
    )


def sent(event: gr.EventData) -> dict[str, Any]:
    """What a part of the page sent with an event. Raises gr.Error where a caller that is no page sent something else."""
    if not isinstance(event._data, dict):
        raise gr.Error(
            "What came with the event is no object of named fields: send it as the page does.",
            print_exception=False,
        )
    return event._data
