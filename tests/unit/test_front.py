"""The page's JavaScript, with its own tools: lint, types, and node's test runner (package.json). Where node is not, nothing is said."""

import re
import subprocess

import pytest

from tests.node import ROOT, npm

WEB = ROOT / "assets" / "web"


@pytest.mark.parametrize("check", ["lint", "types", "test"])
def test_the_page(check: str) -> None:
    done = subprocess.run([npm(), "run", "-s", check], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_tab_imports_another() -> None:
    """Rooms of the page as those of Python: shared imports nobody, a tab imports shared and itself."""
    for file in WEB.rglob("*.js"):
        room = file.parent.name
        for path in re.findall(r"""(?:from|import\() ?'(\.[^']*)'""", file.read_text(encoding="utf-8")):
            other = (file.parent / path).resolve().parent.name
            assert other in {room, "shared"}, f"{file.relative_to(ROOT)} imports {path}"


def selectors(room: str) -> list[str]:
    """Of a tab's styles."""
    css = re.sub(r"/\*.*?\*/", "", (WEB / room / f"{room}.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    return [one.strip() for rule in re.findall(r"([^{};]+)\{", css) for one in rule.split(",")]


def styled(room: str) -> set[str]:
    """The classes that a tab's styles begin with: they hold wherever an element has the class."""
    return {name[1] for one in selectors(room) if (name := re.match(r"\.(tw-[a-z-]+)", one))}


def alone(room: str) -> set[str]:
    """The classes that are a whole selector."""
    return {name[1] for one in selectors(room) if (name := re.fullmatch(r"\.(tw-[a-z-]+)", one))}


def test_no_tab_styles_what_another_one_does() -> None:
    """All tabs are on one page: a class of one room that another styles looks as that other one wants."""
    steer, tradeoffs, compare = (styled(room) for room in ("steer", "tradeoffs", "compare"))
    assert len(steer) > 50 and len(compare) > 30
    assert not steer & tradeoffs and not steer & compare and not tradeoffs & compare
    known = {
        room: set(re.findall(r"\.(tw-[a-z-]+)", " ".join(selectors(room)))) for room in ("steer", "tradeoffs")
    }
    assert not alone("compare") & (known["steer"] | known["tradeoffs"])
    assert not alone("tradeoffs") & known["steer"], (
        "the texts and controls of Steer are those of Trade-offs, too"
    )
