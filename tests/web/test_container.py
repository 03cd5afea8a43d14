"""The image and the replicas: its own steps, in a clean folder, as a user without a home, where no container runtime is."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml

from arena import Output, Store, create
from tests.arena_postgres import new_database, server
from tests.tiny import tiny
from tests.web.conftest import ROOT, waited
from tests.web.test_hosting import call

NOBODY = 65_534
STEPS = (ROOT / "Dockerfile").read_text()


def environment() -> dict[str, str]:
    """What the image sets."""
    (line,) = re.findall(r"^ENV (.*)$", STEPS, re.M)
    return dict(pair.split("=", 1) for pair in line.split())


@pytest.fixture
def image() -> Iterator[Path]:
    """The files that the image has, and an empty /data beside them that its user may write."""
    with TemporaryDirectory(prefix="image-") as folder:  # pytest's own folders are closed to other users
        image = Path(folder)
        app = image / "app"
        app.mkdir()
        for names in re.findall(r"^COPY (.*)$", STEPS, re.M):
            *sources, _ = names.split()
            for name in sources:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, app / name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / name, app / name)
        (image / "data").mkdir()
        shutil.copytree(tiny("qwen2"), image / "model")
        if os.getuid() == 0:
            image.chmod(0o755)
            os.chown(image / "data", NOBODY, NOBODY)
        yield image


def as_nobody() -> list[str]:
    """What starts a command as a user without a home and without rights, who may read this Python. For root alone."""
    if os.getuid() != 0:
        return []
    reading = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    return ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", *reading]


@contextmanager
def running(image: Path, database: str) -> Iterator[str]:
    """The image's command on a free port; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    (words,) = re.findall(r"^CMD (.*)$", STEPS, re.M)
    command = [
        {"python": sys.executable, "0.0.0.0": "127.0.0.1", "7860": port}.get(word, word)
        for word in json.loads(words)
    ]
    inside = {name: value.replace("/data", str(image / "data")) for name, value in environment().items()}
    settings = {
        "PATH": os.environ["PATH"], "DATABASE_URL": database, "TRADEWIND_MODEL": str(image / "model"), "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    log = image / f"log-{port}"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*as_nobody(), *command], cwd=image / "app", env=inside | settings, stdout=out, stderr=out
        )
    try:
        waited(process, f"http://127.0.0.1:{port}/health", log)
        (check,) = re.findall(r"^HEALTHCHECK .* CMD (.*)$", STEPS, re.M)
        healthy = [word.replace("7860", port) for word in json.loads(check)]
        subprocess.run([sys.executable, *healthy[1:]], check=True)
        if os.getuid() == 0:
            assert Path(f"/proc/{process.pid}").stat().st_uid == NOBODY
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_the_image_runs_without_rights_and_replicas_share_their_votes(image: Path) -> None:
    with ExitStack() as stack:
        database = new_database(stack.enter_context(server()))
        create(
            Store(database),
            "Set",
            [Output("Hi", name, f"{name} answers") for name in ("base", "kind")],
            repeats=0.0,
        )
        first, second = (stack.enter_context(running(image, database)) for _ in range(2))
        battle = call(first, "battle", "Ada")["battle"]
        told = call(second, "vote", battle, "Ada", "a", "tie", "")
        assert told["battle"] == battle
        assert call(first, "battle", "Ada")["battle"] is None
        assert call(first, "ranking", "helpful") == call(second, "ranking", "helpful")


def test_the_compose_file_names_what_the_app_reads() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    app = services["app"]
    assert app["deploy"]["replicas"] == 2 and app["environment"]["DATABASE_URL"].startswith("postgresql://")
    assert set(app["build"]["args"]) == set(re.findall(r"^ARG (\w+)", STEPS, re.M))
    assert (
        "ip_hash" in (ROOT / "deploy" / "nginx.conf").read_text()
    )  # a visitor's events belong to one replica
    assert "USER tradewind" in STEPS and "VOLUME /data" in STEPS


def test_the_image_has_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    wanted = {name.rstrip("*") for name in settings["packages"]["find"]["include"]}
    wanted |= {f"{module}.py" for module in settings["py-modules"]}
    copied = {name for names in re.findall(r"^COPY (.*)$", STEPS, re.M) for name in names.split()[:-1]}
    assert wanted <= copied
