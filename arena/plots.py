"""The arena's charts, as plain data for assets/web/plot.js; colours are the page's own."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

import pandas as pd

from arena.ranking import Ranking
from common.messages import Chart, Table

HOUR = 3_600_000  # milliseconds
HEIGHT = 300


def strengths(found: Ranking) -> Chart:
    """Each policy's strength with its 95% interval, best on top."""
    table = found.table.iloc[::-1]
    trace = {
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
        "marker": {"size": 11, "color": f"var(--tw-{found.question})"},
        "customdata": table[["win_rate", "comparisons"]].values.tolist(),
        "hovertemplate": "%{y}: %{x:.2f}<br>wins %{customdata[0]:.0%} of %{customdata[1]}<extra></extra>",
    }
    x, y = _axis("Bradley-Terry strength, log-odds"), _axis("", showgrid=False)
    return _chart(_verdict(found), [trace], x, y, "Bars are 95% intervals.")


def _verdict(found: Ranking) -> str:
    if len(found.table) < 2:
        return "No ranking yet"
    if found.warning:
        return f"{len(found.groups)} groups that never met: compare within each alone"
    first, second = found.table.iloc[0], found.table.iloc[1]
    if first["low"] > second["high"]:
        return f"{first['policy']} is found more {found.question} than any other"
    return f"Nobody is clearly more {found.question} yet: the intervals overlap"


def wins(found: Ranking) -> Chart:
    """Win rate of the row against the column; ties are half a win."""
    rates = found.wins
    trace = {
        "type": "heatmap",
        "z": [_plain(row) for row in rates.to_numpy(dtype=float)],
        "x": _labels(rates.columns),
        "y": _labels(rates.index),
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "var(--tw-low)"], [0.5, "var(--tw-raised)"], [1, "var(--tw-high)"]],
        "xgap": 1,
        "ygap": 1,
        "texttemplate": "%{z:.0%}",
        "hoverongaps": False,
        "hovertemplate": "%{y} beats %{x}: %{z:.0%}<extra></extra>",
        "showscale": False,
    }
    x, y = _axis("", showgrid=False), _axis("", showgrid=False, autorange="reversed")
    title = f"How often the row is found more {found.question} than the column"
    rows = [
        [policy, *_plain(row)]
        for policy, row in zip(rates.index, rates.round(3).to_numpy().tolist(), strict=True)
    ]
    twin: Table = {"columns": ["", *rates.columns], "rows": rows}
    return _chart(title, [trace], x, y, "A tie is half a win.", twin, "win-rates.csv")


def front(points: pd.DataFrame) -> Chart:
    """The human front: strengths on its first two questions; filled marks are on the front, joined in order."""
    across, up = [column for column in points.columns if f"{column}_low" in points.columns][:2]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": _plain(best[across]),
            "y": _plain(best[up]),
            "hoverinfo": "skip",
            "line": {"color": "var(--tw-accent)", "dash": "dot"},
        }
        for _, best in points[points["front"]].sort_values(across).groupby("group")
    ]
    for chosen, symbol in ((True, "circle"), (False, "circle-open")):
        part = points[points["front"] == chosen]
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "x": _plain(part[across]),
                "y": _plain(part[up]),
                "text": _labels(part["policy"]),
                "textposition": "top center",
                "textfont": {"color": "var(--tw-ink)"},
                "cliponaxis": False,
                "marker": {"size": 11, "color": "var(--tw-accent)", "symbol": symbol, "line": {"width": 1.5}},
                "error_x": _bars(part, across),
                "error_y": _bars(part, up),
                "hovertemplate": f"%{{text}}<br>{across} %{{x:.2f}}<br>{up} %{{y:.2f}}<extra></extra>",
            }
        )
    apart = points["group"].nunique() > 1
    note = "Filled: on the front." + (" Policies that never met are on fronts of their own." if apart else "")
    x, y = _axis(f"more {across} →"), _axis(f"more {up} →")
    return _chart(f"What people find {across} against what they find {up}", data, x, y, note)


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
        _axis("hour (UTC)", type="date", nticks=5),
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
        f"{int(counts['votes'].sum())} votes over time", [trace], x, y, "", twin, "votes-over-time.csv"
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


def _plain(values: Iterable[Any]) -> list[Any]:
    column = pd.Series(list(values), dtype=object)
    plain: list[Any] = column.where(column.notna(), None).tolist()
    return plain


def _axis(title: str, **settings: Any) -> dict[str, Any]:
    return {"title": {"text": title}, **settings}


def _chart(
    title: str,
    data: list[dict[str, Any]],
    x: dict[str, Any],
    y: dict[str, Any],
    note: str,
    table: Table | None = None,
    file: str = "",
) -> Chart:
    """`table`: the figure's twin, where no table of the page shows it; saved as `file`."""
    layout = {"height": HEIGHT, "showlegend": False, "xaxis": x, "yaxis": y}
    return {
        "title": title,
        "note": note,
        "figure": {"data": data, "layout": layout},
        "table": table,
        "file": file,
    }
