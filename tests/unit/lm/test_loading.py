"""What the cache of models does with a damaged model, and with two starts at once."""

import threading
from pathlib import Path

import pytest

from lm import load, loading
from lm.loading import _keep
from tests.tiny import tiny


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def packed(cache: Path) -> Path:
    """The weights of the one model in the cache."""
    [path] = (cache / "models").glob("*/packed.safetensors")
    return path


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\x00" * len(data)]
)
def test_a_damaged_model_of_the_cache_is_made_again(cache, damage):
    first = load(str(tiny("llama")), engine="native")
    path, whole = packed(cache), packed(cache).read_bytes()
    path.unlink()  # the first model has it mapped
    path.write_bytes(damage(whole))
    assert load(str(tiny("llama")), engine="native").hash == first.hash
    assert packed(cache).stat().st_size == len(whole)
    assert not list((cache / "models").glob("tmp*"))


def test_two_first_starts_at_once_both_get_the_model(cache, monkeypatch):
    both, exact, found = threading.Barrier(2), loading._keep, []

    def together(made: Path, target: Path) -> None:
        both.wait(60)
        exact(made, target)

    monkeypatch.setattr(loading, "_keep", together)
    threads = [
        threading.Thread(target=lambda: found.append(load(str(tiny("llama")), engine="native")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 2 and found[0].hash == found[1].hash and packed(cache).exists()


def test_a_start_that_comes_second_leaves_the_model_of_the_first(cache, tmp_path):
    load(str(tiny("llama")), engine="native")
    target, made = packed(cache).parent, tmp_path / "model"
    made.mkdir()
    (made / "packed.safetensors").write_bytes(b"of the second start")
    _keep(made, target)
    assert packed(cache).read_bytes() != b"of the second start"
    (target / "packed.safetensors").write_bytes(b"cut off")
    _keep(made, target)
    assert packed(cache).read_bytes() == b"of the second start"
