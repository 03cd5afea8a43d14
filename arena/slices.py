"""Who wins on which prompts: win rates by the prompts' tags."""

import pandas as pd

from arena.records import blind

SCORES = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}
"""What an answer gives to A; B has the rest."""


def slices(votes: pd.DataFrame, question: str) -> pd.DataFrame:
    """A row a tag: `tag`, `votes`, and by each policy's name its win rate there, a tie being half a win; NaN
    where it was not compared. Blind, unskipped votes on plain battles count.
    """
    plain = blind(votes[votes["tag"].notna()])
    plain = plain.assign(score=plain[question].map(SCORES)).dropna(subset="score")
    sides = pd.concat(
        [
            pd.DataFrame({"tag": plain["tag"], "policy": plain["policy_a"], "score": plain["score"]}),
            pd.DataFrame({"tag": plain["tag"], "policy": plain["policy_b"], "score": 1 - plain["score"]}),
        ]
    )
    rates = sides.pivot_table("score", "tag", "policy", aggfunc="mean")
    counts = plain["tag"].value_counts().rename("votes")
    return (
        rates.join(counts)
        .reset_index()[["tag", "votes", *rates.columns]]
        .sort_values("tag", ignore_index=True)
    )
