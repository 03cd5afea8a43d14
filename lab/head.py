"""The head of the page: which model it shows, and the way to the others."""

from dataclasses import dataclass
from html import escape

from ui.document import WEB


@dataclass(frozen=True)
class Way:
    """A model that may be chosen, and the address of its page, as seen from another one."""

    name: str
    address: str
    here: bool = False


@dataclass(frozen=True)
class Ways:
    """From a model's page to those of all models, its own among them.
    in_memory: how many of them are, at once.
    """

    to: tuple[Way, ...] = ()
    in_memory: int = 1

    @property
    def rule(self) -> str:
        """Who is in memory, in a sentence."""
        if self.in_memory >= len(self.to):
            return "Each is loaded when it is first asked."
        if self.in_memory == 1:
            return "One model is in memory at a time. The others sleep, and wake when they are asked."
        return f"{self.in_memory} models are in memory at a time. The others sleep, and wake when they are asked."


def head(name: str, ways: Ways) -> str:
    """The head of a model's page."""
    html = (WEB / "shared" / "head.html").read_text(encoding="utf-8")
    return html.replace("{model}", _menu(name, ways) if len(ways.to) > 1 else _label(name))


def _label(name: str) -> str:
    return f'<span class="tw-model">{escape(name)}</span>'


def _menu(name: str, ways: Ways) -> str:
    """A list that opens; assets/web/shared/models.js shows in it what each model costs."""
    items = "".join(
        f'<li><a href="{escape(way.address)}"{" aria-current=page" if way.here else ""}>'
        f"<b>{escape(way.name)}</b><small></small></a></li>"
        for way in ways.to
    )
    return (
        f'<details class="tw-model tw-models"><summary aria-label="Model: {escape(name)}" title="Choose the model">'
        f'<span>{escape(name)}</span></summary><div class="tw-choices"><ul>{items}</ul><p>{ways.rule}</p><p role="status"></p></div></details>'
    )
