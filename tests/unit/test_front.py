"""The page's JavaScript, with its own tools: lint, types, and node's test runner (package.json). Where node is not, nothing is said."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB = ROOT / "assets" / "web"


@pytest.fixture(scope="module")
def npm() -> str:
    found = shutil.which("npm")
    if found is None:
        pytest.skip("node is not installed: apt-get install nodejs npm")
    if not (ROOT / "node_modules").is_dir():
        subprocess.run([found, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=ROOT, check=True)
    return found


@pytest.mark.parametrize("check", ["lint", "types", "test"])
def test_the_page(npm: str, check: str) -> None:
    done = subprocess.run([npm, "run", "-s", check], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_tab_imports_another() -> None:
    """Rooms of the page as those of Python: shared imports nobody, a tab imports shared and itself."""
    for file in WEB.rglob("*.js"):
        room = file.parent.name
        for path in re.findall(r"""(?:from|import\() ?'(\.[^']*)'""", file.read_text(encoding="utf-8")):
            other = (file.parent / path).resolve().parent.name
            assert other in {room, "shared"}, f"{file.relative_to(ROOT)} imports {path}"
