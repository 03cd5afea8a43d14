"""A Space on ZeroGPU starts, on its CPU. The package `spaces` is played by one that does what it does at import and launch."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import app
from lab import launch
from lm import Row, Sampling, device_here, load
from tests.tiny import tiny

SPACES = """
import torch

torch.cuda.is_available = lambda: True  # what is put on "cuda" waits there for a lent call
torch.cuda.device_count = lambda: 1
lent = []


def GPU(function=None, **settings):
    if function is None:
        return lambda function: GPU(function, **settings)
    lent.append(function)
    return function


def startup():
    if not lent:
        raise RuntimeError("No @spaces.GPU function detected during startup")
"""


@pytest.fixture
def spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The package, on a Space with ZeroGPU."""
    (tmp_path / "spaces.py").write_text(SPACES)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("is_available", "device_count"):
        monkeypatch.setattr(torch.cuda, name, getattr(torch.cuda, name))
    monkeypatch.delitem(sys.modules, "spaces", raising=False)
    import spaces

    yield spaces
    sys.modules.pop("spaces")


def test_models_stay_on_the_cpu(spaces: ModuleType) -> None:
    assert torch.cuda.is_available() and device_here().type == "cpu"
    for engine in ("auto", "batched", "reference"):
        run = load(str(tiny("llama")), engine=engine).generate([Row((1, 2, 3), Sampling(max_new_tokens=2))])[
            0
        ]
        assert len(run.ids) == 2


def test_the_app_starts_and_says_that_it_is_on_the_cpu(spaces, monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'votes.sqlite'}")
    monkeypatch.setattr("sys.argv", ["app.py", "--model", str(tiny("llama")), "--port", "7999"])
    monkeypatch.setattr(launch, "serve", lambda *_: spaces.startup())
    assert app.main() == 0
    assert "ZeroGPU" in capsys.readouterr().err and len(spaces.lent) == 1


def test_elsewhere_nothing_asks_for_the_package(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'votes.sqlite'}")
    monkeypatch.setattr("sys.argv", ["app.py", "--model", str(tiny("llama")), "--port", "7999"])
    monkeypatch.setattr(launch, "serve", lambda *_: None)
    assert app.main() == 0
    assert "ZeroGPU" not in capsys.readouterr().err
