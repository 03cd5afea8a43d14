"""Every number of every command line has bounds, and one that lies beyond them is one sentence."""

import argparse
from collections.abc import Iterator

import pytest

import tradewind
from arena.__main__ import _parser as arena
from arena.__main__ import main
from lab.__main__ import _parser as prepare
from pareto.parser import parser as pareto
from steering.parser import parser as steering


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those of a parser and of its commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from actions(below)
        else:
            yield action


@pytest.mark.parametrize("parser", [arena, prepare, pareto, steering])
def test_no_number_is_without_bounds(parser):
    loose = [action.dest for action in actions(parser()) if action.type in (int, float, complex)]
    assert loose == []


@pytest.mark.parametrize("count", ["0", "-1", "513", "1e9", "nan"])
def test_a_length_beyond_its_bounds_is_one_sentence(capsys, count):
    with pytest.raises(SystemExit):
        main(["create", "--max-new-tokens", count])
    told = capsys.readouterr().err
    assert told.startswith("error: argument --max-new-tokens: ") and "from 1 to 512" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("parser", [arena, pareto, steering])
def test_a_missing_command_is_told_with_those_that_there_are(capsys, parser):
    whole = parser()
    with pytest.raises(SystemExit) as end:
        whole.parse_args([])
    [names] = [action.choices for action in whole._actions if action.dest == "command"]
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: Command is missing: give one of {', '.join(names)}.\n"


@pytest.mark.parametrize("word", ["preparr", "ls"])
def test_a_command_that_there_is_not_is_told_with_those_that_there_are(capsys, monkeypatch, word):
    monkeypatch.setattr("sys.argv", ["tradewind", word])
    assert tradewind.main() == 2
    assert capsys.readouterr().err == (
        f"error: Command is {word!r}: give prepare, steering, pareto, arena, or options of the app.\n"
    )
