"""The arena's charts, as plotly figures that read on light and dark paper."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from arena.ranking import Ranking

COLOUR = {"helpful": "#E69F00", "harmless": "#009E73"}
HOUR = 3_600_000  # milliseconds
BLUE, GREY = "#0072B2", "#808080"


def strengths(found: Ranking) -> go.Figure:
    """Each policy's strength with its 95% interval, best on top."""
    table = found.table.iloc[::-1]
    figure = go.Figure(
        go.Scatter(
            x=table["strength"],
            y=table["policy"],
            error_x={
                "array": table["high"] - table["strength"],
                "arrayminus": table["strength"] - table["low"],
                "thickness": 1.5,
            },
            mode="markers",
            marker={"size": 11, "color": COLOUR[found.question]},
            customdata=table[["win_rate", "comparisons"]],
            hovertemplate="%{y}: %{x:.2f}<br>wins %{customdata[0]:.0%} of %{customdata[1]}<extra></extra>",
        )
    )
    return _dress(figure, _verdict(found), "Bradley-Terry strength (log-odds), 95% interval", "")


def _verdict(found: Ranking) -> str:
    if len(found.table) < 2:
        return "No ranking yet"
    first, second = found.table.iloc[0], found.table.iloc[1]
    if first["low"] > second["high"]:
        return f"{first['policy']} is found more {found.question} than any other ({found.votes} votes)"
    return f"Nobody is clearly more {found.question} yet: the intervals overlap ({found.votes} votes)"


def wins(found: Ranking) -> go.Figure:
    """Win rate of the row against the column; ties are half a win."""
    rates = found.wins
    figure = go.Figure(
        go.Heatmap(
            z=rates.to_numpy(dtype=float),
            x=list(rates.columns),
            y=list(rates.index),
            zmin=0,
            zmax=1,
            colorscale=[[0, "#D55E00"], [0.5, "#F7F7F7"], [1, "#0072B2"]],
            texttemplate="%{z:.0%}",
            hoverongaps=False,
            hovertemplate="%{y} beats %{x}: %{z:.0%}<extra></extra>",
            colorbar={"tickformat": ".0%", "thickness": 10},
        )
    )
    _dress(figure, f"How often the row is found more {found.question} than the column", "", "")
    figure.update_xaxes(showgrid=False)
    return figure.update_yaxes(autorange="reversed", showgrid=False)


def front(points: pd.DataFrame) -> go.Figure:
    """The human front: strengths on both questions; filled marks are on the front, joined in order."""
    figure = go.Figure()
    best = points[points["front"]].sort_values("harmless")
    figure.add_scatter(
        x=best["harmless"],
        y=best["helpful"],
        mode="lines",
        hoverinfo="skip",
        line={"color": BLUE, "dash": "dot"},
    )
    for chosen, symbol in ((True, "circle"), (False, "circle-open")):
        part = points[points["front"] == chosen]
        figure.add_scatter(
            x=part["harmless"],
            y=part["helpful"],
            mode="markers+text",
            text=part["policy"],
            textposition="top center",
            cliponaxis=False,
            marker={"size": 11, "color": BLUE, "symbol": symbol, "line": {"width": 1.5}},
            error_x=_bars(part, "harmless"),
            error_y=_bars(part, "helpful"),
            hovertemplate="%{text}<br>helpful %{y:.2f}<br>harmless %{x:.2f}<extra></extra>",
        )
    _dress(
        figure,
        "What people find helpful against what they find harmless",
        "more harmless →",
        "more helpful →",
    )
    figure.update_xaxes(title_font_color=COLOUR["harmless"])
    return figure.update_yaxes(title_font_color=COLOUR["helpful"])


def over_time(counts: pd.DataFrame) -> go.Figure:
    """Votes an hour."""
    figure = go.Figure(go.Bar(x=counts["time"], y=counts["votes"], width=0.9 * HOUR, marker={"color": GREY}))
    _dress(figure, f"{int(counts['votes'].sum())} votes over time", "hour (UTC)", "votes")
    if len(counts):
        end = counts["time"].iloc[-1]
        start = min(counts["time"].iloc[0], end - pd.Timedelta(hours=11))
        figure.update_xaxes(range=[start - pd.Timedelta(hours=1), end + pd.Timedelta(hours=1)])
    return figure


def _bars(part: pd.DataFrame, question: str) -> dict[str, object]:
    return {
        "array": part[f"{question}_high"] - part[question],
        "arrayminus": part[question] - part[f"{question}_low"],
        "thickness": 1,
        "color": "rgba(0,114,178,.45)",
    }


def _dress(figure: go.Figure, title: str, x: str, y: str) -> go.Figure:
    clear, line = "rgba(0,0,0,0)", "rgba(128,128,128,.25)"
    figure.update_layout(
        title={"text": title, "font": {"size": 15}, "x": 0.02, "xanchor": "left"},
        paper_bgcolor=clear,
        plot_bgcolor=clear,
        font={"color": GREY, "size": 13},
        showlegend=False,
        height=360,
        margin={"l": 10, "r": 20, "t": 50, "b": 40},
    )
    figure.update_xaxes(title=x, gridcolor=line, zerolinecolor=line, automargin=True)
    return figure.update_yaxes(title=y, gridcolor=line, zerolinecolor=line, automargin=True)
