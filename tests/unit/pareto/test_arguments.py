"""What the command line takes, and how it refuses: one sentence that names the argument, exit code 2."""

import json
import sys
from pathlib import Path

import pytest

from lm import load
from pareto.__main__ import _rewards, main
from pareto.arguments import weights
from pareto.front import Front, path_of
from pareto.reward import RewardError
from pareto.settings import BOUNDS, ordered
from tests.tiny import tiny

HERE = "tests.unit.pareto.rewards_here"
SMALL = ["--steps", "1", "--prompts-per-step", "2", "--group", "2", "--max-new-tokens", "4", "--rank", "2"]


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Runs `python -m pareto ...` on a tiny model; returns exit code, stdout and stderr."""

    def run(*words: object, family: str = "llama") -> tuple[int, str, str]:
        model = ["--model", str(tiny(family))]
        monkeypatch.setattr(sys, "argv", ["pareto", str(words[0]), *model, *map(str, words[1:])])
        try:
            code = main()
        except SystemExit as end:
            code = int(end.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def prompts(tmp_path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "Hello.", "kind": "helpful"}\n{"prompt": "Bye.", "kind": "unsafe"}\n')
    return path


def train(folder: Path, prompts: Path, *more: object) -> list[object]:
    both = [f"--reward={name}={HERE}:{name}" for name in ("harmless", "helpful")]
    return ["train", "--out", folder, "--prompts", prompts, *SMALL, *both, *more]


@pytest.mark.parametrize(
    "written",
    [["helpful=.9,harmless=.1"], ["harmless=.1,helpful=.9"], ["harmless=.1", "helpful=.9"], ["0.9", "0.1"]],
)
def test_a_preference_belongs_to_names_whatever_the_order(command, prompts, tmp_path, written):
    code, _, err = command(*train(tmp_path / "out", prompts, "--preference", *written))
    assert code == 0, err
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert dict(zip(card["objectives"], card["preference"], strict=True)) == {"helpful": 0.9, "harmless": 0.1}
    assert card["rewards"] == {name: f"{HERE}:{name}" for name in ("helpful", "harmless")}


def test_weights_without_names_are_of_helpful_harmless_and_then_the_rest():
    objectives = ordered(["brevity", "harmless", "helpful"])
    assert objectives == ["helpful", "harmless", "brevity"]
    assert weights(["0.5", ".3", ".2"], objectives) == weights(
        ["brevity=.2,harmless=.3,helpful=.5"], objectives
    )


@pytest.mark.parametrize(
    "written",
    [["helpful=.9"], ["helpful=.9,harmless=.1,kind=0"], ["helpful=.5,helpful=.5"], ["helpful=.9,.1"], ["1"],
     ["nan", "1"], ["inf", "0"], ["helpful=x,harmless=1"], ["-1", "2"], []],
)  # fmt: skip
def test_preferences_that_are_none_name_the_argument(written):
    with pytest.raises(ValueError, match=r"^--preference .*: (give|name)|^--preference has .*give"):
        weights(written, ["helpful", "harmless"])


TRAIN = [[f"--{name.replace('_', '-')}", value] for name in BOUNDS if name != "prompts" for value in ("nan", "-3", "1e99")]  # fmt: skip


@pytest.mark.parametrize("bad", [*TRAIN, ["--prompts-per-step", "0"], ["--preference", "nan", "1"],
    ["--preference", "0.6", "0.6"], ["--preference", "-1,2"], ["--preference", "-.5", "1.5"], ["--method", "best"], ["--preference", "1", "0", "--method", "mgda"],
    ["--objectives", "helpful,kindness"], ["--reward", "helpful"], ["--reward", "kind=os:nofn"]])  # fmt: skip
def test_training_refuses_wrong_arguments_by_name(command, prompts, tmp_path, bad):
    code, out, err = command(*train(tmp_path / "out", prompts, *bad))
    assert code == 2 and out == "" and err.count("\n") == 1 and err.startswith("error: ")
    assert bad[0].strip("-") in err.lower()
    assert not (tmp_path / "out" / "card.json").exists()


@pytest.mark.parametrize("command_of", [["train"], ["grid"]])
@pytest.mark.parametrize("written", [["-1,2"], ["-1", "2"], ["-.5,1.5"]])
def test_a_weight_below_nothing_is_refused_with_its_value_and_the_remedy(
    command, prompts, tmp_path, written, command_of
):
    both = [f"--reward={name}={HERE}:{name}" for name in ("harmless", "helpful")]
    code, _, err = command(
        *command_of, "--out", tmp_path / "out", "--prompts", prompts, *both, "--preference", *written
    )
    weight = written[0].partition(",")[0]
    assert (code, err) == (
        2,
        f"error: --preference has the weight {weight!r}: give numbers from 0 to 1 that sum to 1.\n",
    )


@pytest.mark.parametrize(
    "what",
    ["os:nofn", "nomod:fn", "os:sep", "no/such/model", "missing.safetensors", f"{HERE}:broken", "os:getcwd"],
)
def test_rewards_that_are_none_are_one_sentence(command, prompts, tmp_path, what):
    code, _, err = command("train", "--out", tmp_path / "out", "--prompts", prompts, *SMALL,
                           f"--reward=helpful={what}", f"--reward=harmless={HERE}:harmless")  # fmt: skip
    assert code == 2 and err.strip().count("\n") == 0 and what.split(":")[0] in err


@pytest.mark.parametrize(
    ("more", "says"),
    [(["--samples", "0"], "--samples"), (["--samples", "nan"], "--samples"), (["--max-new-tokens", "-1"], "--max-new-tokens"),
     (["--seed", "-1"], "--seed"), (["--prompts", "/nowhere/p.jsonl"], "/nowhere/p.jsonl"), (["--prompts", "/"], "/ is a folder")],
)  # fmt: skip
def test_evaluation_refuses_wrong_arguments_by_name(command, more, says):
    both = [f"--reward={name}={HERE}:{name}" for name in ("harmless", "helpful")]
    code, _, err = command("evaluate", "base", *both, *more)
    assert code == 2 and says in err and err.strip().count("\n") == 0


@pytest.mark.parametrize("below", ["/proc/nowhere/out", "{}/file/out", "{}/file"])
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_computed(
    command, prompts, tmp_path, below
):
    (tmp_path / "file").write_text("mine")
    code, _, err = command(*train(Path(below.format(tmp_path)), prompts))
    assert code == 2 and "--out" in err and "step 1" not in err and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_a_family_that_cannot_be_trained_is_refused_by_name(command, prompts, tmp_path, family):
    code, _, err = command(*train(tmp_path / "out", prompts), family=family)
    assert code == 2 and family in err and "llama, mistral, qwen2, qwen3" in err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def ends(command, prompts, tmp_path) -> list[Path]:
    folders = [tmp_path / "even", tmp_path / "first"]
    for folder, how in zip(folders, (["--method", "mgda"], ["--preference", "1", "0"]), strict=True):
        assert command(*train(folder, prompts, *how))[0] == 0
    return folders


def test_a_soup_of_a_checkpoint_without_a_preference_has_none(command, ends, prompts):
    both = [f"--reward={name}={HERE}:{name}" for name in ("harmless", "helpful")]
    how = ["--prompts", prompts, "--samples", 1, "--max-new-tokens", 4, "--json", *both]
    code, out, err = command("evaluate", f"{ends[0]}+{ends[1]}@0.5", *how)
    assert code == 0, err
    point = json.loads(out)
    assert point["preference"] is None and point["method"] == "soup" and "MGDA" in point["name"]


@pytest.mark.parametrize("tail", ["@1.7", "@-0.1", "@nan", "@x", "@", "+third@0.5"])
def test_soups_outside_the_line_are_refused(command, ends, tail):
    code, _, err = command("evaluate", f"{ends[0]}+{ends[1]}{tail}")
    assert code == 2 and "0 to 1" in err and err.strip().count("\n") == 0


def test_objectives_of_ones_own_stand_beside_the_heads_or_alone():
    names = [f"brevity={HERE}:brevity", f"helpful={HERE}:helpful", f"harmless={HERE}:harmless"]
    assert list(_rewards(names, None)) == ["helpful", "harmless", "brevity"]
    assert list(_rewards(names, None, "brevity,helpful")) == ["helpful", "brevity"]
    with pytest.raises(RewardError, match="reward head harmless reads model"):
        _rewards(names[:2], load(str(tiny("llama"))))


def test_one_training_does_not_replace_a_mean_over_several(command, ends, monkeypatch, tmp_path):
    monkeypatch.setattr("pareto.front.FOLDER", tmp_path)
    model = load(str(tiny("llama")))
    runs = [{"seed": seed, "helpful": 0, "harmless": 0} for seed in (0, 1)]
    mean = {"id": "first", "name": "first", "method": "linear", "helpful": 0, "harmless": 0, "runs": runs}
    Front(model.name, model.hash, (-1, -1), (mean,)).save(path_of(model.name))
    code, _, err = command("evaluate", ends[1], "--add")
    assert code == 2 and "mean over several trainings" in err and err.strip().count("\n") == 0


@pytest.mark.parametrize("file", ["/nowhere/front.json", __file__, "/"])
def test_a_front_that_is_none_is_one_sentence(command, file):
    code, _, err = command("front", "--front", file)
    assert code == 2 and "is no front" in err and err.strip().count("\n") == 0
