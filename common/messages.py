"""Messages to the page that several tabs draw; assets/web/shared has the JavaScript that reads them."""

from typing import Any, NotRequired, TypedDict


class Figure(TypedDict):
    """What plotly draws."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]


class Table(TypedDict):
    """The table twin of a figure, numbers as they are."""

    columns: list[str]
    rows: list[list[Any]]


class Chart(TypedDict):
    """A chart, or the sentence that stands in its place while it is empty. data: the table for the file,
    where that has more than the one of the page.
    """

    title: str
    empty: NotRequired[str]
    note: NotRequired[str]
    figure: NotRequired[Figure]
    table: NotRequired[Table | None]
    data: NotRequired[Table]
    file: NotRequired[str]


class File(TypedDict):
    """A file that the page hands over. content: base64."""

    name: str
    content: str


Said = TypedDict("Said", {"say": str, "as": NotRequired[str]})
"""A sentence for parts of the page, sent as the event `as` of assets/web/shared/events.js; default: said."""
