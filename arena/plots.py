"""The arena's charts, as plain data for assets/web/plot.js; colours are the page's own."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from arena.questions import OPENING
from arena.ranking import Ranking
from common.messages import Chart, Table

HOUR = 3_600_000  # milliseconds
HEIGHT = 300
MAX_LABEL = 24
"""Characters of a name beside an axis or a mark."""


def strengths(ranked: Ranking) -> Chart:
    """Each policy's strength with its 95% interval, best on top: a plot of its own, with its own scale, for
    every group of policies that met.
    """
    groups = [part for _, part in ranked.table.groupby("group", sort=True)] or [ranked.table]
    traces = [_strengths(part, ranked.question) | _axes(place) for place, part in enumerate(groups, 1)]
    up = {"showgrid": False, **_ticks(ranked.table["policy"])}
    layout = _stacked([len(part) for part in groups], "strength, log-odds", up)
    apart = " Each group has a scale of its own." if len(groups) > 1 else ""
    return _chart(_verdict(ranked), traces, layout, f"Bradley-Terry strengths with 95% intervals.{apart}")


def _strengths(part: pd.DataFrame, question: str) -> dict[str, Any]:
    table = part.iloc[::-1]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": _plain(table["strength"]),
        "y": _labels(table["policy"]),
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": _plain(table["high"] - table["strength"]),
            "arrayminus": _plain(table["strength"] - table["low"]),
            "thickness": 1.5,
        },
        "marker": {"size": 11, "color": _color(question)},
        "customdata": table[["win_rate", "comparisons"]].values.tolist(),
        "hovertemplate": "%{y}: %{x:.2f}<br>wins %{customdata[0]:.0%} of %{customdata[1]}<extra></extra>",
    }


def _color(question: str) -> str:
    """The opening questions have colours of their own everywhere."""
    known = question in {each.key for each in OPENING}
    return f"var(--tw-{question})" if known else "var(--tw-accent)"


def _axes(place: int) -> dict[str, str]:
    """The axes of a plot of several, counted from 1, as a trace names them."""
    return {"xaxis": f"x{'' if place == 1 else place}", "yaxis": f"y{'' if place == 1 else place}"}


def _stacked(sizes: Sequence[int], title: str, up: Mapping[str, Any]) -> dict[str, Any]:
    """The layout of plots below each other, the first on top, with heights that go by `sizes`."""
    heights = [max(size, 2) for size in sizes]
    gap = 0.0 if len(sizes) == 1 else 0.44 / len(sizes)
    unit = (1 - gap * (len(sizes) - 1)) / sum(heights)
    layout: dict[str, Any] = {"height": max(HEIGHT, 130 + 55 * sum(heights)) if len(sizes) > 1 else HEIGHT}
    top = 1.0
    for place, height in enumerate(heights, 1):
        across, along = _axes(place).values()
        named = title if len(sizes) == 1 else f"{title}, group {place}"
        layout[f"xaxis{across[1:]}"] = _axis(named, anchor=along)
        layout[f"yaxis{along[1:]}"] = (
            _axis("", anchor=across) | {"domain": [max(0, top - height * unit), top]} | {**up}
        )
        top -= height * unit + gap
    return layout


def _verdict(ranked: Ranking) -> str:
    if len(ranked.table) < 2:
        return "No ranking yet"
    if ranked.warning:
        return f"{len(ranked.groups)} groups that never met: compare within each alone"
    first, second = ranked.table.iloc[0], ranked.table.iloc[1]
    if first["low"] > second["high"]:
        return f"{ranked.question}: {first['policy']} is ahead of all others"
    return f"{ranked.question}: nobody is clearly ahead yet, the intervals overlap"


def wins(ranked: Ranking) -> Chart:
    """Win rate of the row against the column; ties are half a win."""
    rates = ranked.wins
    trace = {
        "type": "heatmap",
        "z": [_plain(row) for row in rates.to_numpy(dtype=float)],
        "x": _labels(rates.columns),
        "y": _labels(rates.index),
        "zmin": -0.5,  # so that ink is read on the ends, too
        "zmax": 1.5,
        "textfont": {"color": "var(--tw-ink)"},
        "colorscale": [[0, "var(--tw-low)"], [0.5, "var(--tw-raised)"], [1, "var(--tw-high)"]],
        "xgap": 1,
        "ygap": 1,
        "texttemplate": "%{z:.0%}",
        "hoverongaps": False,
        "hovertemplate": "%{y} beats %{x}: %{z:.0%}<extra></extra>",
        "showscale": False,
    }
    x = _axis("", showgrid=False, **_ticks(rates.columns))
    y = _axis("", showgrid=False, autorange="reversed", **_ticks(rates.index))
    title = f"{ranked.question}: how often the row wins against the column"
    rows = [
        [policy, *_plain(row)]
        for policy, row in zip(rates.index, rates.round(3).to_numpy().tolist(), strict=True)
    ]
    twin: Table = {"columns": ["", *rates.columns], "rows": rows}
    return _chart(title, [trace], {"xaxis": x, "yaxis": y}, "A tie is half a win.", twin, "win-rates.csv")


def front(points: pd.DataFrame) -> Chart:
    """The human front: strengths on its first two questions; filled marks are on the front, joined in order.
    Policies that never met stand in plots of their own.
    """
    across, up = [column for column in points.columns if f"{column}_low" in points.columns][:2]
    groups = [part for _, part in points.groupby("group", sort=True)] or [points]
    traces = [
        trace | _axes(place) for place, part in enumerate(groups, 1) for trace in _front(part, across, up)
    ]
    layout = _stacked([4] * len(groups), f"{across} →", {"title": {"text": f"{up} →"}})
    apart = " Policies that never met stand in plots of their own." if len(groups) > 1 else ""
    return _chart(
        f"{up} against {across}, as people find them", traces, layout, f"Filled: on the front.{apart}"
    )


def _front(points: pd.DataFrame, across: str, up: str) -> list[dict[str, Any]]:
    best = points[points["front"]].sort_values(across)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": _plain(best[across]),
            "y": _plain(best[up]),
            "hoverinfo": "skip",
            "line": {"color": "var(--tw-accent)", "dash": "dot"},
        }
    ]
    for chosen, symbol in ((True, "circle"), (False, "circle-open")):
        part = points[points["front"] == chosen]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "x": _plain(part[across]),
                "y": _plain(part[up]),
                "text": _labels(map(_short, part["policy"])),
                "hovertext": _labels(part["policy"]),
                "textposition": _beside(part[across], points[across]),
                "textfont": {"color": "var(--tw-ink)"},
                "cliponaxis": False,
                "marker": {"size": 11, "color": "var(--tw-accent)", "symbol": symbol, "line": {"width": 1.5}},
                "error_x": _bars(part, across),
                "error_y": _bars(part, up),
                "hovertemplate": f"%{{hovertext}}<br>{across} %{{x:.2f}}<br>{up} %{{y:.2f}}<extra></extra>",
            }
        )
    return traces


def _beside(values: pd.Series, all_of_them: pd.Series) -> list[str]:
    """Where labels stand: off their whiskers, towards the middle of the plot."""
    middle = (all_of_them.min() + all_of_them.max()) / 2
    return ["top left" if value > middle else "top right" for value in values]


def over_time(counts: pd.DataFrame) -> Chart:
    """Votes an hour."""
    trace = {
        "type": "bar",
        "x": [time.isoformat() for time in counts["time"]],
        "y": _plain(counts["votes"]),
        "width": 0.9 * HOUR,
        "marker": {"color": "var(--tw-line)"},
    }
    x, y = (
        _axis("hour (UTC)", type="date", nticks=4, tickangle=0),
        _axis("votes", rangemode="tozero", minallowed=0, nticks=4, tickformat="d"),
    )
    if len(counts):
        end = counts["time"].iloc[-1]
        start = min(counts["time"].iloc[0], end - pd.Timedelta(hours=11))
        x["range"] = [(start - pd.Timedelta(hours=1)).isoformat(), (end + pd.Timedelta(hours=1)).isoformat()]
    times = [f"{time:%Y-%m-%d %H:00}" for time in counts["time"]]
    twin: Table = {
        "columns": ["hour (UTC)", "votes"],
        "rows": [list(row) for row in zip(times, _plain(counts["votes"]), strict=True)],
    }
    return _chart(
        f"{int(counts['votes'].sum())} votes over time",
        [trace],
        {"xaxis": x, "yaxis": y},
        "With repeats and traps.",
        twin,
        "votes-over-time.csv",
    )


def _bars(part: pd.DataFrame, question: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": _plain(part[f"{question}_high"] - part[question]),
        "arrayminus": _plain(part[question] - part[f"{question}_low"]),
        "thickness": 1,
        "color": "var(--tw-line)",
    }


def _labels(names: Iterable[str]) -> list[str]:
    """Names as plotly shows them: a tag in one is text, no link and no bold."""
    return [escape(name) for name in names]


def _ticks(names: Iterable[str]) -> dict[str, Any]:
    """An axis of names that leaves the plot its room: a long one is told by its ends there,
    and whole under the mouse.
    """
    listed = list(dict.fromkeys(names))
    return {"tickvals": _labels(listed), "ticktext": _labels(map(_short, listed))}


def _short(name: str) -> str:
    return name if len(name) <= MAX_LABEL else f"{name[: MAX_LABEL // 2]}…{name[-MAX_LABEL // 2 + 1 :]}"


def _plain(values: Iterable[Any]) -> list[Any]:
    column = pd.Series(list(values), dtype=object)
    plain: list[Any] = column.where(column.notna(), None).tolist()
    return plain


def _axis(title: str, **settings: Any) -> dict[str, Any]:
    return {"title": {"text": title}, **settings}


def _chart(
    title: str,
    data: list[dict[str, Any]],
    layout: dict[str, Any],
    note: str,
    table: Table | None = None,
    file: str = "",
) -> Chart:
    """`table`: the figure's twin, where no table of the page shows it; saved as `file`."""
    return {
        "title": title,
        "note": note,
        "figure": {"data": data, "layout": {"height": HEIGHT, "showlegend": False, **layout}},
        "table": table,
        "file": file,
    }
