"""Gradio's own parts in the page's dress."""

import gradio as gr

FACES = ("Source Sans 3", "system-ui", "sans-serif")
DRESS = {
    "var(--tw-accent)": "color_accent slider_color input_border_color_focus button_primary_background_fill button_primary_border_color "
    "button_primary_background_fill_hover button_primary_border_color_hover link_text_color link_text_color_hover link_text_color_visited",
    "var(--tw-on-accent)": "button_primary_text_color",
    "var(--tw-ink)": "body_text_color button_secondary_text_color block_title_text_color block_label_text_color",
    "var(--tw-muted)": "body_text_color_subdued input_placeholder_color block_info_text_color",
    "var(--tw-line)": "button_secondary_border_color_hover input_border_color_hover checkbox_border_color",
    "var(--tw-paper)": "body_background_fill background_fill_secondary table_even_background_fill table_odd_background_fill",
    "var(--tw-raised)": "background_fill_primary input_background_fill checkbox_background_color button_secondary_background_fill "
    "button_secondary_background_fill_hover",
    "var(--tw-rule)": "border_color_primary input_border_color button_secondary_border_color table_border_color",
    "transparent": "block_background_fill block_label_background_fill",
    "none": "block_shadow",
    "0px": "block_border_width block_label_border_width block_padding",
    "1px": "input_border_width checkbox_border_width checkbox_label_border_width button_border_width",
    "600": "block_title_text_weight",
    "0.875rem": "block_title_text_size block_label_text_size table_text_size",
    "0.9375rem": "button_large_text_size checkbox_label_text_size",
    "1rem": "input_text_size",
    "0.5rem 0.625rem": "input_padding",
    "0.625rem 1.125rem": "button_large_padding",
}
"""What Gradio's parts take from the page: a value, and the names of the theme's settings that get it."""


def theme() -> gr.themes.Base:
    """Gradio's own parts in the colours of assets/web/shared/base.css, which tells light from dark."""
    base = gr.themes.Base(neutral_hue="stone", font=FACES, font_mono=("ui-monospace", "monospace"))
    dress = {
        part + scheme: value
        for value, parts in DRESS.items()
        for part in parts.split()
        for scheme in ("", "_dark")
    }
    return base.set(**{part: value for part, value in dress.items() if hasattr(base, part)})
