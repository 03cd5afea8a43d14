"""The head of the page: which model it shows, and the way to the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ui.document import WEB


@dataclass(frozen=True)
class Way:
    """A model that may be chosen, and the address of its page, as seen from another one."""

    name: str
    address: str
    here: bool = False


def head(name: str, ways: Sequence[Way] = ()) -> str:
    """The head of a model's page. ways: to all models, its own among them, where there are several."""
    html = (WEB / "shared" / "head.html").read_text(encoding="utf-8")
    return html.replace("{model}", _menu(name, ways) if len(ways) > 1 else _label(name))


def _label(name: str) -> str:
    return f'<span class="tw-model">{escape(name)}</span>'


def _menu(name: str, ways: Sequence[Way]) -> str:
    """A list that opens; assets/web/shared/models.js tells in it what each costs."""
    items = "".join(
        f'<li><a href="{escape(way.address)}"{" aria-current=page" if way.here else ""}>'
        f"<b>{escape(way.name)}</b><small></small></a></li>"
        for way in ways
    )
    return (
        f'<details class="tw-model tw-models"><summary aria-label="Model: {escape(name)}" title="Choose the model">'
        f'<span>{escape(name)}</span></summary><div class="tw-choices"><ul>{items}</ul><p role="status"></p></div></details>'
    )
