"""What the commands say of errors that their callers can mend."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.command import exit_code
from lm.paths import replacing
from steering.__main__ import main as steering
from tests.tiny import tiny

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("Seed is -1: give another."), "Seed is -1: give another."),
        (
            PermissionError(errno.EACCES, "Permission denied", "a.gguf"),
            "a.gguf: Permission denied: check the path.",
        ),
        (OSError("The cache cannot be written: set another."), "The cache cannot be written: set another."),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_2(capsys, error, says):
    def command() -> None:
        raise error

    assert exit_code(command) == 2 and capsys.readouterr().err == f"error: {says}\n"


def test_a_file_that_cannot_be_written_is_called_by_its_own_name(tmp_path):
    path = Path("/proc/loud.gguf")
    with pytest.raises(OSError) as caught, replacing(path):
        pass
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
def test_an_export_to_where_nothing_is_written_is_one_sentence(capsys, kind):
    assert steering(["train", "sports", "--model", str(tiny("llama"))]) == 0
    capsys.readouterr()
    assert steering(["export", "sports", f"/proc/v.{kind}", "--model", str(tiny("llama"))]) == 2
    told = capsys.readouterr().err
    assert told == f"error: /proc/v.{kind}: {os.strerror(errno.ENOENT)}: check the path.\n"


@pytest.mark.slow
def test_whoever_has_read_enough_is_told_nothing(tmp_path):
    script = f"{sys.executable} -m arena ranking --json --database sqlite:///{tmp_path / 'v'} | true"
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""
