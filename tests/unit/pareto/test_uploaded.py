"""Checkpoints that visitors upload: read whole or refused in one sentence, and gone from the disk either way."""

import json
import re
import stat
import zipfile
from pathlib import Path

import pytest
import torch

from lm import Adapter, load
from lm.peft_folder import WEIGHTS as ADAPTER
from pareto import checkpoint
from pareto.checkpoint import CARD, CheckpointError
from pareto.controller import Controller
from pareto.front import Front
from pareto.function import FunctionReward
from pareto.uploaded import MAX_MEMBERS, unpacked
from tests.tiny import LAYERS, WIDTH, tiny

BOMB = b"\0" * 70_000_000


@pytest.fixture(scope="module")
def model():
    return load(str(tiny("llama")))


@pytest.fixture
def folder(model, tmp_path) -> Path:
    """A checkpoint as training writes it."""
    dice = torch.Generator().manual_seed(7)
    factors = torch.randn(2, WIDTH, generator=dice), torch.randn(WIDTH, 2, generator=dice)
    card = {"name": "mine", "method": "pgapo", "preference": [0.3, 0.7], "steps": 5, "seed": 0, "base_model": "tiny", "base_hash": model.hash}  # fmt: skip
    checkpoint.save(tmp_path / "mine", Adapter({(LAYERS - 1, "o_proj"): factors}), card, [])
    return tmp_path / "mine"


@pytest.fixture
def controller(model, tmp_path) -> Controller:
    rewards = {name: FunctionReward(lambda prompt, text: len(text)) for name in ("helpful", "harmless")}
    front = Front(model.name, model.hash, (-2.0, -2.0), ())
    return Controller(model, front, [], lambda: rewards, tmp_path / "none", {})


def zipped(path: Path, members: dict[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def contents(folder: Path, under: str = "") -> dict[str | zipfile.ZipInfo, bytes]:
    return {f"{under}{file.name}": file.read_bytes() for file in folder.iterdir()}


def refusal(files: list[Path]) -> str:
    """The one sentence with which files are refused."""
    with pytest.raises(CheckpointError) as told, unpacked(files):
        pass
    assert re.fullmatch(r"[^\n]{20,240}\.", str(told.value))
    return str(told.value)


@pytest.mark.parametrize("under", ["", "mine/", "runs/3/mine/"])
def test_a_zip_is_scored_for_its_own_visitor_and_leaves_nothing_behind(controller, folder, tmp_path, under):
    more = {
        "__MACOSX/._card.json": b"\0",
        f"{under}README.md": b"# Mine",
        f"{under}optimizer.pt": b"\x80pickle",
    }
    file = zipped(tmp_path / "mine.zip", {**contents(folder, under), **more})
    state, new = list(controller.score("a", {}, [file]))[-1]
    assert new and state["done"] == state["done"].strip() and "24 prompts" in state["note"]
    assert state["done"] in controller.session("a").checkpoints
    assert state["done"] not in controller.session("b").checkpoints and not controller.checkpoints
    assert not file.exists()


def test_the_files_of_a_folder_are_a_checkpoint_too(folder):
    files = [*folder.iterdir()]
    with unpacked(files) as place:
        assert contents(place) == contents(folder)
    assert not place.exists()


def test_an_adapter_without_a_card_is_called_as_its_zip(model, folder, tmp_path):
    (folder / CARD).unlink()
    with unpacked([zipped(tmp_path / "my run, 1.zip", contents(folder))]) as place:
        assert checkpoint.Checkpoint.load(place, model).id == "my-run-1"


def test_nobody_names_a_file_of_the_server_for_an_upload(controller, folder):
    state, new = list(controller.score("a", {"upload": [str(folder)], "files": [str(folder)]}))[-1]
    assert (
        not new and state["problem"] == "There is nothing to score: give a checkpoint's folder or its hub id."
    )


@pytest.mark.parametrize(
    "name", [f"../{ADAPTER}", f"/tmp/{ADAPTER}", f"a/../../{ADAPTER}", f"..\\{ADAPTER}", "../evil.txt"]
)
def test_no_member_leads_out_of_the_folder(folder, tmp_path, name):
    file = zipped(tmp_path / "a.zip", {**contents(folder), name: b"x"})
    assert "outside of its folder" in refusal([file])
    assert not (tmp_path.parent / ADAPTER).exists()


def test_no_link_is_followed(folder, tmp_path):
    link = zipfile.ZipInfo("card.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    members = {name: content for name, content in contents(folder).items() if name != "card.json"}
    assert "a link" in refusal([zipped(tmp_path / "a.zip", {**members, link: b"/etc/passwd"})])


def test_a_bomb_is_refused_by_what_it_unpacks_to(tmp_path):
    file = zipped(tmp_path / "a.zip", {ADAPTER: BOMB})
    assert file.stat().st_size < 100_000
    assert "unpacks to 70,000,000 bytes" in refusal([file])


def test_members_are_counted(folder, tmp_path):
    many = {f"{number}.txt": b"" for number in range(MAX_MEMBERS)}
    assert "members" in refusal([zipped(tmp_path / "a.zip", {**contents(folder), **many})])


def test_two_checkpoints_are_refused(folder, tmp_path):
    both = {**contents(folder, "a/"), **contents(folder, "b/")}
    assert f"holds 2 {ADAPTER}" in refusal([zipped(tmp_path / "a.zip", both)])


@pytest.mark.parametrize("under", ["", "run/"])
def test_the_folder_of_a_trainer_is_its_last_adapter_and_not_those_of_its_steps(
    model, folder, tmp_path, under
):
    steps = {f"{under}checkpoint-{step}/{ADAPTER}": b"cut" for step in (5, 10)}
    with unpacked([zipped(tmp_path / "a.zip", {**steps, **contents(folder, under)})]) as place:
        assert checkpoint.Checkpoint.load(place, model).name == "mine"


def test_a_folder_of_steps_alone_says_which_to_give(model, folder, tmp_path):
    (tmp_path / "run").mkdir()
    folder.rename(tmp_path / "run" / "checkpoint-10")
    with pytest.raises(
        CheckpointError,
        match=r"run holds adapters in folders of their own, such as checkpoint-10: give run/checkpoint-10\.",
    ):
        checkpoint.Checkpoint.load(tmp_path / "run", model)


@pytest.mark.parametrize("name", ["adapter_model.bin", "model.pt", "weights.pkl", "notes.txt"])
def test_pickles_are_not_read(tmp_path, name):
    assert "no adapter_model.safetensors" in refusal([zipped(tmp_path / "a.zip", {name: b"\x80\x04."})])
    (tmp_path / name).write_bytes(b"\x80\x04.")
    assert "no adapter_model.safetensors" in refusal([tmp_path / name])


def test_what_is_no_zip_is_called_so(folder, tmp_path):
    file = tmp_path / "nozip.zip"
    for content in (b"", b"hello", b"PK\x03\x04"):
        file.write_bytes(content)
        assert refusal([file]).startswith("nozip.zip is no zip")
    whole = zipped(tmp_path / "a.zip", contents(folder))
    for files in ([whole, folder / CARD], [folder / CARD, whole], [whole, file]):
        assert "a.zip is one of 2 files: give a zip alone" in refusal(files)


@pytest.mark.parametrize("damage", [slice(0, -40), slice(0, 30)])
def test_a_damaged_zip_is_one_sentence(folder, tmp_path, damage):
    file = zipped(tmp_path / "a.zip", contents(folder))
    file.write_bytes(file.read_bytes()[damage])
    refusal([file])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (CARD, b"\xff\xfe"), (CARD, b"[" * 100_000), (CARD, b"[]"), (CARD, json.dumps({"method": 1}).encode()),
        ("adapter_config.json", b"\xff"), ("adapter_config.json", b"[" * 100_000), ("adapter_config.json", b"{}"),
        (ADAPTER, b"\xff" * 100), ("curves.jsonl", b"\xff\n"), ("curves.jsonl", b"[" * 100_000), ("curves.jsonl", b"[1]\n2\n"),
        ("curves.jsonl", b'{"step": "x"}\n{"step": "y"}\n'),
        ("curves.jsonl", b'{"step": 1, "kl": 1%s, "reward": {"helpful": 1}, "shares": [1]}' % (b"0" * 400)),
    ],
)  # fmt: skip
def test_what_is_inside_is_one_sentence_and_no_traceback(controller, folder, tmp_path, caplog, name, content):
    (folder / name).write_bytes(content)
    if name == ADAPTER:
        (folder / CARD).unlink()
    state, new = list(controller.score("a", {}, [zipped(tmp_path / "a.zip", contents(folder))]))[-1]
    assert not new and re.fullmatch(r"[^\n]{20,300}[.]", state["problem"])
    assert "Traceback" not in caplog.text and "on the server" not in state["problem"]
