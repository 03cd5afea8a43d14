"""Who imports whom, as docs/architecture.md says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("common", "lm", "ui", "api", "lab", "steering", "pareto", "arena")
PAGE = ("panel.py", "controller.py", "session.py", "stage.py")
MAY = {
    "common": {"common"},
    "lm": {"common", "lm"},
    "ui": {"common", "lm", "ui"},
    "api": {"common", "lm", "ui", "api"},
    "lab": set(ROOMS),
    "steering": {"common", "lm", "steering"},
    "pareto": {"common", "lm", "pareto"},
    "arena": {"common", "arena"},
}


def modules() -> Iterator[Path]:
    """The files of all rooms, relative to the project."""
    for room in ROOMS:
        yield from (path.relative_to(ROOT) for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The packages that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def test_rooms_import_what_they_may():
    for path in modules():
        room = path.parts[0]
        allowed = MAY[room] | ({"ui"} if path.name in PAGE or path.parent.name == "panel" else set())
        assert imported(path) & {*ROOMS, "app"} <= allowed, path


def test_gradio_is_for_panels_and_the_shared_parts():
    for path in modules():
        if path.parts[0] != "ui" and path.name != "panel.py" and path.parent.name != "panel":
            assert "gradio" not in imported(path), path


@pytest.mark.parametrize("tab", ["steer", "tradeoffs", "compare", "shared"])
def test_a_tabs_scripts_import_its_own_and_what_is_shared(tab: str):
    for path in (ROOT / "assets" / "web" / tab).glob("*.js"):
        for source in re.findall(r"from '([^']+)'", path.read_text(encoding="utf-8")):
            place = (path.parent / source).resolve()
            assert not source.startswith(".") or place.parent.name in {tab, "shared"}, path


def test_a_rule_has_one_place():
    """The edit's slack, the bootstrap, KL, sigmoid, atomic writes, digests, dominance, LoRA's matrices."""
    text = {path: (ROOT / path).read_text(encoding="utf-8") for path in modules()}
    for rule, place in {
        r"\.multinomial\(count": "common/statistics.py",
        r"np\.(quantile|percentile)\(": "common/statistics.py",
        r"is_nondominated\(": "common/fronts.py",
        r"hashlib": "common/digests.py",
        r"os\.fsync\(": "lm/paths.py",
        r"\.exp\(\) \* \(\w+ - \w+\)|kl_div\(": "lm/metrics.py",
        r"^MODULES\b": "lm/adapter.py",
        r"^SLACK\b": "lm/edits/solver.py",
        r"1 / \(1 \+ .*exp\(": None,
    }.items():
        places = [path.as_posix() for path, code in text.items() if re.search(rule, code, re.MULTILINE)]
        assert places == ([place] if place else []), rule
