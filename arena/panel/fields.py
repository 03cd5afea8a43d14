"""How a study is judged, as fields of a form: the same for a new study and for one that is edited."""

import gradio as gr

from arena.schema import ACCESS, REVEALS


def fields(login: bool) -> tuple[gr.Radio, gr.Textbox, gr.Radio, gr.Number, gr.Number]:
    """Who judges, the names of a list, when names are told, votes wanted, battles of a person."""
    allowed = [
        (text[0].upper() + text[1:], key)
        for key, text in ACCESS.items()
        if key != ("open" if login else "signed")
    ]
    access = gr.Radio(allowed, value=allowed[0][1], label="Who may judge")
    members = gr.Textbox("", label="The list: a name a line", lines=4, max_length=80_000, visible=False)
    told = [(text[0].upper() + text[1:], key) for key, text in REVEALS.items()]
    reveal = gr.Radio(told, value="vote", label="When names are told")
    minimum = gr.Number(3, precision=0, minimum=1, label="Votes wanted for every battle")
    share = gr.Number(0, precision=0, minimum=0, label="Battles of one person at most (0: all)")
    return access, members, reveal, minimum, share
