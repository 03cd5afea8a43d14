"""No command that the docs show is wrong: each is parsed by the program that it calls. Those that end soon are run as
they are printed in tests/real/test_docs.py.
"""

import argparse
import re
import runpy
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.docs import PAGES, ROOT, Command, commands

COMMANDS = commands()
RUNS_MODULE = ("python", "-m")


class Parsed(Exception):
    """Raised where a program has taken its arguments."""


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch):
    """Runs a module or a file up to where its arguments are parsed."""
    original = argparse.ArgumentParser.parse_args

    def parse_args(self, *args, **options):
        original(self, *args, **options)
        raise Parsed

    def run(program: str, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        with pytest.raises(Parsed):
            if program.endswith(".py"):
                runpy.run_path(str(ROOT / program), run_name="__main__")
            else:
                runpy.run_module(program, run_name="__main__", alter_sys=True)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    return run


def test_the_docs_show_commands():
    assert len(COMMANDS) > 40 and {command.page for command in COMMANDS} > {"README.md", "CONTRIBUTING.md"}


def of(*programs: str) -> list[Command]:
    """The commands that call one of these programs."""
    return [command for command in COMMANDS if command.words[: len(programs)] == programs]


def test_every_command_is_of_a_known_kind():
    kinds = ("python", "tradewind", "torchrun", "pip", "pip-licenses", "docker", "hf", "ruff", "mypy")
    for command in COMMANDS:
        assert command.words[0] in kinds, command


@pytest.mark.parametrize("command", dict.fromkeys(c.words for c in of("python")), ids=" ".join)
def test_python_takes_it(command: tuple[str, ...], parse, capsys):
    program, *arguments = command[2:] if command[1] == "-m" else command[1:]
    if program in ("pytest", "mypy"):
        tools(command)
    elif program == "pip":
        install(command[2:])
    elif program.startswith("tests."):
        assert find_spec(program) and not arguments
    elif command[1] == "-m" and len(arguments) == 1 and program in ("steering", "pareto", "arena"):
        named(parse, program, arguments[0], capsys)
    else:
        parse(program, *arguments)


def named(parse, room: str, command: str, capsys) -> None:
    """A command that a sentence names without its arguments is there."""
    with pytest.raises(SystemExit):
        parse(room, command, "--help")
    assert f"python -m {room} {command}" in capsys.readouterr().out


def tools(command: tuple[str, ...]) -> None:
    """Paths of the test runner are there, its tiers, and its way to spread tests over processes."""
    words = argparse.ArgumentParser()
    words.add_argument("paths", nargs="*")
    words.add_argument("-m", choices=re.findall(r'^  "(\w+):', (ROOT / "pyproject.toml").read_text(), re.M))
    words.add_argument("-n", choices=["auto"])
    given, rest = words.parse_known_args(command[3:])
    assert not rest and all((ROOT / path).exists() for path in given.paths), command


def install(words: tuple[str, ...]) -> None:
    """What pip installs is here, or a package that a page names."""
    assert words[1] == "install", words
    for option, word in zip(words[1:], words[2:], strict=False):
        assert word == "-r" or (ROOT / word).exists() or option == "install", words


@pytest.mark.parametrize("command", [c.words for c in of("pip")], ids=" ".join)
def test_pip_finds_the_files(command):
    install(command)


@pytest.mark.parametrize("command", [c.words for c in of("torchrun")], ids=" ".join)
def test_torchrun_takes_it(command, parse):
    from torch.distributed.run import get_args_parser

    asked = get_args_parser().parse_known_args(command[1:])[0]
    assert asked.module
    parse(asked.training_script, *asked.training_script_args)


@pytest.mark.parametrize("command", [c.words for c in of("tradewind")], ids=" ".join)
def test_tradewind_takes_it(command, parse, monkeypatch):
    import tradewind

    monkeypatch.setattr(sys, "argv", list(command))
    with pytest.raises(Parsed):
        tradewind.main()


@pytest.mark.parametrize("command", [c.words for c in of("hf")], ids=" ".join)
def test_the_hubs_tool_takes_it(command):
    from huggingface_hub.cli.hf import app

    name, sub, rest = app.resolve_command(
        app.make_context("hf", [*command[1:]], resilient_parsing=True), [*command[1:]]
    )
    sub.make_context(name, rest)


@pytest.mark.parametrize("command", [c.words for c in of("docker")], ids=" ".join)
def test_docker_finds_what_it_is_told(command):
    image, compose = (ROOT / "Dockerfile").read_text(), (ROOT / "compose.yaml").read_text()
    for name in re.findall(r"--build-arg (\w+)=", " ".join(command)):
        assert re.search(rf"^ARG {name}\b", image, re.MULTILINE)
    for port in re.findall(r"-p \d+:(\d+)", " ".join(command)):
        assert f"EXPOSE {port}" in image
    for folder in re.findall(r"-v \w+:(\S+)", " ".join(command)):
        assert f"VOLUME {folder}" in image
    assert command[1] != "compose" or "services:" in compose


def test_variables_of_the_environment_are_read_somewhere():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    code = "".join(
        (ROOT / name).read_text(encoding="utf-8")
        for name in listed.splitlines()
        if name.endswith((".py", "Dockerfile", "compose.yaml")) and (ROOT / name).exists()
    )
    for page in PAGES:
        for name in re.findall(
            r"\b(?:TRADEWIND|GRADIO|POSTGRES)_[A-Z_]+\b", page.read_text(encoding="utf-8")
        ):
            assert name in code, (page.name, name)


def test_files_that_the_docs_name_are_there():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), (page.name, target)
