"""The human front: how helpful against how harmless people find each policy."""

from __future__ import annotations

import moocore
import numpy as np
import pandas as pd

from arena.ranking import ranking


def human_front(votes: pd.DataFrame) -> pd.DataFrame:
    """One row a policy judged on both questions.

    Columns: `policy`; `helpful`, `helpful_low`, `helpful_high`, the same for `harmless` (Bradley-Terry
    strengths in log-odds with 95% intervals; 0 is the mean policy of each question); `comparisons`, the fewer
    of the two counts;
    `front`, whether no other policy is at least as good on both and better on one.
    """
    sides = {question: ranking(votes, question).table for question in ("helpful", "harmless")}
    table = sides["helpful"].merge(sides["harmless"], on="policy", suffixes=("_helpful", "_harmless"))
    front = pd.DataFrame({"policy": table["policy"]})
    for question in sides:
        front[question] = table[f"strength_{question}"]
        front[f"{question}_low"] = table[f"low_{question}"]
        front[f"{question}_high"] = table[f"high_{question}"]
    front["comparisons"] = np.minimum(table["comparisons_helpful"], table["comparisons_harmless"])
    points = front[["helpful", "harmless"]].to_numpy(dtype=float).round(9)
    front["front"] = (
        moocore.is_nondominated(points, maximise=True, keep_weakly=True)
        if len(points)
        else np.zeros(0, dtype=bool)
    )
    return front
