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
