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
    of the two counts; `group`: policies of one met on both questions, if only by way of others, and only they
    compare; `front`, whether no other policy of the group is at least as good on both and better on one.
    """
    sides = {question: ranking(votes, question).table for question in ("helpful", "harmless")}
    table = sides["helpful"].merge(sides["harmless"], on="policy", suffixes=("_helpful", "_harmless"))
    front = pd.DataFrame({"policy": table["policy"]})
    for question in sides:
        front[question] = table[f"strength_{question}"]
        front[f"{question}_low"] = table[f"low_{question}"]
        front[f"{question}_high"] = table[f"high_{question}"]
    front["comparisons"] = np.minimum(table["comparisons_helpful"], table["comparisons_harmless"])
    front["group"] = table.groupby(["group_helpful", "group_harmless"]).ngroup() + 1
    front["front"] = np.zeros(len(front), dtype=bool)
    for _, part in front.groupby("group"):
        front.loc[part.index, "front"] = moocore.is_nondominated(
            part[[*sides]].to_numpy(dtype=float).round(9), maximise=True, keep_weakly=True
        )
    return front
