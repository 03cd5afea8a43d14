"""Rankings against a published example and by their properties; agreement; the human front."""

import re

import numpy as np
import pandas as pd
import pytest

from arena import ArenaError, agreement, annotators, davidson, human_front, over_time, plots, ranking
from arena.agreement import alpha
from arena.records import COLUMNS
from ui.document import WEB

# Davidson (1970), JASA 65: six brands of chocolate pudding. i, j, i preferred, j preferred, no preference.
PUDDING = np.array(
    [
        [1, 2, 19, 22, 16], [1, 3, 16, 19, 12], [2, 3, 19, 19, 10], [1, 4, 18, 23, 13], [2, 4, 23, 19, 9],
        [3, 4, 19, 20, 15], [1, 5, 13, 19, 18], [2, 5, 16, 20, 12], [3, 5, 16, 15, 17], [4, 5, 17, 14, 16],
        [1, 6, 18, 21, 12], [2, 6, 22, 20, 12], [3, 6, 13, 18, 10], [4, 6, 14, 19, 18], [5, 6, 11, 21, 12],
    ]
)  # fmt: skip
# The estimates published there, as the R package PlackettLuce reproduces them in its vignette.
WORTH = [0.1388005, 0.1729985, 0.1617420, 0.1653930, 0.1586805, 0.2023855]
NU = 0.7468147


def votes_of(rows, **columns):
    """A votes table from (battle, policy_a, policy_b, annotator, helpful, harmless)."""
    frame = pd.DataFrame(rows, columns=["battle", "policy_a", "policy_b", "annotator", "helpful", "harmless"])
    frame = frame.assign(
        kind="plain", of=None, expected=None, prompt="p", comment="", seconds=1.0, revised=False, corrected=False, tag=None,
        voted_at=pd.Timestamp("2026-01-31T12:00Z"),
    )  # fmt: skip
    return frame.assign(**columns)[[*COLUMNS, "helpful", "harmless"]]


def simulated(strengths, battles=400, seed=0, left=0.0):
    """Votes drawn from Bradley-Terry; `left` is a preference for side A in log-odds."""
    chance = np.random.default_rng(seed)
    names = sorted(strengths)
    rows = []
    for number in range(battles):
        a, b = chance.choice(names, 2, replace=False)
        answer = [
            "a" if chance.random() < 1 / (1 + np.exp(strengths[b] - strengths[a] - left)) else "b"
            for _ in "xy"
        ]
        rows.append((str(number), a, b, f"person {number % 5}", *answer))
    return votes_of(rows)


def test_the_published_example_of_davidson_is_reproduced():
    found = davidson.fit(PUDDING[:, 0] - 1, PUDDING[:, 1] - 1, PUDDING[:, 2:], 6, prior=np.inf)
    assert found.worth() == pytest.approx(WORTH, abs=2.5e-5)  # they stopped at seven steps
    assert np.exp(found.log_nu) == pytest.approx(NU, abs=2.5e-5)


def test_the_published_example_is_reproduced_from_votes():
    rows = [
        (f"{i} {j} {number}", str(i), str(j), "x", answer, answer)
        for i, j, *counts in PUDDING
        for number, answer in enumerate(np.repeat(["a", "b", "tie"], counts))
    ]
    table = ranking(votes_of(rows), "helpful").table.set_index("policy")
    expected = np.log(WORTH) - np.log(WORTH).mean()
    assert table.loc[list("123456"), "strength"].to_numpy() == pytest.approx(expected, abs=5e-3)
    assert table.index[0] == "6"
    assert (table["low"] < table["strength"]).all() and (table["strength"] < table["high"]).all()


def test_the_gradient_is_zero_at_the_estimate():
    """At the maximum the expected wins + ties/2 of each item equal the observed ones, and so do all ties."""
    found = davidson.fit(PUDDING[:, 0] - 1, PUDDING[:, 1] - 1, PUDDING[:, 2:], 6, prior=np.inf)
    p, nu = found.worth(), float(np.exp(found.log_nu))
    i, j, n = PUDDING[:, 0] - 1, PUDDING[:, 1] - 1, PUDDING[:, 2:].sum(axis=1)
    tie = nu * np.sqrt(p[i] * p[j])
    whole = p[i] + p[j] + tie
    assert (n * tie / whole).sum() == pytest.approx(PUDDING[:, 4].sum(), abs=1e-6)
    for item in range(6):
        expected = (n * (p[i] + tie / 2) / whole)[i == item].sum() + (n * (p[j] + tie / 2) / whole)[
            j == item
        ].sum()
        observed = (PUDDING[:, 2] + PUDDING[:, 4] / 2)[i == item].sum()
        observed += (PUDDING[:, 3] + PUDDING[:, 4] / 2)[j == item].sum()
        assert expected == pytest.approx(observed, abs=1e-6)


def test_many_data_sets_at_once_give_what_each_gives_alone():
    chance = np.random.default_rng(3)
    counts = chance.poisson(PUDDING[:, 2:], size=(5, 15, 3))
    together = davidson.fit(PUDDING[:, 0] - 1, PUDDING[:, 1] - 1, counts, 6).strengths
    alone = [davidson.fit(PUDDING[:, 0] - 1, PUDDING[:, 1] - 1, one, 6).strengths for one in counts]
    assert together == pytest.approx(np.array(alone), abs=1e-9)


def test_somebody_who_wins_all_has_a_finite_strength_and_no_maximum_likelihood():
    found = davidson.fit([0], [1], [[20, 0, 0]], 2)
    assert 0 < found.strengths[0] < 5
    with pytest.raises((ValueError, np.linalg.LinAlgError)):
        davidson.fit([0], [1], [[20, 0, 0]], 2, prior=np.inf)


def test_strengths_are_found_again():
    truth = {"x": 1.0, "y": 0.0, "z": -1.0}
    table = ranking(simulated(truth, 3000), "helpful").table.set_index("policy")
    for name, strength in truth.items():
        assert table.loc[name, "low"] <= strength <= table.loc[name, "high"]
    assert list(table.index) == ["x", "y", "z"]


def test_swapping_the_sides_of_every_vote_changes_nothing_but_the_position():
    votes = simulated({"x": 1.0, "y": 0.0, "z": -1.0}, left=0.7)
    swapped = votes.rename(columns={"policy_a": "policy_b", "policy_b": "policy_a"}).replace(
        {"helpful": {"a": "b", "b": "a"}}
    )
    one, two = ranking(votes, "helpful"), ranking(swapped, "helpful")
    pd.testing.assert_frame_equal(one.table, two.table, rtol=1e-9)
    pd.testing.assert_frame_equal(one.wins, two.wins)
    assert one.position["share"] == pytest.approx(1 - two.position["share"])
    assert one.position["share"] > 0.55 and one.position["p"] < 0.05


def test_the_win_matrix_counts_ties_half_and_adds_up_to_one():
    votes = votes_of(
        [
            ("1", "x", "y", "p", "a", "tie"),
            ("2", "y", "x", "p", "tie", "a"),
            ("3", "y", "x", "p", "both_bad", "b"),
        ]
    )
    found = ranking(votes, "helpful")
    assert found.wins.loc["x", "y"] == pytest.approx(2 / 3)
    assert found.wins.loc["y", "x"] == pytest.approx(1 / 3)
    assert np.isnan(found.wins.loc["x", "x"])
    row = found.table.set_index("policy").loc["x"]
    assert (row["wins"], row["ties"], row["losses"], row["win_rate"]) == (1, 2, 0, pytest.approx(2 / 3))
    assert (found.votes, found.ties, found.both_bad) == (3, 1, 1)


def test_skips_revised_votes_and_traps_are_not_ranked_but_counted():
    rows = [("1", "x", "y", "p", "a", "a"), ("2", "x", "y", "q", "skip", "b"), ("3", "x", "y", "r", "b", "b"),
            ("4", "x", "trap", "p", "b", "b")]  # fmt: skip
    votes = votes_of(rows, revised=[False, False, True, False], kind=["plain", "plain", "plain", "trap"])
    found = ranking(votes, "helpful")
    assert (found.votes, found.skipped, found.revised) == (1, 1, 1)
    assert found.table["policy"].tolist() == ["x", "y"]


def test_repeats_measure_consistency_alone_for_their_names_were_told():
    rows = [("1", "x", "y", "p", "a", "a"), ("1r", "y", "x", "p", "b", "b"), ("1r", "y", "x", "q", "b", "b")]
    votes = votes_of(rows, kind=["plain", "repeat", "repeat"], of=[None, "1", "1"])
    found = ranking(votes, "helpful")
    assert found.to_json() == ranking(votes[:1], "helpful").to_json()
    assert (found.votes, found.position["left"], found.position["right"]) == (1, 1, 0)


def test_more_votes_on_the_same_battles_do_not_shrink_the_interval():
    votes = simulated({"x": 0.5, "y": 0.0}, 60)
    copies = pd.concat([votes.assign(annotator=f"copy {number}") for number in range(9)])
    width = [
        (ranking(part, "helpful").table["high"] - ranking(part, "helpful").table["low"]).max()
        for part in (votes, copies)
    ]
    assert width[1] > 0.9 * width[0]


def test_an_empty_arena_has_an_empty_ranking():
    votes = votes_of([])
    assert ranking(votes, "helpful").to_json()["table"] == []
    assert human_front(votes).empty and annotators(votes).empty and over_time(votes).empty
    assert agreement(votes, "helpful") == {"alpha": None, "annotators": 0, "battles": 0, "votes": 0}


def test_votes_that_were_ranked_are_not_ranked_again(monkeypatch):
    votes = simulated({"x": 1.0, "y": 0.0}, 50, seed=77)
    ranking(votes, "helpful")
    fits = []
    monkeypatch.setattr(davidson, "fit", lambda *data, fit=davidson.fit: fits.append(1) or fit(*data))
    ranking(votes.copy(), "helpful")
    assert not fits
    votes.loc[0, "helpful"] = "tie"
    assert ranking(votes, "helpful").ties == 1 and len(fits) == 2


def test_an_unknown_question_is_refused():
    with pytest.raises(ArenaError, match="The question is 'pretty': give one of helpful, harmless"):
        ranking(votes_of([]), "pretty")


@pytest.mark.parametrize(
    ("rows", "published"),
    [
        (["0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0"], 0.095),
        (["a a b b d c c c e d d a", "b a b b b c c c e d d d"], 0.692),
        (["1 2 3 3 2 1 4 1 2 * * *", "1 2 3 3 2 2 4 1 2 5 * 3", "* 3 3 3 2 3 4 2 2 5 1 *", "1 2 3 3 2 4 4 1 2 5 1 *"], 0.743),
    ],
)  # fmt: skip
def test_alpha_is_the_published_one(rows, published):
    """Krippendorff (2011), Computing Krippendorff's alpha-reliability, sections A (binary data), B (nominal data, two
    observers) and C (any number of observers, missing data).
    """
    table = pd.DataFrame([[None if cell == "*" else cell for cell in row.split()] for row in rows])
    assert alpha(table) == pytest.approx(published, abs=5e-4)


def test_alpha_does_not_depend_on_the_order_of_annotators_or_units_nor_on_lone_answers():
    chance = np.random.default_rng(5)
    table = pd.DataFrame(chance.choice(["a", "b", "tie", None], size=(6, 40)))
    value = alpha(table)
    assert alpha(
        table.sample(frac=1, random_state=1).sample(frac=1, axis=1, random_state=2)
    ) == pytest.approx(value)
    lone = pd.DataFrame({f"lone {number}": ["skip"] + [None] * 5 for number in range(9)})
    assert alpha(pd.concat([table, lone], axis=1)) == pytest.approx(value)
    assert alpha(pd.DataFrame([["a", "b", None]])) is None and alpha(pd.DataFrame([["a"], ["a"]])) is None


def test_policies_that_never_met_are_ranked_apart_each_group_as_if_alone():
    first = simulated({"x": 1.0, "y": 0.0, "z": -0.5}, 60, seed=2)
    second = simulated({"v": 1.0, "w": 0.0}, 90, seed=3).assign(
        battle=lambda votes: "other " + votes["battle"]
    )
    both = ranking(pd.concat([first, second], ignore_index=True), "helpful")
    assert both.groups == [ranking(second, "helpful").groups[0], ranking(first, "helpful").groups[0]]
    for number, alone in ((1, second), (2, first)):
        part = both.table[both.table["group"] == number].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            part.drop(columns="group"), ranking(alone, "helpful").table.drop(columns="group")
        )
    assert "2 separate groups" in both.warning and "v, w; x, " in both.warning
    assert both.wins.loc["x", "v":"w"].isna().all() and both.votes == 150
    human = human_front(pd.concat([first, second], ignore_index=True)).groupby("group")["front"]
    assert human.any().tolist() == [True, True]


@pytest.mark.parametrize("groups", [1, 2, 5])
def test_no_axis_holds_policies_of_two_groups(groups):
    votes = [
        simulated({f"{number} x": 1.0, f"{number} y": 0.0}, 30).assign(
            battle=lambda part, number=number: f"{number} " + part["battle"]
        )
        for number in range(groups)
    ]
    all_votes = pd.concat(votes, ignore_index=True)
    for chart, names in (
        (plots.strengths(ranking(all_votes, "helpful")), "y"),
        (plots.front(human_front(all_votes)), "text"),
    ):
        figure = chart["figure"]
        shown = {}
        for trace in figure["data"]:
            shown.setdefault((trace["xaxis"], trace["yaxis"]), set()).update(
                name[0] for name in trace.get(names, []) if isinstance(name, str)
            )
        assert sorted(shown.values(), key=min) == [{str(number)} for number in range(groups)]
        domains = sorted(
            axis["domain"] for name, axis in figure["layout"].items() if name.startswith("yaxis")
        )
        assert all(low < high for low, high in domains)
        assert all(one[1] < other[0] for one, other in zip(domains, domains[1:], strict=False))


def test_policies_that_met_by_way_of_others_are_one_group():
    votes = votes_of(
        [("1", "x", "y", "p", "a", "a"), ("2", "z", "w", "p", "a", "a"), ("3", "y", "z", "p", "b", "skip")]
    )
    assert (len(ranking(votes, "helpful").groups), ranking(votes, "helpful").warning) == (1, "")
    assert ranking(votes, "harmless").groups == [["z", "w"], ["x", "y"]]


def test_agreement_counts_blind_plain_votes_and_is_one_when_all_agree():
    rows = [(battle, "x", "y", person, answer, "tie") for battle, answer in zip("1234", "abab", strict=True)
            for person in "pqr"]  # fmt: skip
    assert agreement(votes_of(rows), "helpful") == {"alpha": 1.0, "annotators": 3, "battles": 4, "votes": 12}
    assert agreement(votes_of(rows), "harmless")["alpha"] is None
    assert agreement(votes_of(rows, revised=True), "helpful")["votes"] == 0


def test_consistency_swaps_the_sides_and_traps_are_marked():
    rows = [
        ("1", "x", "y", "p", "a", "tie"),
        ("1r", "y", "x", "p", "b", "tie"),
        ("2", "x", "y", "p", "a", "a"),
        ("2r", "y", "x", "p", "a", "b"),
        ("t", "x", "trap", "p", "b", "tie"),
        ("1r", "y", "x", "q", "a", "a"),
    ]
    votes = votes_of(
        rows,
        kind=["plain", "repeat", "plain", "repeat", "trap", "repeat"],
        of=[None, "1", None, "2", None, "1"],
        expected=[None, None, None, None, "a", None],
        seconds=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    )  # fmt: skip
    first, second = annotators(votes).to_dict("records")
    assert first == {
        "annotator": "p", "votes": 5, "median_seconds": 3.0, "repeats": 2, "helpful": 0.5, "harmless": 1.0,
        "traps": 1, "traps_passed": 0.0,
    }  # fmt: skip
    assert (second["annotator"], second["repeats"]) == ("q", 0) and np.isnan(second["helpful"])


def test_a_revised_vote_is_one_of_a_persons_votes_and_measures_them_in_nothing_else():
    rows = [
        ("1", "x", "y", "p", "a", "a"),
        ("2", "x", "y", "p", "b", "a"),
        ("1", "x", "y", "q", "a", "a"),
    ]
    votes = votes_of(rows, revised=[False, True, True], seconds=[1.0, 9.0, 9.0])
    first, second = annotators(votes).to_dict("records")
    assert (first["votes"], first["median_seconds"], second["votes"]) == (2, 1.0, 1)
    assert np.isnan(second["median_seconds"])


def test_a_skip_is_neither_consistent_nor_a_failed_trap():
    rows = [
        ("1", "x", "y", "p", "skip", "a"),
        ("1r", "y", "x", "p", "skip", "skip"),
        ("2", "x", "y", "p", "a", "a"),
        ("2r", "y", "x", "p", "b", "a"),
        ("t", "x", "trap", "p", "skip", "tie"),
        ("u", "x", "trap", "p", "a", "tie"),
    ]
    kinds = ["plain", "repeat", "plain", "repeat", "trap", "trap"]
    votes = votes_of(
        rows, kind=kinds, of=[None, "1", None, "2", None, None], expected=[None, None, None, None, "a", "a"]
    )
    (row,) = annotators(votes).to_dict("records")
    assert (row["repeats"], row["helpful"], row["harmless"]) == (2, 1.0, 0.0)
    assert (row["traps"], row["traps_passed"]) == (1, 1.0)


def test_agreement_counts_the_annotators_who_share_a_battle():
    rows = [("1", "x", "y", "p", "a", "a"), ("1", "x", "y", "q", "a", "a"), ("2", "x", "y", "p", "b", "a"), ("2", "x", "y", "q", "b", "a"),
            ("3", "x", "y", "alone", "a", "a")]  # fmt: skip
    assert agreement(votes_of(rows), "helpful") == {"alpha": 1.0, "annotators": 2, "battles": 2, "votes": 5}


def test_votes_over_time_have_no_gap():
    times = pd.to_datetime(["2026-01-31T10:05Z", "2026-01-31T10:55Z", "2026-01-31T13:00Z"])
    rows = [(str(number), "x", "y", "p", "a", "a") for number in range(3)]
    counts = over_time(votes_of(rows, voted_at=times))
    assert counts["votes"].tolist() == [2, 0, 0, 1]
    assert counts["time"].iloc[0] == pd.Timestamp("2026-01-31T10:00Z")


def test_the_human_front_holds_who_is_beaten_by_nobody_on_both_questions():
    votes = simulated({"x": 1.0, "y": 0.0, "z": -1.0}, 900)
    turned = {"a": "b", "b": "a"}
    opposed = votes.assign(harmless=votes["helpful"].map(turned))
    assert human_front(opposed)["front"].all()
    same = human_front(votes.assign(harmless=votes["helpful"])).set_index("policy")
    assert same["front"].to_dict() == {"x": True, "y": False, "z": False}
    assert (
        same.loc["x", "helpful"] == ranking(votes, "helpful").table.set_index("policy").loc["x", "strength"]
    )


def test_policies_found_equal_share_the_human_front():
    votes = votes_of([("1", "x", "y", "Ada", "tie", "tie"), ("2", "y", "x", "Ada", "tie", "tie")])
    assert human_front(votes)["front"].all()


def test_the_charts_that_no_table_shows_have_a_twin():
    votes = votes_of([("1", "x", "y", "p", "a", "tie"), ("2", "y", "z", "p", "tie", "a")])
    assert plots.wins(ranking(votes, "helpful"))["table"] == {
        "columns": ["", "x", "z", "y"], "rows": [["x", None, None, 1.0], ["z", None, None, 0.5], ["y", 0.0, 0.5, None]],
    }  # fmt: skip
    assert plots.over_time(over_time(votes))["table"] == {
        "columns": ["hour (UTC)", "votes"],
        "rows": [["2026-01-31 12:00", 2]],
    }


def test_a_name_of_a_policy_is_text_in_every_chart():
    link = '<a href="javascript:alert(1)">x</a>'
    votes = votes_of([("1", link, "y", "p", "a", "a"), ("2", link, "y", "p", "b", "b")])
    charts = [
        plots.strengths(ranking(votes, "helpful")),
        plots.wins(ranking(votes, "helpful")),
        plots.front(human_front(votes)),
    ]
    assert not any("<a" in str(chart["figure"]) for chart in charts)
    assert all("&lt;a href" in str(chart["figure"]) for chart in charts)


def test_a_long_name_leaves_a_chart_its_room_and_is_whole_under_the_mouse():
    one, other = f"Interpretability-{'guided' * 7}-XL", f"Interpretability-{'tuned' * 8}-XL"
    votes = votes_of([("1", one, other, "p", "a", "a"), ("2", one, other, "p", "b", "b")])
    strengths, wins = plots.strengths(ranking(votes, "helpful")), plots.wins(ranking(votes, "helpful"))
    for chart, axes in ((strengths, ["yaxis"]), (wins, ["xaxis", "yaxis"])):
        for axis in axes:
            told = chart["figure"]["layout"][axis]
            assert {*told["tickvals"]} == {one, other}, "the two stay apart"
            assert all(len(text) <= plots.MAX_LABEL and text.endswith("XL") for text in told["ticktext"])
    marks = [trace for trace in plots.front(human_front(votes))["figure"]["data"] if "text" in trace]
    assert {*marks[0]["hovertext"], *marks[1]["hovertext"]} == {one, other}
    assert all(len(text) <= plots.MAX_LABEL for trace in marks for text in trace["text"])


@pytest.mark.parametrize("scheme", [":root", ".dark"])
@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_win_rate_is_read_on_its_colour(scheme, rate):
    css = (WEB / "shared" / "base.css").read_text("utf-8")
    colors = dict(re.findall(r"(--tw-\w+): (#\w{6})", css.split(f"{scheme} {{")[1].split("}")[0]))
    wins = plots.wins(ranking(votes_of([("1", "x", "y", "p", "a", "a")]), "helpful"))
    (trace,) = wins["figure"]["data"]

    def shown(variable: str) -> np.ndarray:
        digits = colors[variable.removeprefix("var(").removesuffix(")")]
        return np.array([int(digits[at : at + 2], 16) / 255 for at in (1, 3, 5)])

    def luminance(color: np.ndarray) -> float:
        linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    at = (rate - trace["zmin"]) / (trace["zmax"] - trace["zmin"])
    low, middle, high = (shown(color) for _, color in trace["colorscale"])
    fill = middle + abs(2 * at - 1) * ((high if at > 0.5 else low) - middle)
    bright, dark = sorted([luminance(fill), luminance(shown(trace["textfont"]["color"]))], reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 4.5
