"""Where people keep models, and what they paste for one: each is found, or is one sentence with the remedy."""

import errno
import json
import os
import re
import shutil
import socket
from pathlib import Path

import httpx
import pytest

from lm import SourceError, loading
from lm.sources import label_of
from tests.tiny import tiny

SENTENCE = re.compile(r"Model '[^\n]{1,420}\.")


def fetched(name: str) -> Path:
    return loading.fetch(name, lambda *_: None)


def refused(name: str) -> str:
    with pytest.raises(SourceError) as told:
        fetched(name)
    assert SENTENCE.fullmatch(str(told.value)), str(told.value)
    return str(told.value)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder that one works in, which holds one model."""
    shutil.copytree(tiny("llama"), tmp_path / "my model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["a b", "a#b", "a?b", "a%20b", "a,b", "a@b", "a:b", "模型 😀", "e\u0301", "-x", "~tilde", "$HOME", "[x]", "a.safetensors", "model.gguf"],
)  # fmt: skip
def test_a_folder_may_be_called_anything(tmp_path, name):
    shutil.copytree(tiny("llama"), tmp_path / name)
    for written in (str(tmp_path / name), f"{tmp_path / name}/"):
        assert fetched(written) == tmp_path / name
        assert label_of(written) == name


@pytest.mark.parametrize(
    ("written", "place"),
    [("my model", "."), ("./my model/", "."), (".", "my model"), ("..", "my model/below"), ("../my model", "my model")],
)  # fmt: skip
def test_a_folder_is_called_by_its_own_name_from_wherever_it_is_named(here, monkeypatch, written, place):
    (here / place).mkdir(exist_ok=True)
    monkeypatch.chdir(here / place)
    assert fetched(written).samefile(here / "my model")
    assert label_of(written) == "my model"


def test_a_home_is_where_models_may_lie(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    assert fetched("~/my model") == here / "my model"
    assert "is no folder here" in refused("~nosuchuser/my model")


def test_a_folder_of_the_hubs_cache_is_called_by_its_id(tmp_path):
    kept = tmp_path / "models--owner--name"
    snapshot = kept / "snapshots" / ("a" * 40)
    (kept / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(tiny("llama").iterdir()):
        shutil.copy(file, kept / "blobs" / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    assert fetched(str(snapshot)) == snapshot
    assert label_of(str(snapshot)) == "owner/name"


@pytest.mark.parametrize("where", ["/nowhere/blob", "model.safetensors"], ids=["gone", "loop"])
def test_weights_that_are_a_link_to_nothing_are_told_as_that(here, where):
    weights = here / "my model" / "model.safetensors"
    weights.unlink()
    weights.symlink_to(where)
    with pytest.raises(SourceError, match="model.safetensors of my model is a link to a file that is gone"):
        fetched("my model")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_folder_in_place_of_a_file_is_one_sentence(here, file):
    (here / "my model" / file).unlink()
    (here / "my model" / file).mkdir()
    with pytest.raises(SourceError, match=f"{file} cannot be read \\(Is a directory\\)"):
        fetched("my model")


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja", "additional_chat_templates/x.jinja", "model.safetensors"])  # fmt: skip
def test_what_would_be_read_for_ever_is_one_sentence(here, monkeypatch, kind, file):
    path = here / "my model" / file
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    monkeypatch.chdir(path.parent)  # a socket's path is short
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(path.name)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(SourceError) as told:
        fetched(str(here / "my model"))
    assert str(told.value) == f"{path} is a pipe, a socket or a device, and no file: fetch the model again."


def test_a_pipe_in_place_of_a_shard_is_one_sentence(here):
    weights = here / "my model" / "model.safetensors"
    weights.unlink()
    (here / "my model" / "parts").mkdir()
    os.mkfifo(here / "my model" / "parts" / "a.safetensors")
    weights.with_name(f"{weights.name}.index.json").write_text('{"weight_map": {"x": "parts/a.safetensors"}}')
    with pytest.raises(SourceError, match="lacks 1 of 1 weight files, a.safetensors first"):
        fetched("my model")


def test_a_folder_that_may_not_be_read_is_one_sentence(here, monkeypatch):
    def forbidden(folder):  # to root nothing is
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", forbidden)
    assert "is a folder that may not be read: change its rights" in refused("my model")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("https://huggingface.co/owner/name", "give its hub id, owner/name"),
        ("https://huggingface.co/owner/name/tree/main/sub?x=1", "give its hub id, owner/name"),
        ("http://hf-mirror.com/owner/name.git", "give its hub id, owner/name"),
        ("hf.co/owner/name", "give its hub id, owner/name"),
        ("www.huggingface.co/owner/name/", "give its hub id, owner/name"),
        ("https://huggingface.co/datasets/owner/name", "is the page of a dataset on the hub"),
        ("https://hf.co/spaces/owner/name", "is the page of a space on the hub"),
        ("https://huggingface.co", "is an address"),
        ("file:///models/name", "is an address: give the path of a folder"),
        ("hf://owner/name", "is an address"),
        ("owner/name@v1.0", "hf download owner/name --revision v1.0 --local-dir FOLDER"),
        ("owner/name@refs/pr/1", "give owner/name, or fetch that one with"),
        ("name@main", "names a revision"),
        ("owner/name/sub", "is no folder here"),
        ("/" + "x" * 300, "is no folder here"),
        ("~" + "x" * 5_000, "is no folder here"),
        ("/x\0y", "is no folder here"),
        ("C:\\models\\name", "neither a folder here nor a hub id"),
        (" ", "neither a folder here nor a hub id"),
        ("owner/name\n", "neither a folder here nor a hub id"),
        ("a\udc80b", "neither a folder here nor a hub id"),
        ("/dev/null", "is a file"),
    ],
)
def test_what_is_pasted_for_a_model_is_one_sentence_with_what_to_give(name, says):
    assert says in refused(name)


def test_links_that_lead_nowhere_are_told_as_links(here):
    (here / "loop").symlink_to("loop")
    (here / "gone").symlink_to("/nowhere")
    for name in ("loop", "gone"):
        assert "is a link to nothing that can be read" in refused(name)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            httpx.ProxyError("refused"),
            r"could not be fetched from the hub \(HF_ENDPOINT is 'mirror'\) \(refused\)",
        ),
        (
            httpx.UnsupportedProtocol("no http"),
            r"HF_ENDPOINT is 'mirror'\) \(no http\): check the network, its proxy",
        ),
        (httpx.InvalidURL("Invalid port: 'x'"), "Invalid port"),
        (httpx.TooManyRedirects("too many"), "too many"),
        (json.JSONDecodeError("Expecting value", "<html>", 0), "Expecting value"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "no"), "HF_TOKEN holds letters that no token has"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (KeyError("sha"), "'sha' is missing"),
    ],
)
def test_whatever_the_hubs_client_ends_with_is_one_sentence(monkeypatch, error, says):
    def failed(*_, **__):
        raise error

    monkeypatch.setenv("HF_ENDPOINT", "mirror")
    monkeypatch.setattr("huggingface_hub.snapshot_download", failed)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", failed)
    assert re.search(says, refused("owner/name"))
    with pytest.raises(SourceError, match=says):
        loading.check("owner/name")
