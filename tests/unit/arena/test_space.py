"""The whole app in the environment of a Hugging Face Space: who signs in, who organizes, where votes are
kept.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from arena import ArenaError, Store, create, space, votes_frame
from lab.launch import mirrored
from lab.panel import compose
from lm import load
from tests.arena_canned import answers
from tests.arena_hub import FolderHub
from tests.arena_space import on_a_space, serving
from tests.tiny import tiny

ROOT = Path(__file__).parents[3]
pytest_plugins = ["tests.arena_fixtures"]


@pytest.fixture(scope="module")
def model():
    return load(str(tiny("qwen2")))


def test_the_app_on_a_space_takes_votes_under_logins_and_is_organized_by_its_owner(model, lite, monkeypatch):
    on_a_space(monkeypatch)
    create(lite, "Set", answers(2), repeats=0.0)
    with serving(compose(model, lite)) as call:
        kind, told = call("battle", None, "Ada")
        assert kind == "error" and "Sign in with Hugging Face first" in told
        kind, told = call("battle", "Ada", "")
        assert kind == "complete" and json.loads(told)[0]["battle"]
        for login, end in ((None, "error"), ("Ada", "error"), ("Lab", "complete")):
            assert call("export_all", login, None)[0] == end
        monkeypatch.setenv("TRADEWIND_ORGANIZERS", "ada, bob")
        assert [call("export_all", login, None)[0] for login in ("Ada", "lab")] == ["complete", "error"]


def test_the_app_at_home_takes_names_as_typed_and_is_organized_by_anybody(model, lite, monkeypatch):
    monkeypatch.delenv("OAUTH_CLIENT_ID", raising=False)
    create(lite, "Set", answers(2), repeats=0.0)
    with serving(compose(model, lite)) as call:
        assert call("battle", None, "Ada")[0] == "complete"
        assert call("export_all", None, None)[0] == "complete"


def test_on_a_space_without_a_known_owner_nobody_organizes(monkeypatch):
    on_a_space(monkeypatch)
    monkeypatch.delenv("SPACE_AUTHOR_NAME")
    assert not space.organizes("lab") and not space.organizes("")


def test_organizers_without_a_sign_in_are_refused(monkeypatch):
    monkeypatch.delenv("OAUTH_CLIENT_ID", raising=False)
    monkeypatch.setenv("TRADEWIND_ORGANIZERS", "ada")
    with pytest.raises(ArenaError, match="TRADEWIND_ORGANIZERS.*has no sign-in"):
        space.login()


def test_the_app_on_a_space_without_a_disk_finds_its_votes_again(model, lite, tmp_path, monkeypatch):
    on_a_space(monkeypatch)
    assert mirrored(lite) is None
    monkeypatch.setenv("TRADEWIND_VOTES_REPO", "lab/votes")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "first"))
    create(lite, "Set", answers(2), repeats=0.0)
    hub = FolderHub(tmp_path / "hub")
    mirror = mirrored(lite, hub)
    with serving(compose(model, lite)) as call:
        battle = json.loads(call("battle", "ada", "")[1])[0]["battle"]
        assert call("vote", "ada", battle, "", "a", "tie", "")[0] == "complete"
    mirror.trigger().result(timeout=30)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "second"))
    reborn = Store(f"sqlite:///{tmp_path / 'reborn.sqlite3'}")
    again = mirrored(reborn, hub)
    with reborn.read() as session:
        (vote,) = votes_frame(session).to_dict("records")
    assert (vote["battle"], vote["annotator"], vote["helpful"]) == (battle, "ada", "a")
    mirror.stop(), again.stop()


ENDING = """
import atexit, itertools, time
import app, lab.launch
lab.launch.mirrored = lambda store: atexit.register(print, "pushed", flush=True)
lab.launch.serve = lambda *page: [time.sleep(.1) for _ in itertools.count()]  # as Gradio waits
lab.launch.compose = lambda *parts: print("serving", flush=True)
app.main()
"""


@pytest.mark.slow
def test_a_space_that_is_stopped_pushes_once_more(tmp_path):
    environment = os.environ | {"DATABASE_URL": f"sqlite:///{tmp_path / 'votes.sqlite3'}"}
    command = [sys.executable, "-c", ENDING, "--model", str(tiny("qwen2"))]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    while not process.stdout.readline().endswith("serving\n"):
        assert process.poll() is None
    process.terminate()
    assert process.communicate(timeout=120)[0] == "pushed\n"


FREED = """
class Freed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(.1)

import os, signal
lab.launch.compose = lambda *parts: Freed() and None
app.main()
"""


@pytest.mark.slow
def test_a_space_that_is_stopped_while_it_frees_an_object_ends_as_well(tmp_path):
    environment = os.environ | {"DATABASE_URL": f"sqlite:///{tmp_path / 'votes.sqlite3'}"}
    script = ENDING.replace("app.main()\n", FREED)
    command = [sys.executable, "-c", script, "--model", str(tiny("qwen2"))]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert "Exception ignored in: <function Freed" in ended.stderr
    assert ended.returncode == 0 and ended.stdout.endswith("pushed\n")


@pytest.mark.parametrize(
    "missing", ["SYSTEM", "SPACE_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL"]
)
def test_half_a_sign_in_is_refused(monkeypatch, missing):
    on_a_space(monkeypatch)
    assert space.login()
    monkeypatch.delenv(missing)
    with pytest.raises(ArenaError, match=missing):
        space.login()


def test_votes_on_a_space_lie_on_what_is_mounted_where_it_can_be_written(tmp_path, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("ARENA_JOURNAL", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(space, "DISK", tmp_path / "data")
    (tmp_path / "data").mkdir()
    assert Store().url.database == str(tmp_path / "home" / "tradewind" / "arena.sqlite3")
    on_a_space(monkeypatch)
    on_disk = Store()
    assert on_disk.url.database == str(tmp_path / "data" / "tradewind" / "arena.sqlite3")
    with on_disk.read() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "delete"
    monkeypatch.setattr(space, "DISK", tmp_path / "not mounted")
    assert "home" in Store().url.database
    monkeypatch.setenv("TRADEWIND_DATA", str(tmp_path / "bucket"))
    with Store().read() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "delete"
    assert (tmp_path / "bucket" / "arena.sqlite3").is_file()


def test_whoever_would_lose_votes_is_told(model, lite, monkeypatch):
    assert space.warning(lite.file) == ""
    on_a_space(monkeypatch)
    assert "lost when this Space restarts" in space.warning(lite.file)
    assert "lost when this Space restarts" in str(compose(model, lite).config)
    assert space.warning(None) == "" == space.warning("/data/tradewind/arena.sqlite3")
    monkeypatch.setenv("TRADEWIND_VOTES_REPO", "lab/votes")
    assert space.warning(lite.file) == ""
    assert "lost when this Space restarts" not in str(compose(model, lite).config)


@pytest.mark.parametrize("home", [None, "gone", "file"])
def test_a_user_without_a_home_votes_in_a_folder_of_their_own_and_is_warned(monkeypatch, tmp_path, home):
    """As a container's user is that no passwd file names, or whose home is /nonexistent."""

    def nobody(uid):
        raise KeyError(uid)

    for name in ("HOME", "XDG_DATA_HOME", "DATABASE_URL", "TRADEWIND_DATA", "TRADEWIND_VOTES_REPO"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").write_text("no folder")
    if home:
        monkeypatch.setenv("HOME", str(tmp_path / home))
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = Store()
    assert Path(store.file).is_relative_to(tmp_path / f"tradewind-{os.getuid()}")
    assert "set TRADEWIND_DATA" in space.warning(store.file)
    monkeypatch.setenv("TRADEWIND_DATA", str(tmp_path / "data"))
    assert Path(Store().file).parent == tmp_path / "data" and space.warning(Store().file) == ""
