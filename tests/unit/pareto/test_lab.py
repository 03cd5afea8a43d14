"""What was made here for a model is found beside what ships, also under names that a shipped model's have."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lm import Adapter, load
from lm.paths import lab_folder
from pareto import checkpoint
from pareto.features import features
from pareto.front import Front, stored
from pareto.heads import Head, heads
from pareto.pairs import Pair
from pareto.rewards import RewardError
from tests.tiny import LAYERS, WIDTH, tiny


@pytest.fixture
def model(tmp_path, monkeypatch):
    made = load(str(tiny("llama")))
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    return made


def test_checkpoints_made_here_are_found_beside_shipped_ones_of_the_same_names(model, tmp_path):
    adapter = Adapter({(LAYERS - 1, "o_proj"): (torch.ones(2, WIDTH), torch.ones(WIDTH, 2))})
    card = {"base_model": "x", "method": "pgapo", "preference": [0.5, 0.5], "steps": 1}
    shipped, own = checkpoint.folders(model, tmp_path / "shipped")
    for folder, name, base in (
        (shipped, "pgapo-0.5", "0" * 16),
        (own, "pgapo-0.5", model.hash),
        (shipped, "both", model.hash),
        (own, "both", model.hash),
        (own, "alone", model.hash),
    ):
        checkpoint.save(folder / name, adapter, card | {"base_hash": base}, [])
    found = {each.id: each.folder.parent for each in checkpoint.shipped(model, shipped)}
    assert found == {"alone": own, "both": shipped, "pgapo-0.5": own}
    assert checkpoint.find("pgapo-0.5", model, shipped).folder.parent == own
    with pytest.raises(
        checkpoint.CheckpointError, match=r"^no such one is no folder.*alone, both, pgapo-0\.5\.$"
    ):
        checkpoint.find("no such one", model, shipped)
    none_here = load(str(tiny("gemma2")))
    with pytest.raises(checkpoint.CheckpointError, match=rf"none of {none_here.name} is here\.$"):
        checkpoint.find("no such one", none_here, shipped)


def test_the_front_and_the_heads_made_here_are_the_models(model):
    with pytest.raises(RewardError):
        heads(model)
    made = [
        Head(name, model.hash, 1, torch.arange(WIDTH).float(), 0.0, 1.0) for name in ("helpful", "harmless")
    ]
    for head in made:
        head.save(lab_folder(model.hash, "rewards") / f"{head.objective}.safetensors")
    assert {name: head.hash for name, head in heads(model).items()} == {
        head.objective: head.hash for head in made
    }
    assert not stored(model).points
    point = {
        "id": "base",
        "name": "base model",
        "method": "base",
        "preference": None,
        "helpful": 0.0,
        "harmless": 0.0,
    }
    own = replace(Front(model.name, model.hash, (-2.0, -2.0)), points=(point,))
    own.save(lab_folder(model.hash) / "front.json")
    assert [each["id"] for each in stored(model).points] == ["base"]


def test_a_reading_that_was_ended_goes_on_where_it_was(model, tmp_path, monkeypatch):
    monkeypatch.setattr("pareto.features.PIECE", 2)
    pairs = [Pair(f"Q{number}", f"yes {number}", "no") for number in range(7)]
    want = features(model, pairs, 1)

    def ended(share):
        if share > 0.8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features(model, pairs, 1, ended, tmp_path / "kept")
    told: list[float] = []
    again = features(model, pairs, 1, told.append, tmp_path / "kept")
    assert told == [5 / 7, 6 / 7, 1.0]
    assert all(map(np.array_equal, again, want))
    assert all(map(np.array_equal, features(model, pairs, 1, ended, tmp_path / "kept"), want))
    other = features(model, pairs, 0, told.append, tmp_path / "kept")
    assert len(told) == 10 and np.array_equal(other[0], features(model, pairs, 0)[0])
