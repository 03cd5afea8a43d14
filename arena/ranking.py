"""Who is preferred, on each question: strengths with intervals, win rates, position bias."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from arena import davidson
from arena.errors import ArenaError
from arena.records import asked, blind
from common import digests
from common.statistics import middle, resampled

BOOTSTRAP = 1000
SEED = 20_240_501  # of the bootstrap, so that the same votes give the same intervals


@dataclass(frozen=True)
class Ranking:
    """One question's ranking.

    table: one row a policy, best first: `policy`, `strength` (log-odds, centred on 0), `low` and `high` (95%
        bootstrap interval over battles), `win_rate` (wins + ties/2 over all its comparisons), `wins`, `ties`,
        `losses`, `comparisons`, `group`. Strengths compare policies of one group alone: those that met, if
        only by way of others. Group 1 has most comparisons; each is ranked as if there were no other.
    wins: win-rate matrix [policy, policy], rows against columns; NaN where two never met.
    position: `left`, `right` (decided votes for A and for B), `share` of A, its 95% interval, `p` of an even
        split.
    nu: Davidson's readiness to call a tie, in group 1. votes, ties, both_bad, skipped, revised: counts of
        votes on plain battles; skipped and revised ones are not ranked.
    """

    question: str
    table: pd.DataFrame
    wins: pd.DataFrame
    position: dict[str, float]
    nu: float
    votes: int
    ties: int
    both_bad: int
    skipped: int
    revised: int

    @property
    def groups(self) -> list[list[str]]:
        """The policies of each group, best first."""
        return [part["policy"].tolist() for _, part in self.table.groupby("group", sort=True)]

    @property
    def warning(self) -> str:
        """What to know before the policies are compared with each other; nothing where all met."""
        if len(self.groups) < 2:
            return ""
        listed = "; ".join(", ".join(group) for group in self.groups)
        return (
            f"These policies are ranked in {len(self.groups)} separate groups, for those of one never met those of "
            f"another, not even by way of others: {listed}."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: the table as records, the matrix as maps with null for pairs that never met."""
        wins = {
            row: {column: None if np.isnan(value) else float(value) for column, value in rates.items()}
            for row, rates in self.wins.iterrows()
        }
        counts = {name: getattr(self, name) for name in ("votes", "ties", "both_bad", "skipped", "revised")}
        return {
            "question": self.question,
            "table": self.table.to_dict("records"),
            "wins": wins,
            "position": self.position,
            "nu": self.nu,
            "groups": self.groups,
            "warning": self.warning,
            **counts,
        }


def ranking(votes: pd.DataFrame, question: str, *, replicates: int = BOOTSTRAP) -> Ranking:
    """Ranks the policies by the votes of `records.votes_frame` on one of its questions.

    Ties and "both bad" count as ties (Davidson's model). Only blind votes on plain battles count: a revised
    vote and a repeat follow the reveal of their own names, and traps and skips compare nothing. Intervals:
    percentiles over `replicates` resamplings of whole battles, for votes on one battle depend on each other.
    The last results are kept: equal votes give the same object, to be left as it is.
    """
    if question not in (known := asked(votes)):
        raise ArenaError(f"The question is {question!r:.80}: give one of {', '.join(known)}.")
    return _ranking(
        _Votes(votes[["battle", "kind", "policy_a", "policy_b", "revised", question]]), question, replicates
    )


class _Votes:
    """Votes as the key of a cache: equal where their content is."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self.digest = digests.short(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Votes) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@lru_cache(maxsize=16)
def _ranking(votes: _Votes, question: str, replicates: int) -> Ranking:
    plain = votes.frame[votes.frame["kind"] == "plain"]
    plain = plain[plain[question].notna()]
    unseen = blind(plain)
    counted = unseen[unseen[question] != "skip"]
    fits = [_fit(part, question, replicates) for part in _connected(counted)]
    table = pd.concat(
        [part.assign(group=number) for number, (part, _, _) in enumerate(fits, 1)], ignore_index=True
    )
    wins = pd.concat([part for _, part, _ in fits])
    order = table["policy"].tolist()
    return Ranking(
        question=question,
        table=table,
        wins=wins.reindex(index=order, columns=order),
        position=_position(counted[question]),
        nu=fits[0][2],
        votes=len(counted),
        ties=int((counted[question] == "tie").sum()),
        both_bad=int((counted[question] == "both_bad").sum()),
        skipped=len(unseen) - len(counted),
        revised=len(plain) - len(unseen),
    )


def _connected(votes: pd.DataFrame) -> list[pd.DataFrame]:
    """The votes of each group of policies that met, if only by way of others;
    most votes first, one part if there are none.
    """
    root = {policy: policy for policy in [*votes["policy_a"], *votes["policy_b"]]}

    def find(policy: str) -> str:
        while root[policy] != policy:
            policy = root[policy]
        return policy

    for a, b in zip(votes["policy_a"], votes["policy_b"], strict=True):
        first, second = sorted((find(a), find(b)))
        root[second] = first
    parts = [part for _, part in votes.groupby(votes["policy_a"].map(find))]
    return sorted(parts, key=len, reverse=True) or [votes]


def _fit(votes: pd.DataFrame, question: str, replicates: int) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """Table, win rates and readiness to call a tie of policies that met."""
    policies = sorted(set(votes["policy_a"]) | set(votes["policy_b"]))
    counts, first, second = _counts(votes, question, policies)
    totals = counts.sum(axis=0)
    best = davidson.fit(first, second, totals, len(policies))
    low, high = _intervals(counts, first, second, len(policies), replicates)
    table, wins = _tables(policies, totals, first, second)
    table.insert(1, "strength", best.strengths)
    table.insert(2, "low", np.minimum(low, best.strengths))
    table.insert(3, "high", np.maximum(high, best.strengths))
    table = table.sort_values(["strength", "policy"], ascending=[False, True], ignore_index=True)
    return table, wins, float(np.exp(best.log_nu))


def strengths(votes: pd.DataFrame, question: str) -> dict[str, float]:
    """Policy -> strength alone, without intervals."""
    table = ranking(votes, question, replicates=0).table
    return dict(zip(table["policy"], table["strength"], strict=True))


def _counts(
    votes: pd.DataFrame, question: str, policies: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes [battle, pair, 3] (first won, second won, tie), and the policy numbers of the pairs."""
    number = {policy: index for index, policy in enumerate(policies)}
    a, b = votes["policy_a"].map(number), votes["policy_b"].map(number)
    first, second = np.minimum(a, b).astype(int), np.maximum(a, b).astype(int)
    pairs = sorted(set(zip(first, second, strict=True)))
    place = {pair: index for index, pair in enumerate(pairs)}
    battles = pd.factorize(votes["battle"])[0]
    counts = np.zeros((int(battles.max(initial=-1)) + 1, len(pairs), 3))
    outcome = np.where(
        votes[question] == "a",
        np.where(a < b, 0, 1),
        np.where(votes[question] == "b", np.where(a < b, 1, 0), 2),
    )
    places = np.array([place[pair] for pair in zip(first, second, strict=True)], dtype=int)
    np.add.at(counts, (battles, places, outcome), 1.0)
    ends = np.array(pairs, dtype=int).reshape(-1, 2)
    return counts, ends[:, 0], ends[:, 1]


def _intervals(
    counts: np.ndarray, first: np.ndarray, second: np.ndarray, items: int, replicates: int
) -> tuple[np.ndarray, np.ndarray]:
    """The ends [K] of the middle 95 % of the strengths over resampled battles."""
    if not replicates or not len(counts):
        return np.full(items, np.inf), np.full(items, -np.inf)
    draws = resampled(len(counts), np.random.default_rng(SEED), replicates)
    low, high = middle(davidson.fit(first, second, np.tensordot(draws, counts, axes=1), items).strengths)
    return low, high


def _tables(
    policies: list[str], totals: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame]:
    size = len(policies)
    won, tied = np.zeros((size, size)), np.zeros((size, size))
    won[first, second], won[second, first] = totals[:, 0], totals[:, 1]
    tied[first, second] = tied[second, first] = totals[:, 2]
    met = won + won.T + tied
    with np.errstate(invalid="ignore"):
        rates = (won + tied / 2) / met
        overall = (won + tied / 2).sum(axis=1) / met.sum(axis=1)
    table = pd.DataFrame(
        {
            "policy": pd.Series(policies, dtype=object),
            "win_rate": overall,
            "wins": won.sum(axis=1).astype(int),
            "ties": tied.sum(axis=1).astype(int),
            "losses": won.sum(axis=0).astype(int),
            "comparisons": met.sum(axis=1).astype(int),
        }
    )
    return table, pd.DataFrame(rates, index=policies, columns=policies)


def _position(answers: pd.Series) -> dict[str, float]:
    from scipy.stats import binomtest  # imported late: it takes half a second

    left, right = int((answers == "a").sum()), int((answers == "b").sum())
    if not left + right:
        return {"left": 0, "right": 0, "share": 0.5, "low": 0.0, "high": 1.0, "p": 1.0}
    test = binomtest(left, left + right)
    interval = test.proportion_ci(method="wilson")
    return {
        "left": left,
        "right": right,
        "share": left / (left + right),
        "low": float(interval.low),
        "high": float(interval.high),
        "p": float(test.pvalue),
    }
