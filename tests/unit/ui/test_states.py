"""What Gradio keeps of a page."""

import asyncio
import tracemalloc

import gradio as gr
import pytest
from gradio.blocks import BlocksConfig
from gradio.state_holder import StateHolder

from ui.server import queued


@pytest.fixture
def page() -> gr.Blocks:
    with gr.Blocks(analytics_enabled=False) as page:
        kept, offered, shown = gr.State([]), gr.Dropdown(["old"], value="old"), gr.Textbox()
        gr.Button().click(lambda kept: ([*kept, "new"], gr.Dropdown(["new"])), kept, [kept, offered])
        gr.Button().click(lambda kept, picked: f"{kept} {picked}", [kept, offered], shown)
    return queued(page)


def sessions(page: gr.Blocks) -> StateHolder:
    holder = StateHolder()
    holder.set_blocks(page)
    return holder


def test_a_session_copies_no_settings_of_parts(page, monkeypatch):
    holder, configured = sessions(page), []
    monkeypatch.setattr(BlocksConfig, "config_for_block", lambda *args: configured.append(args) or {})
    for number in range(3):
        holder[f"session {number}"]
    assert len(holder.session_data) == 3 and not configured


def test_each_page_keeps_its_states_and_its_changed_parts(page):
    holder = sessions(page)
    change, show = page.fns

    def process(session, number, *inputs):
        return asyncio.run(page.process_api(number, list(inputs), state=holder[session]))["data"]

    process("one", change, None)
    assert process("one", show, None, "new") == ["['new'] new"]
    assert process("two", show, None, "old") == ["[] old"]
    with pytest.raises(gr.Error):
        process("two", show, None, "new")


def test_strangers_sessions_weigh_little():
    with gr.Blocks(analytics_enabled=False) as page:
        for _ in range(150):
            shown = gr.Textbox()
        for _ in range(45):
            gr.Button().click(lambda: "", None, shown)
    holder = sessions(queued(page))
    holder["the first"]
    tracemalloc.start()
    for number in range(100):
        holder[f"session {number}"]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100 * 20_000
