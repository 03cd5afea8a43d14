"""How far annotators agree with each other, with themselves and with known answers."""

from typing import Any

import numpy as np
import pandas as pd

from arena.records import asked, blind

SWAPPED = {"a": "b", "b": "a"}


def alpha(answers: pd.DataFrame) -> float | None:
    """Krippendorff's alpha, nominal, of a table annotator x unit with NaN where there is no answer.

    1: full agreement, 0: what chance gives. None where no unit has two answers or all answers are one.
    Krippendorff (2011), Computing Krippendorff's alpha-reliability, section C: of the answers that a unit
    pairs, observed disagreement over the one expected of their values in any order.
    """
    codes, values = pd.factorize(answers.to_numpy(dtype=object).ravel())
    indicator = np.eye(len(values))[codes] * (codes >= 0)[:, None]  # [annotator and unit, value]
    counts = indicator.reshape(*answers.shape, len(values)).sum(axis=0)  # [unit, value]
    size = counts.sum(axis=1)
    counts, size = counts[size >= 2], size[size >= 2]
    totals, pairable = counts.sum(axis=0), counts.sum()
    expected = pairable**2 - (totals**2).sum()
    if not expected:
        return None
    observed = ((size**2 - (counts**2).sum(axis=1)) / (size - 1)).sum()
    return float(1 - (pairable - 1) * observed / expected)


def agreement(votes: pd.DataFrame, question: str) -> dict[str, Any]:
    """Alpha between annotators over the blind, unskipped votes on plain battles, and its sample sizes.

    `battles` counts those that two annotators or more have judged, `annotators` those who judged one of them.
    """
    plain = blind(votes[votes[question].notna() & (votes[question] != "skip")])
    table = plain.pivot(index="annotator", columns="battle", values=question)
    shared = table.loc[:, table.notna().sum(axis=0) >= 2]
    people = int(shared.notna().any(axis=1).sum())
    return {"alpha": alpha(table), "annotators": people, "battles": shared.shape[1], "votes": len(plain)}


def by_question(votes: pd.DataFrame) -> pd.DataFrame:
    """A row a question: its key, and what `agreement` tells of it."""
    return pd.DataFrame([{"question": key, **agreement(votes, key)} for key in asked(votes)])


def annotators(votes: pd.DataFrame) -> pd.DataFrame:
    """One row an annotator: votes, median seconds, consistency on swapped repeats, traps passed. Revised votes,
    which are not blind, count among the votes alone.

    By the key of each question: share of repeats answered as before, sides swapped, of those that were
    skipped neither time; `repeats` how many there were. `traps_passed`: share of the `traps` not skipped
    whose known answer to the first question was found. NaN where there was none.
    """
    counted = votes[~votes["revised"].astype(bool)]
    repeats = counted[counted["kind"] == "repeat"].merge(
        blind(votes),
        left_on=["annotator", "of"],
        right_on=["annotator", "battle"],
        suffixes=("", "_first"),
    )
    questions = asked(votes)
    first = counted[questions].bfill(axis=1).iloc[:, 0]  # of the questions that a vote's set asks
    rows = []
    for name, all_votes in votes.groupby("annotator"):
        own = counted[counted["annotator"] == name]
        again = repeats[repeats["annotator"] == name]
        traps = own[(own["kind"] == "trap") & (first[own.index] != "skip")]
        row: dict[str, Any] = {
            "annotator": name,
            "votes": len(all_votes),
            "median_seconds": own["seconds"].median(),
            "repeats": len(again),
        }
        row |= {question: _consistency(again[question], again[f"{question}_first"]) for question in questions}
        row["traps"] = len(traps)
        row["traps_passed"] = (first[traps.index] == traps["expected"]).mean()
        rows.append(row)
    columns = ["annotator", "votes", "median_seconds", "repeats", *questions, "traps", "traps_passed"]
    return pd.DataFrame(rows, columns=columns).sort_values(
        ["votes", "annotator"], ascending=[False, True], ignore_index=True
    )


def _consistency(again: pd.Series, first: pd.Series) -> float:
    """Share of answers to repeats that are those of the first time, sides swapped;
    skipped ones count nowhere.
    """
    both = again.notna() & first.notna() & (again != "skip") & (first != "skip")
    return float((again[both].replace(SWAPPED) == first[both]).mean())


def over_time(votes: pd.DataFrame) -> pd.DataFrame:
    """`time` (UTC hour) and `votes` given in it, from the first hour with a vote to the last."""
    if votes.empty:
        return pd.DataFrame({"time": pd.Series(dtype="datetime64[ns, UTC]"), "votes": pd.Series(dtype=int)})
    hours = pd.to_datetime(votes["voted_at"], utc=True).dt.floor("h").value_counts().sort_index()
    full = pd.date_range(hours.index[0], hours.index[-1], freq="h")
    return hours.reindex(full, fill_value=0).rename_axis("time").reset_index(name="votes")
