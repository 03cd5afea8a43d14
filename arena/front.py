"""The human front: how people find each policy on one question against how they find it on others."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from arena.ranking import ranking
from arena.records import asked
from common.fronts import nondominated


def human_front(votes: pd.DataFrame, questions: Sequence[str] | None = None) -> pd.DataFrame:
    """One row a policy judged on all of the questions: those given, or the first two that the votes answer.

    Columns: `policy`; by each question's key its Bradley-Terry strength in log-odds (0 is the mean policy),
        and behind it `_low` and `_high`, a 95% interval; `comparisons`, the fewest of the counts; `group`:
        policies of one met on each question, if only by way of others, and only they compare; `front`,
        whether no other policy of the group is at least as good on all and better on one.
    """
    axes = list(questions or asked(votes)[:2])
    tables = [ranking(votes, question).table.set_index("policy") for question in axes]
    common = tables[0].index
    for table in tables[1:]:
        common = common[common.isin(table.index)]
    tables = [table.loc[common] for table in tables]
    front = pd.DataFrame({"policy": common})
    for question, table in zip(axes, tables, strict=True):
        for column, end in (("strength", ""), ("low", "_low"), ("high", "_high")):
            front[f"{question}{end}"] = table[column].to_numpy()
    front["comparisons"] = np.minimum.reduce([table["comparisons"].to_numpy() for table in tables])
    groups = pd.DataFrame([table["group"].to_numpy() for table in tables]).T
    front["group"] = groups.groupby([*groups.columns]).ngroup() + 1
    front["front"] = np.zeros(len(front), dtype=bool)
    for _, part in front.groupby("group"):
        points = part[axes].to_numpy(dtype=float).round(9)
        front.loc[part.index, "front"] = nondominated(points)
    return front
