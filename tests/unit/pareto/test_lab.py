"""What was made here for a model is found beside what ships, also under names that a shipped model's have."""

from dataclasses import replace

import pytest
import torch

from lm import Adapter, load
from lm.paths import lab_folder
from pareto import checkpoint
from pareto.front import Front, stored
from pareto.heads import Head, heads
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
