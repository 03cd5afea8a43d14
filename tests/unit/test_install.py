"""`pip install .` gives a working `tradewind` outside of the checkout."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("common", "lm", "api", "ui", "lab", "steering", "pareto", "arena", "assets")


SCRIPTS = """
import contextlib, io, json, pathlib, runpy, sys
told = []
for script, *words in json.loads(sys.argv[1]):
    sys.argv = [script, *words, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        runpy.run_path(str(pathlib.Path(sys.executable).with_name(script)), run_name="__main__")
    told.append(printed.getvalue())
print(json.dumps(told))
"""
"""What the scripts of a home print on --help, one after the other in one interpreter: most of a command's time is its imports."""


def tracked() -> list[str]:
    """What git has of the packages."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [
        name for name in listed.stdout.splitlines() if name.split("/")[0] in ROOMS and (ROOT / name).exists()
    ]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in [*tracked(), "app.py", "tradewind.py", "pyproject.toml", "README.md", "LICENSE", "requirements.txt",
                 "tests/requirements.txt"]:  # fmt: skip
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(out), str(source)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("tradewind-*.whl")
    return built


def test_the_wheel_holds_all_that_the_checkout_has(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert set(tracked()) <= set(archive.namelist())
        (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        metadata = archive.read(name).decode()
    wanted = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert metadata.count("\nRequires-Dist:") >= len([line for line in wanted if line])
    assert 'extra == "test"' in metadata


def test_it_works_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (site,) = (home / "lib").glob("python*/site-packages")
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join(others))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(home / "bin" / "python"),
        "install",
        "-q",
        "--no-deps",
        str(wheel),
    ]
    subprocess.run(pip, check=True)

    def run(*command: str) -> str:
        done = subprocess.run(
            [str(home / "bin" / command[0]), *command[1:]], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "tradewind pareto" in run("tradewind", "--help")
    rooms = ("steering", "pareto", "arena")
    asked = [
        [script, *words]
        for room in rooms
        for script, words in (("tradewind", [room]), (f"tradewind-{room}", []))
    ]
    told = json.loads(run("python", "-c", SCRIPTS, json.dumps(asked)))
    for room, of_all, own in zip(rooms, told[::2], told[1::2], strict=True):
        assert room in of_all and "usage" in own
    seen = run(
        "python", "-c",
        "import app, lab.launch, lm, ui.document as d, steering.concepts as s, pareto.checkpoint as p;"
        "print(d.__file__, d.WEB.is_dir(), d.PREVIEW.is_file(), s.SHIPPED.is_dir(), p.FOLDER.is_dir())",
    ).split()  # fmt: skip
    assert Path(seen[0]).is_relative_to(home) and seen[1:] == ["True"] * 4
