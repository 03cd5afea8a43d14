"""What visitors name on the hub: without the owner's token, and within a quota."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from pareto import checkpoint, fetched


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub whose checkpoints have 100 bytes; the arguments that it was asked with."""
    asked = []

    def info(name, **more):
        asked.append(more)
        return SimpleNamespace(siblings=[])

    def download(name, *, cache_dir, **more):
        asked.append(more)
        (Path(cache_dir) / "snapshot").mkdir(parents=True, exist_ok=True)
        (Path(cache_dir) / "snapshot" / "weights").write_bytes(b"x" * 100)
        return str(Path(cache_dir) / "snapshot")

    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path))
    monkeypatch.setattr(checkpoint, "model_info", info)
    monkeypatch.setattr(checkpoint, "snapshot_download", download)
    return asked


def test_the_owners_token_is_not_sent(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetched.fetch_public("ada/private")
    assert len(hub) == 2 and all(more["token"] is False for more in hub)


def test_the_one_asked_for_longest_ago_goes_first(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(fetched, "MAX_KEPT", 350)
    kept = tmp_path / "visitors"
    for name in ("ada/a", "ada/b", "ada/c", "ada/a", "ada/d"):
        assert fetched.fetch_public(name).is_dir()
    assert {folder.name for folder in kept.iterdir()} == {"ada--a", "ada--c", "ada--d"}
    monkeypatch.setattr(fetched, "MAX_KEPT", 50)
    assert fetched.fetch_public("ada/e").is_dir()
    assert [folder.name for folder in kept.iterdir()] == ["ada--e"]
