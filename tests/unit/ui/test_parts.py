"""What the parts of the page send."""

import gradio as gr
import pytest

from ui.parts import sent


@pytest.mark.parametrize("what", [None, [], "run", 3])
def test_what_is_no_object_is_refused_in_one_sentence(what: object) -> None:
    with pytest.raises(gr.Error, match="no object of named fields") as refused:
        sent(gr.EventData(None, what))
    assert not refused.value.print_exception


def test_what_a_page_sends_is_taken_as_it_is() -> None:
    assert sent(gr.EventData(None, {"work": "run"})) == {"work": "run"}
