"""Messages between the Trade-offs tab and its JavaScript (assets/web/tradeoffs), one definition each;
tests/golden has an example of each that Python makes and JavaScript draws.

While texts stream, a state has all text so far and Gradio sends what differs from the state before: the new
text.
"""

from typing import Any, Literal, NotRequired, TypedDict

from common.messages import Chart

Head = TypedDict("Head", {"id": str, "name": str, "method": str, "about": str, "lambda": float | None})
"""The head of one text: the policy, its method, its measured place in words, its weight of helpfulness."""


Graded = TypedDict("Graded", {"id": str, "lambda": float})
"""A checkpoint that the preference slider chooses from, and its weight of helpfulness."""


class Limits(TypedDict):
    """The most that the controls take: bytes and kinds of an upload,
    characters of a prompt, and the numbers.
    """

    upload: int
    types: list[str]
    prompt: int
    tokens: int
    seed: int
    temperature: float
    scale: float


class Opening(TypedDict):
    """What the controls open with. opening: the first request; compare: whether texts can be sent to Compare;
    mixes: by method whose ends are there, its scored points; ends: these ends; steered: whether plans can be scored; scored:
    prompts of a scoring; picks: most at once; thinking: whether the model's template has the switch.
    """

    examples: tuple[str, ...]
    opening: dict[str, Any]
    compare: bool
    trained: list[Graded]
    mixes: dict[str, list[Graded]]
    ends: dict[str, list[str]]
    plans: list[str]
    steered: bool
    scored: int
    picks: int
    thinking: bool
    model: str
    limits: Limits


class Texts(TypedDict):
    """A state of the texts. rows: the table under them, a label, what it means, and a cell a text; field: the
    control that a problem stands by.
    """

    run: int | None
    phase: Literal["running", "done", "stopped", "error"]
    sides: list[Head]
    texts: list[str]
    note: NotRequired[str]
    rows: NotRequired[list[list[str]]]
    problem: NotRequired[str]
    field: NotRequired[str | None]


class Card(TypedDict):
    """All that is known of a policy: facts as [label, value], and how its training went."""

    id: str
    name: str
    method: str
    facts: list[list[str]]
    command: str
    charts: list[Chart]


class Axis(TypedDict):
    """What an axis can show: a key of the points, and a title with its unit."""

    id: str
    title: str


class Method(TypedDict):
    """A line of the legend."""

    id: str
    name: str
    hypervolume: float | None
    count: int


class Mark(TypedDict):
    """How a method's points are drawn."""

    symbol: str
    color: str
    dark: str
    edge: str


class Heading(TypedDict):
    """The sentences over a plot; empty stands in its place."""

    title: str
    note: NotRequired[str]
    empty: NotRequired[str]


class Together(Heading):
    """Reward models beside people. points: of each policy its id,
    and by objective its two places in standard scores.
    """

    points: NotRequired[list[dict[str, Any]]]


class Plane(TypedDict):
    """The paper's points, a set with axes of its own."""

    points: list[dict[str, Any]]
    reference: list[float]
    methods: list[Method]
    title: str
    note: str


class Front(TypedDict):
    """The front. points: id, name, method, lambda, seeds, cloud, dominated, answers, and a number and an
    interval an objective and a measure, by name; attainment: by method, the curve of the points that half the
    seeds reach.
    """

    points: list[dict[str, Any]]
    reference: list[float]
    objectives: list[str]
    axes: list[Axis]
    methods: list[Method]
    marks: dict[str, Mark]
    attainment: dict[str, Any]
    model: str
    models: Heading
    people: Heading
    both: Together
    example: NotRequired[bool]
    paper: NotRequired[Plane]


class Curve(TypedDict):
    """How a training went: a value a step of each measure."""

    steps: list[int]
    measures: dict[str, list[float | None]]


class Trainings(TypedDict):
    """The trainings of checkpoints by id, and what can be drawn of them."""

    measures: list[str]
    curves: dict[str, Curve]


class Trained(Front, Trainings):
    """The front with the trainings."""


class Work(TypedDict):
    """How far a scoring is; fraction None: it has ended."""

    fraction: float | None
    note: NotRequired[str]
    problem: NotRequired[str]
    done: NotRequired[str]
    field: NotRequired[str | None]
