"""What README.md and docs/command-line.md print runs as it is printed, on the default model. What takes minutes (trainings,
calibration, the grid, scoring) is parsed by tests/unit/test_docs.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs import ROOT, blocks, commands

PAGE = ROOT / "docs" / "command-line.md"
QUICK = {
    "steering": {"generate", "sweep", "train", "export", "evaluate"},
    "pareto": {"respond", "front", "rewards"},
    "arena": {"create", "ranking", "export", "migrate"},
}

GIVEN = {
    "prompts.txt": "What did you do last weekend?\nTell me about rain.\n",
    "outputs.csv": "prompt,model_a,model_b\nTell me about rain.,Rain falls.,It is wet.\nTell me about snow.,Snow falls.,It is cold.\n",
    "plan.json": json.dumps({"targets": [{"concept": "sports"}]}),
    "policies.json": json.dumps(
        [{"name": "base", "base": True}, {"name": "sporty", "plan": {"targets": [{"concept": "sports"}]}}]
    ),
    "pairs.jsonl": "".join(
        json.dumps({"prompt": f"How do I bake bread {i}?", "chosen": f"Mix flour and water, {i} cups.", "rejected": f"No {i}."})
        + "\n"
        for i in range(12)
    ),
    "my_concept.jsonl": "".join(
        json.dumps({"positive": f"Rain fell on hill {i} all night.", "negative": f"The train left town {i} on time."}) + "\n"
        for i in range(24)
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader would be: the files that the commands name lie there."""
    folder = tmp_path_factory.mktemp("reader")
    for name, text in GIVEN.items():
        (folder / name).write_text(text)
    return folder


def run(folder: Path, *command: str, given: str | None = None) -> str:
    """What a command prints, run with the checkout's packages. given: what it reads."""
    place = {"PYTHONPATH": str(ROOT), "DATABASE_URL": f"sqlite:///{folder}/votes.db"}
    done = subprocess.run([sys.executable, *command], cwd=folder, env={**os.environ, **place}, input=given, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


RUNNER = """
import contextlib, io, json, runpy, sys
printed = []
for words in json.load(sys.stdin):
    sys.argv = words
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            assert not end.code, (words, end.code)
    printed.append(out.getvalue())
json.dump(printed, sys.stdout)
"""
"""Runs modules as `python -m` does, one after the other in one interpreter: most of a command's time is its imports."""


def test_the_commands_run_as_they_are_printed(folder: Path) -> None:
    shown = [command.words for command in commands() if command.page == PAGE.name and command.whole]
    quick = [words for words in shown if words[:2] == ("python", "-m") and words[3] in QUICK[words[2]]]
    assert len(quick) >= 10
    told = run(folder, "-c", RUNNER, given=json.dumps([words[2:] for words in quick]))
    for words, printed in zip(quick, json.loads(told), strict=True):
        if "--json" in words:
            assert json.loads(printed), words
    run(folder, *quick[0][1:])


@pytest.mark.parametrize("page", [ROOT / "README.md", PAGE], ids=lambda page: page.name)
def test_the_scripts_run_as_they_are_printed(folder: Path, page: Path) -> None:
    for block in blocks(page, "python"):
        assert run(folder, "-c", block).strip()
