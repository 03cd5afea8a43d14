"""What the Trade-offs tab shows and refuses, without a browser: a tiny random model."""

import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lm import Adapter, Policy, Stopped, load
from lm.policy import PolicyError, between
from lm.prompts import prompt_ids
from pareto import front as fronts
from pareto import view
from pareto.checkpoint import Checkpoint, CheckpointError
from pareto.controller import BROKEN, Controller
from pareto.detail import detail
from pareto.evaluate import spread
from pareto.front import Front, path_of
from pareto.panel import _paper
from pareto.rewards import FunctionReward, RewardError
from pareto.session import Request
from pareto.shelf import Shelf
from pareto.table import table
from tests.tiny import LAYERS, THINKING, WIDTH, save_tokenizer, tiny

ASKED = {
    "prompt": "Say hello.",
    "picks": ["helpful"],
    "seed": 3,
    "max_new_tokens": 12,
    "temperature": 1.0,
    "run": 1,
}


def point(id: str, helpful: float, harmless: float, method: str = "pgapo", **more) -> dict:
    intervals = {
        f"{axis}_ci": [value - 0.1, value + 0.1]
        for axis, value in (("helpful", helpful), ("harmless", harmless))
    }
    told = {
        "name": f"{id} name",
        "method": method,
        "preference": None,
        "steps": 5,
        "seed": 0,
        "prompts": 240,
        "samples": 2,
        "kl": 1.0,
    }
    return {"id": id, "helpful": helpful, "harmless": harmless, **intervals, **told, **more}


@pytest.fixture(scope="module")
def model():
    return load(str(tiny("llama")))


def checkpoint(model, id: str, seed: int, preference: list[float] | None) -> Checkpoint:
    dice = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, WIDTH, generator=dice), torch.randn(WIDTH, 2, generator=dice)
    card = {"id": id, "name": f"{id} name", "method": "linear", "preference": preference, "steps": 5, "seed": 0, "base_model": "tiny",
            "base_hash": model.hash, "adapter_sha256": id * 4}  # fmt: skip
    return Checkpoint(id, Path(id), card, Adapter({(LAYERS - 1, "o_proj"): (a, b)}), [])


@pytest.fixture
def controller(model, tmp_path: Path) -> Controller:
    found = [checkpoint(model, "helpful", 1, [1.0, 0.0]), checkpoint(model, "harmless", 2, [0.0, 1.0])]
    front = Front(
        model.name,
        model.hash,
        (-2.0, -2.0),
        (point("base", -0.1, -0.4, "base"), point("helpful", 0.5, -0.2, "single")),
    )
    rewards = {
        "helpful": FunctionReward(lambda prompt, text: len(text)),
        "harmless": FunctionReward(lambda prompt, text: -len(text)),
    }
    return Controller(model, front, found, lambda: rewards, tmp_path, {})


def test_a_point_that_another_process_wrote_is_there_without_a_restart(model, tmp_path, monkeypatch) -> None:
    """As `python -m pareto evaluate --add` writes it; a tab keeps the points of its own."""
    monkeypatch.setattr("pareto.front.FOLDER", tmp_path)
    first = Front(model.name, model.hash, (-2.0, -2.0), (point("base", 0, 0, "base"),))
    first.save(path_of(model.name))
    shelf = Shelf(model, tmp_path / "checkpoints")
    front, checkpoints = shelf.changed()
    controller = Controller(model, front, checkpoints, dict, tmp_path, {}, changed=shelf.changed)
    mine = controller.session("a")
    mine.front, mine.own = mine.front.with_point(point("mine", 2, 2)), {"mine"}
    assert not controller.news("a")
    first.with_point(point("new", 1, 1)).save(path_of(model.name))
    assert controller.news("a") and not controller.news("a")
    assert [each["id"] for each in controller.session("a").front.points] == ["base", "new", "mine"]
    assert [each["id"] for each in controller.session("b").front.points] == ["base", "new"]
    assert controller.front.points == controller.stranger().front.points
    assert controller.news("b") and not controller.news("b"), "its page was made before there were news"


def test_a_link_to_a_checkpoint_that_was_just_trained_is_answered_at_once(
    controller: Controller, model
) -> None:
    """A page that opens with it asks for its answer before it looks for news."""
    helpful = controller.checkpoints.pop("helpful")
    asked = ASKED | {"picks": ["helpful"]}
    assert "no checkpoint" in last(controller.run("a", asked))["problem"]
    news = [(controller.front, [helpful, *controller.checkpoints.values()])]
    controller._changed = lambda: news.pop() if news else None
    assert last(controller.run("b", asked))["phase"] == "done"
    assert last(controller.run("a", asked))["phase"] == "done", (
        "nor need a page that is open wait for its look"
    )


def test_it_is_told_that_a_long_prompt_is_read(controller: Controller) -> None:
    asked = ASKED | {"picks": ["helpful"]}
    notes = [state.get("note", "") for state, _ in controller.run("a", asked | {"prompt": "Well, " * 60})]
    assert notes[1].startswith("Reading the prompt of "), notes
    assert "Reading" not in notes[-1]
    short = [state.get("note", "") for state, _ in controller.run("a", asked)]
    assert not any("Reading" in note for note in short)


def last(states) -> dict:
    return [state for state, _ in states][-1]


def spread_point(
    id: str, method: str, weight: float, lift: float, seeds: int = 3, wobble: float = 0.05
) -> dict:
    """A point of several seeds, whose rewards follow its weight; lift: how far out it lies."""
    dice = np.random.default_rng(len(id))
    scored = [
        {
            "seed": seed,
            "scores": {
                name: (
                    lift + share + wobble * dice.standard_normal() + wobble * dice.standard_normal(40)
                ).tolist()
                for name, share in (("helpful", weight), ("harmless", 1 - weight))
            },
        }
        for seed in range(seeds)
    ]
    for run in scored:
        run |= {name: float(np.mean(values)) for name, values in run["scores"].items()}
    means = {name: float(np.mean([run[name] for run in scored])) for name in ("helpful", "harmless")}
    kept = {"preference": [weight, 1 - weight], "seeds": list(range(seeds)), "runs": scored}
    return point(id, means["helpful"], means["harmless"], method) | kept


def grid(lift: float, seeds: int = 3) -> tuple[dict, ...]:
    """P-GAPO and linear at three preferences, the ends, and a base model that all are above."""
    trained = [
        spread_point(f"{method}-{weight}", method, weight, lift * (method == "pgapo"), seeds)
        for method in ("pgapo", "linear")
        for weight in (0.2, 0.5, 0.8)
    ]
    ends = [spread_point(f"end-{weight}", "single", weight, 0, seeds) for weight in (0.0, 1.0)]
    return (point("base", -1, -1, "base"), *trained, *ends)


def test_methods_are_compared_at_equal_positions_from_the_base_model() -> None:
    front = Front("m", "h", (-9.0, -9.0), (*grid(0.5), spread_point("x", "linear", 0.3, 5.0)))
    told = front.to_dict()
    assert told["reference"] == [-1, -1]
    rows = told["comparison"]
    assert rows["pgapo"]["positions"] == rows["linear"]["positions"] == [0.2, 0.5, 0.8]
    assert rows["single"]["hypervolume"] < rows["linear"]["hypervolume"] < rows["pgapo"]["hypervolume"]
    for row in rows.values():
        assert row["hypervolume_ci"][0] < row["hypervolume"] < row["hypervolume_ci"][1]
    assert rows["pgapo"]["ratio_ci"][0] > 1


def test_the_title_says_which_method_covers_most_or_that_nobody_can_tell() -> None:
    far, near = (view.front(Front("m", "h", (0, 0), grid(lift)))["models"]["title"] for lift in (0.5, 0.0))
    assert far.startswith("P-GAPO covers most of the plane at the 3 preferences they share")
    assert "cover as much of the plane" in near and "as far as the seeds tell" in near


def test_an_old_front_of_one_seed_has_seeds_and_no_interval_of_the_whole() -> None:
    points = [{k: v for k, v in each.items() if k not in ("runs", "seeds")} for each in grid(0.1, seeds=1)]
    told = Front("m", "h", (-2.0, -2.0), tuple(points)).to_dict()
    assert all(each["seeds"] == [0] for each in told["points"])
    assert told["comparison"]["pgapo"]["hypervolume_ci"] is None
    assert "from one seed" in view.front(Front("m", "h", (-2.0, -2.0), tuple(points)))["models"]["title"]
    assert "| 0 |" in table(told) and "over linear" in table(told)


def test_a_reader_who_wants_no_value_a_prompt_gets_all_the_rest() -> None:
    front = Front("m", "h", (-2.0, -2.0), grid(0.0))
    assert '"scores"' in json.dumps(front.to_dict()) and '"scores"' not in json.dumps(front.without_scores())
    short, whole = (told["points"][1]["runs"][2] for told in (front.without_scores(), front.to_dict()))
    assert {key: value for key, value in whole.items() if key != "scores"} == short


def test_attainment_is_the_median_of_the_seeds_and_monotone_counts_them() -> None:
    told = Front("m", "h", (-2.0, -2.0), grid(0.0)).to_dict()
    surface = np.array(told["attainment"]["pgapo"])
    runs = [[[run["helpful"], run["harmless"]] for run in each["runs"]] for each in told["points"][1:4]]
    best = np.max(runs, axis=(0, 1))
    assert surface.shape[1] == 2 and (surface <= best + 1e-9).all()
    assert told["monotone"]["pgapo"] == {"seeds": 3, "helpful": 3, "harmless": 3}
    curve = [each | {"id": f"c{at}", "method": "curve"} for at, each in enumerate(grid(0.0)[1:4])]
    low = [run | {"harmless": -9.0} for run in curve[0]["runs"]]
    end = curve[0] | {"id": "end", "preference": [0.0, 1.0], "harmless": -9.0, "runs": low}
    more = Front("m", "h", (-2.0, -2.0), (*grid(0.0), *curve, end)).to_dict()["monotone"]
    assert more["curve"] == more["pgapo"] == told["monotone"]["pgapo"], "over the preferences of all methods"
    scaled = [each | {"id": f"{each['id']}*2", "method": "scaled"} for each in curve[:1]]
    beside = Front("m", "h", (-2.0, -2.0), (*grid(0.0), *scaled, *scaled)).to_dict()
    assert beside["comparison"] == told["comparison"] and beside["monotone"] == told["monotone"]


def test_points_that_are_dominated_are_counted() -> None:
    points = (point("a", 1, 1), point("b", 0, 0, "linear"), point("c", 0.5, 2))
    told = view.front(Front("m", "h", (-2.0, -2.0), points))
    assert told["models"]["title"] == "3 points, 1 of them dominated"
    assert [each["dominated"] for each in told["points"]] == [False, True, False]
    assert {each["id"]: each["count"] for each in told["methods"]} == {"pgapo": 2, "linear": 1}


def test_the_seeds_of_a_point_are_told_as_its_cloud() -> None:
    told = view.front(Front("m", "h", (0, 0), grid(0.1)))
    each = next(each for each in told["points"] if each["id"] == "pgapo-0.5")
    assert [run["seed"] for run in each["cloud"]] == [0, 1, 2]
    assert np.mean([run["helpful"] for run in each["cloud"]]) == pytest.approx(each["helpful"], abs=2e-3)
    assert {axis["id"] for axis in told["axes"]} >= {"helpful", "harmless", "kl"}


def test_an_empty_front_says_what_to_do() -> None:
    told = view.front(Front("m", "h", (-2.0, -2.0)))
    assert "Add a checkpoint" in told["models"]["empty"] and told["points"] == []


def test_points_scored_on_fewer_prompts_are_told() -> None:
    told = view.front(Front("m", "h", (-2.0, -2.0), (point("a", 1, 1), point("b", 0, 0, prompts=24))))
    assert "; 24 to 240 held-out prompts a point." in told["models"]["note"]
    alike = view.front(Front("m", "h", (-2.0, -2.0), (point("a", 1, 1), point("b", 0, 0))))
    assert alike["models"]["note"].endswith("; 240 held-out prompts a point.")
    scaled = view.front(
        Front("m", "h", (-2.0, -2.0), (point("a", 1, 1), point("a*2", 2, 2, method="scaled")))
    )
    assert "extrapolated" in scaled["models"]["note"]


def test_votes_are_matched_by_id_or_name_and_joined_on_one_scale() -> None:
    points = (point("base", 0, 0, "base"), point("a", 1, 1), point("b", 2, 0), point("c", 3, -1))
    judged = {
        name: {
            "helpful": 2.0 * i,
            "harmless": -1.0 * i,
            "helpful_ci": [0, 1],
            "harmless_ci": [0, 1],
            "comparisons": 9,
        }
        for i, name in enumerate(["base", "a name", "b", "a stranger"])
    }
    told = view.front(Front("m", "h", (-2.0, -2.0), points), votes=judged, votable=True)
    assert "3 policies" in told["people"]["title"]
    assert [each["id"] for each in told["both"]["points"]] == ["base", "a", "b"]
    for axis in view.AXES:
        ours, theirs = np.array([each[axis] for each in told["both"]["points"]]).T
        assert np.allclose([ours.mean(), theirs.mean()], 0, atol=1e-3) and np.allclose(
            [ours.std(), theirs.std()], 1, atol=1e-3
        )
    assert "correlate at 1.00 on helpful" in told["both"]["title"]


def test_without_votes_the_switch_says_how_to_get_some() -> None:
    front = Front("m", "h", (-2.0, -2.0), (point("a", 1, 1),))
    assert "Compare" in view.front(front, votable=True)["people"]["empty"]
    assert "no blind comparison" in view.front(front)["people"]["empty"]


def test_the_papers_set_has_its_own_reference_and_hypervolumes() -> None:
    told = _paper()
    assert told["reference"] == [-10, -10] and len(told["points"]) == 13
    assert {each["name"]: round(each["hypervolume"]) for each in told["methods"]} == {
        "P-GAPO": 394,
        "MORLHF": 351,
        "Rewarded Soups": 244,
    }


def test_a_card_tells_conflict_and_curves() -> None:
    curves = [
        {"step": i, "reward": {"helpful": i / 10, "harmless": 0.0}, "kl": i, "norms": [1, 1], "cosine": -1 if i % 2 else 1,
         "coefficients": [0, 0]}
        for i in range(10)
    ]  # fmt: skip
    card = {"method": "pgapo", "steps": 1, "seed": 0, "base_model": "m", "base_hash": "h"}
    told = detail(view.side("a", "A", "pgapo"), point("a", 1, 1), card, curves)
    assert "50 % of the steps" in told["charts"][1]["title"] and "0.20 → 0.70" in told["charts"][0]["title"]
    assert ["Scored on", "240 prompts, 2 answers each"] in told["facts"]
    assert detail(view.side("a", "A", "steered"), None)["facts"] == [["Scored", "not yet"]]


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"prompt": 3}, "Prompt is 3: give a text"), ({"picks": "gapo"}, "list"), ({"picks": list("abcd")}, "at most"), ({"seed": 1.5e10}, "Seed"),
     ({"max_new_tokens": 0}, "max_new_tokens"), ({"temperature": float("nan")}, "Temperature"), ({"seed": True}, "Seed"),
     ({"top_p": 1.5}, "top_p is 1.5: give a number from 0 to 1"), ({"thinking": "yes"}, "Thinking is 'yes'")],
)  # fmt: skip
def test_requests_are_bounded(changes: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Request.parse(ASKED | changes)


@pytest.mark.parametrize("share", ["", "2", "-0.1", "nan", "x", "0_1", " 0.5", "-0.0", "1e0", "9" * 5000])
@pytest.mark.parametrize("method", ["soup", "curve"])
def test_mixes_outside_the_line_are_refused(method: str, share: str) -> None:
    with pytest.raises(PolicyError, match=f"from 0 to 1, as in {method}:0.35") as refused:
        between(f"{method}:{share}")
    assert len(str(refused.value)) < 200
    shares = ("0", "1", ".25", "0.35", f"{1e-5:g}")
    assert [between(f"{method}:{share}") for share in shares] == [(method, float(share)) for share in shares]


def test_a_mix_at_an_end_is_that_checkpoint(controller: Controller) -> None:
    texts = [
        each["text"]
        for each in controller.respond(Request.parse(ASKED | {"picks": ["helpful", "soup:1", "soup:0"]}))
    ]
    assert texts[0] == texts[1] != texts[2]
    with pytest.raises(CheckpointError, match="one for each objective"):
        controller.respond(Request.parse(ASKED | {"picks": ["curve:0.5"]}))


def test_a_run_streams_and_ends_measured(controller: Controller) -> None:
    state = last(controller.run("a", ASKED))
    assert state["phase"] == "done" and [side["id"] for side in state["sides"]] == ["base", "helpful"]
    assert [label for label, *_ in state["rows"]] == [
        "Helpful",
        "Harmless",
        "Distance",
        "Repetition",
        "Length",
    ]


def test_top_p_narrows_what_is_drawn_and_is_told(controller: Controller) -> None:
    greedy, narrow, whole = (
        last(controller.run("a", ASKED | more))
        for more in ({"temperature": 0.0}, {"temperature": 1.5, "top_p": 0.0}, {"temperature": 1.5})
    )
    assert narrow["texts"] == greedy["texts"] != whole["texts"]
    assert "temperature 1.5, top p 0;" in narrow["note"] and "top p" not in whole["note"]


def test_thinking_is_asked_of_every_side_and_refused_where_no_template_knows_it(
    controller: Controller, tmp_path: Path
) -> None:
    assert "no switch for thinking" in last(controller.run("a", ASKED | {"thinking": True}))["problem"]
    shutil.copytree(tiny("llama"), tmp_path / "thinks")
    save_tokenizer(tmp_path / "thinks", THINKING)
    thinks = Controller(
        load(str(tmp_path / "thinks")), controller.front, [], controller._read_rewards, tmp_path, {}
    )
    on, off = (Request.parse(ASKED | {"thinking": each}) for each in (True, False))
    given = [thinks.row(thinks.stranger(), "base", request).prompt for request in (on, off)]
    assert given == [prompt_ids(thinks.model, request.prompt) for request in (on, off)]
    assert given[0] != given[1]


def test_a_newer_run_ends_the_older_one_of_the_same_tab_alone(controller: Controller) -> None:
    long = ASKED | {"max_new_tokens": 200}
    mine, other = controller.run("a", long), controller.run("b", long)
    next(mine), next(other)
    assert last(controller.run("a", ASKED | {"picks": ["harmless"]}))["phase"] == "done"
    assert last(mine)["phase"] == "stopped"
    assert last(other)["phase"] == "done"


def test_reward_models_that_do_not_fit_leave_the_text(controller: Controller) -> None:
    def refuse():
        raise RewardError("the reward head reads another model: fit heads for this one")

    controller._read_rewards = refuse
    state = last(controller.run("a", ASKED))
    assert (
        state["phase"] == "done"
        and "fit heads" in state["note"]
        and [label for label, *_ in state["rows"]][0] == "Distance"
    )


def test_a_mix_is_called_by_what_it_mixes(controller: Controller, model) -> None:
    """Its name in the grammar, which a link holds, is no heading."""
    controller.checkpoints |= {"kind": checkpoint(model, "kind", 5, [0.9, 0.1])}
    for pick, name in (
        ("mix:kind+harmless@0.5", "soup of kind name and harmless name, 0.5 : 0.5"),
        ("mix:helpful+harmless@0.25", "soup 0.25 : 0.75"),
        ("soup:0.25", "soup 0.25 : 0.75"),
    ):
        shown = [card for _, card in controller.run("a", ASKED | {"picks": [pick], "selected": pick}) if card]
        heads = last(controller.run("a", ASKED | {"picks": [pick]}))["sides"]
        assert heads[1]["name"] == shown[0]["name"] == name
        weights = [value for label, value in shown[0]["facts"] if label == "Weights"]
        assert weights == (["25 % helpful name, 75 % harmless name"] if pick == "soup:0.25" else [])


def test_an_unknown_pick_is_one_sentence(controller: Controller) -> None:
    state = last(controller.run("a", ASKED | {"picks": ["nobody"]}))
    assert state["phase"] == "error" and "nobody" in state["problem"] and state["problem"].endswith(".")


@pytest.mark.parametrize(
    "name", ["..", ".", "", "../elsewhere", "/etc", "nobody", "a b", "-x/y", "x/../../y", "~/x"]
)
def test_only_folders_below_the_root_are_read(controller: Controller, name: str) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        controller.folder(name)


def test_a_link_out_of_the_root_is_not_followed(
    controller: Controller, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "link").symlink_to(tmp_path_factory.mktemp("outside"))
    with pytest.raises(CheckpointError, match="no checkpoint"):
        controller.folder("link")
    (tmp_path / "mine").mkdir()
    assert controller.folder("mine") == (tmp_path / "mine").resolve()


def test_a_mix_is_scored_and_lives_in_its_own_tab(controller: Controller) -> None:
    states = list(controller.score("a", {"pick": "soup:0.3"}))
    state, new = states[-1]
    assert new and state["done"] == "soup:0.3" and "24 prompts" in state["note"]
    assert all(0 <= each["fraction"] <= 1 for each, _ in states[:-1])
    assert controller.session("a").point("soup:0.3")["method"] == "soup"
    assert controller.session("b").point("soup:0.3") is None and len(controller.front.points) == 2


def test_a_stop_ends_the_scoring_and_adds_nothing(controller: Controller) -> None:
    work = controller.score("a", {"pick": "soup:0.3"})
    next(work)
    controller.session("a").stop("score")
    state, new = list(work)[-1]
    assert not new and "Stopped" in state["note"] and controller.session("a").point("soup:0.3") is None


def test_what_fails_on_the_server_is_one_sentence(controller: Controller, monkeypatch) -> None:
    """The page waits for the end of a run: an error of any kind ends it."""

    def breaks(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(controller, "policy", breaks)
    assert last(controller.run("a", ASKED))["problem"] == BROKEN
    monkeypatch.setattr(controller, "measured", breaks)
    assert list(controller.score("a", {"pick": "soup:0.3"}))[-1][0]["problem"] == BROKEN
    assert controller._scoring.acquire(blocking=False)


def test_a_scoring_tells_how_far_it_is_and_obeys_a_stop(controller: Controller) -> None:
    told: list[float] = []
    point = controller.measured(Policy(controller.model), 8, 0, told.append)
    assert (
        told == sorted(told)
        and len(told) > 2
        and point == controller.measured(Policy(controller.model), 8, 0)
    )
    stop = threading.Event()
    with pytest.raises(Stopped):
        controller.measured(Policy(controller.model), 8, 0, lambda fraction: stop.set(), stop)


def test_prompts_are_taken_from_all_kinds_in_turn() -> None:
    prompts = [("helpful", str(i)) for i in range(5)] + [("unsafe", str(i)) for i in range(5)]
    assert spread(prompts, 4) == [("helpful", "0"), ("unsafe", "0"), ("helpful", "1"), ("unsafe", "1")]


def test_the_comparison_gets_each_pair_once(controller: Controller) -> None:
    sent: list = []

    def send(request: Request, sides: list, sender: str | None) -> str:
        sent.append((sender, request.prompt.text, [(name, policy.spec) for name, policy, _ in sides]))
        return "Sent."

    about = {"model": controller.model.name, "model_hash": controller.model.hash}
    assert "no complete answer" in controller.compare("a", ["base"], send)
    last(controller.run("a", ASKED))
    assert controller.compare("a", ["base", "helpful"], send, "Ada") == "Sent."
    assert "already" in controller.compare("a", ["base", "helpful"], send)
    assert sent == [
        (
            "Ada",
            "Say hello.",
            [
                ("base name", about | {"base": True}),
                ("helpful name", about | {"checkpoint": "helpful", "adapter_sha256": "helpful" * 4}),
            ],
        )
    ]


def test_a_front_of_other_weights_says_whose_it_is(tmp_path, monkeypatch) -> None:
    model = SimpleNamespace(name="Some/Model", hash="b" * 16)
    monkeypatch.setattr(fronts, "FOLDER", tmp_path)
    assert "No front of Some/Model" in view.front(fronts.stored(model))["models"]["empty"]
    other = fronts.Front("Some/Model", "a" * 16, (-2.0, -2.0), ())
    other.save(fronts.path_of("Some/Model"))
    told = view.front(fronts.stored(model))["models"]["empty"]
    assert "a" * 16 in told and "b" * 16 in told
    fronts.stored(model).save(tmp_path / "saved.json")
    assert fronts.Front.load(tmp_path / "saved.json").missing == ""


def test_trainings_of_several_checkpoints_come_in_one_chart() -> None:
    row = {
        "reward": {"helpful": 1.0, "harmless": -1.0},
        "kl": 0.5,
        "coefficients": [3.0, 1.0],
        "cosine": None,
    }
    checkpoints = {
        "old": SimpleNamespace(curves=[{"step": step, **row} for step in (1, 2)]),
        "new": SimpleNamespace(
            curves=[{"step": 1, **row, "beta": 0.1, "applied": 0.9, "shares": [0.5, 0.5]}]
        ),
        "bare": SimpleNamespace(curves=[]),
    }
    told = view.trainings(checkpoints)
    assert set(told["curves"]) == {"old", "new"}
    assert told["curves"]["old"]["measures"]["share of helpful"] == [0.75, 0.75]
    assert told["curves"]["new"]["measures"]["share of helpful"] == [0.5]
    assert {"beta", "cosine of the applied step"} <= set(told["measures"])
    assert "beta" not in told["curves"]["old"]["measures"]


def test_shipped_judgements_are_marked_wherever_they_stand_in_for_votes() -> None:
    points = (point("a", 1, 1), point("b", 0, 0), point("c", -1, 1))
    judged = {
        id: {
            "helpful": value,
            "harmless": -value,
            "helpful_ci": [0, 1],
            "harmless_ci": [0, 1],
            "comparisons": 9,
        }
        for id, value in (("a", 0.5), ("b", 0.0), ("c", -0.5))
    }
    front = Front("m", "h", (-2.0, -2.0), points)
    shipped = view.front(front, votes=judged, votable=True, example=True)
    peoples = view.front(front, votes=judged, votable=True)
    for name in ("people", "both"):
        assert "language model" in shipped[name]["title"] and "eople" not in shipped[name]["title"]
        assert "Judged by a language model, not by people" in shipped[name]["note"]
        assert "language model" not in str(peoples[name])
