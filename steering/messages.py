"""Messages between the Steer tab and its JavaScript (assets/web/steer), one definition each; tests/golden has
an example of each that Python makes and JavaScript draws.

While texts stream, a state has all tokens so far and Gradio sends what differs from
the state before: the new tokens.
"""

from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from common.messages import Chart

SideName = Literal["unsteered", "steered", "requested"]


class Shade(NamedTuple):
    """A token as it is drawn.

    after, before: mean P over the layers, of the plan's targets and then of the concepts that are watched;
    push: the largest |push| / |e|; flag: 1 capped, 2 out of reach.
    """

    text: str
    after: list[float]
    before: list[float]
    push: float
    flag: int
    logprob: float


class Poles(TypedDict):
    """A concept, and the words for its two ends."""

    name: str
    low: str
    high: str
    description: str


class Costs(TypedDict):
    """What steering with a method costs: points [dose, KL, score] from off on; the KL as far as the text
    stays fluent, up to which no text broke, and of the largest dose that was measured.
    """

    points: list[list[float | None]]
    most: float
    whole: float
    end: float


class Known(Poles):
    """What the controls know about a concept. costs: by "method direction", where it was calibrated."""

    costs: dict[str, Costs]


Ways = TypedDict("Ways", {"chat": tuple[str, ...], "continue": tuple[str, ...]})
"""Prompts to begin with, by the way to ask."""
Limits = TypedDict(
    "Limits",
    {"chat": int, "continue": int, "tokens": int, "strength": float, "seed": int, "temperature": float},
)
"""Upper bounds of the controls: characters of a chat's prompt and of a text to continue, and the numbers."""


class Chats(TypedDict):
    """What the model's chat template knows."""

    template: bool
    system: bool
    thinking: bool
    model: str


class Opening(TypedDict):
    """What the controls open with. opening: the first request; compare: whether texts can go to Compare."""

    concepts: dict[str, Known]
    layers: int
    examples: Ways
    chats: Chats
    opening: dict[str, Any]
    limits: Limits
    compare: bool


class Choice(TypedDict):
    """How the layers that nobody named were chosen, in a few words and in a sentence."""

    by: str
    chosen: str


class Curves(TypedDict):
    """Held-out accuracy at every layer beside its two controls; empty where no texts are known."""

    accuracy: list[float]
    shuffled: list[float]
    random: list[float]


class Stage(TypedDict, total=False):
    """A state of the stage. fraction: of the learning; held: what held the pushes back; rows: the table of
    metrics, a label, what it means, and a cell a side; field: the control that a problem stands by.
    """

    run: int | None
    phase: Literal["learning", "running", "done", "stopped", "error"]
    unsteered: list[Shade]
    steered: list[Shade]
    requested: list[Shade]
    fraction: float
    note: str
    held: str
    rows: list[list[str]]
    problem: str
    field: str | None
    sides: list[SideName]
    wish: str
    begin: str
    layers: list[int]
    cosines: dict[str, float]
    choice: Choice
    concepts: list[Poles]
    targets: int
    dropped: int
    curves: list[Curves]
    snippet: str


class Sides(TypedDict):
    """The examples of a concept."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]


class Learned(Known):
    """A concept that a visitor taught. opens: the budget at which it opens."""

    curves: Curves
    opens: float | None
    texts: Sides


class Drafts(TypedDict):
    """Examples that the model wrote."""

    positive: list[str]
    negative: list[str]


class Work(TypedDict):
    """How far a sweep or the trainer is; fraction None: it has ended. chart: of the sweep; done,
    drafts: what was learned or written.
    """

    fraction: float | None
    note: NotRequired[str]
    problem: NotRequired[str]
    chart: NotRequired[Chart]
    done: NotRequired[Learned]
    drafts: NotRequired[Drafts]


class Alternative(TypedDict):
    """A token that could have come: its probability under both models, whether it was drawn, or ends a text."""

    id: int
    text: str
    base: float
    steered: float
    drawn: bool
    ends: bool


class Reading(TypedDict):
    """P of a concept at each layer, under both models; None where an imported vector has no direction."""

    name: str
    low: str
    high: str
    base: list[float | None]
    steered: list[float | None]


class Push(TypedDict):
    """What was pushed at a layer."""

    layer: int
    eps: list[float]
    share: float


class Lens(TypedDict):
    """One token under the lens. prefix: the answer's token ids up to there."""

    side: int
    index: int
    token: str
    alternatives: list[Alternative]
    prefix: list[int]
    temperature: float
    readings: list[Reading]
    pushes: list[Push]
    run: NotRequired[int | None]


class Teaching(TypedDict):
    """What the controls are told while a concept is taught."""

    training: Work


Inspected = TypedDict("Inspected", {"say": Lens, "as": Literal["inspected"]})
"""The lens, told to the parts of the page."""
