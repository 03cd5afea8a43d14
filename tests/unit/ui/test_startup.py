"""A start that fails is one sentence with the remedy, exit code 2, and never a traceback."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from lm import SourceError
from ui import proxies
from ui.proxies import NAMES as PROXIES
from ui.startup import attempt, check_address, explained, without_proxies

ROOT = Path(__file__).parents[3]


def failed(capsys: pytest.CaptureFixture, error: BaseException, debug: bool = False) -> str:
    def start() -> None:
        raise error

    assert attempt(start, debug) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "cannot be written"),
        (errno.EACCES, "rights"),
    ],
)
def test_a_disk_that_takes_nothing(capsys, number, says):
    told = failed(capsys, OSError(number, os.strerror(number), "/data/votes"))
    assert says in told and "/data/votes" in told and "TRADEWIND_CACHE" in told and "--debug" in told


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the folder holds no model"),
        KeyError("model.layers.0"),
        RuntimeError("several\nlines\n\nof it"),
        OSError("no such thing"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ImportError("No module named 'x'"),
        MemoryError(),
    ],
)
def test_whatever_it_is_it_is_one_line(capsys, error):
    assert failed(capsys, error).rstrip().endswith("story.")
    assert "--debug" not in failed(capsys, error, debug=True)


def test_debug_logs_the_whole_story(capsys, caplog):
    failed(capsys, ValueError("no model"), debug=True)
    assert "Traceback" in caplog.text and "no model" in caplog.text


@pytest.mark.parametrize("name", [*PROXIES, *(name.upper() for name in PROXIES)])
def test_a_proxy_is_named_by_its_setting(monkeypatch, name):
    monkeypatch.setenv(name, "socks://127.0.0.1:1")
    error = ValueError("Unknown scheme for proxy URL URL('socks://127.0.0.1:1')")
    assert name in explained(error) and "unset it" in explained(error)
    with without_proxies():
        assert name not in os.environ
    assert os.environ[name] == "socks://127.0.0.1:1"


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("127.0.0.1", 0, "Port is 0"),
        ("127.0.0.1", 65_536, "Port is 65536"),
        ("127.0.0.1", -1, "Port is -1"),
        ("no such host", 7860, "Host is 'no such host'"),
        ("x" * 300, 7860, "Host is"),
        ("192.0.2.1", 7860, "no address of this machine"),
    ],
)
def test_an_address_that_is_none(host, port, says):
    with pytest.raises(ValueError, match=says):
        check_address(host, port)


def test_a_port_that_is_taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} is in use"):
            check_address("127.0.0.1", port)
    check_address("127.0.0.1", port)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("socks://h:1", "socks5://h:1"),
        ("socks5h://h:1", "socks5h://h:1"),
        ("h:3128", "http://h:3128"),
        (' "http://h:1"\n', "http://h:1"),
        ("socks5://[::1]:9", "socks5://[::1]:9"),
        ("http://us%40er:p@ss:w/o#r?d@h:1", "http://us%40er:p%40ss%3Aw%2Fo%23r%3Fd@h:1"),
        ("user@h:1", "http://user@h:1"),
        ("HTTP://h:1", "HTTP://h:1"),
    ],
)
def test_a_proxy_as_desktops_write_it(monkeypatch, given, used):
    monkeypatch.setenv("ALL_PROXY", given)
    proxies.mend()
    assert os.environ["ALL_PROXY"] == used


@pytest.mark.parametrize(
    "given",
    [
        "socks4://h:1",
        "ftp://h",
        "://",
        "direct://",
        "http://h:port",
        "http://h:99999",
        "http://[::1:9",
        "http://",
        "a b:1",
    ],
)
def test_a_proxy_of_no_kind_ends_the_start(monkeypatch, capsys, given):
    monkeypatch.setenv("https_proxy", given)
    with pytest.raises(SystemExit) as ended:
        proxies.mend()
    told = capsys.readouterr().err
    assert ended.value.code == 2 and told.count("\n") == 1 and "https_proxy" in told


def test_a_model_that_cannot_be_had_is_no_fault_of_the_app():
    assert explained(SourceError("Model 'x' is no folder here: check the path.")) == (
        "Model 'x' is no folder here: check the path."
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("localhost, 127.0.0.1,.example.com,10.0.0.0/8", "localhost,127.0.0.1,.example.com,10.0.0.0/8"),
        ("::1,[::1],::1/128,fe80::/10", "::1,::1,::1"),
        ("*", "*"),
        ("h:80,h:port,é,", "h:80"),
        ("", ""),
    ],
)
def test_hosts_without_a_proxy_are_those_that_a_client_takes(monkeypatch, given, kept):
    for name in (*proxies.variables(), "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", given)
    monkeypatch.setenv("http_proxy", "http://h:1")
    proxies.mend()
    assert os.environ["no_proxy"] == kept
    httpx.Client(trust_env=True).close()


def test_a_proxy_of_blanks_is_none(monkeypatch):
    monkeypatch.setenv("https_proxy", "  ")
    proxies.mend()
    assert "https_proxy" not in os.environ


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        (
            {"GRADIO_SERVER_PORT": "abc"},
            "argument --port: 'abc' is no whole number: give one from 1 to 65,535.",
        ),
        ({"GRADIO_SERVER_PORT": "70000"}, "argument --port: 70000 is out of range"),
        ({"TRADEWIND_MODELS_IN_MEMORY": "many"}, "argument --models-in-memory: 'many' is no whole number"),
        ({"TRADEWIND_PREPARE": "perhaps"}, "TRADEWIND_PREPARE is 'perhaps': give 1, or 0."),
        ({"https_proxy": "http://h:port"}, "The proxy of https_proxy is 'h:port'"),
        ({"HF_HUB_DOWNLOAD_TIMEOUT": "long"}, "A variable of the hub's client (HF_...) cannot be used"),
        ({"GRADIO_SERVER_NAME": "http://127.0.0.1", "GRADIO_SERVER_PORT": ""}, "Host is 'http://127.0.0.1'"),
    ],
)
def test_the_environment_is_refused_in_one_sentence_before_anything_is_loaded(variables, says):
    told, imported = refused(variables)
    assert says in told and not imported & {"torch", "gradio"}


def test_a_port_that_is_taken_is_told_before_anything_is_loaded():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        told, imported = refused({"GRADIO_SERVER_PORT": port})
    assert f"port {port} is in use" in told.lower() and not imported & {"torch", "gradio"}


def refused(variables: dict[str, str]) -> tuple[str, set[str]]:
    """The one sentence with which the app does not start, and the modules that it had imported by then."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "app.py"],
        env=os.environ | variables, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    (told,) = (line for line in lines if not line.startswith("import time:"))
    assert done.returncode == 2
    return told, {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("lab", "/lab"),
        ("/lab/", "/lab"),
        (" lab/a/ ", "/lab/a"),
        ("/", ""),
        ("", ""),
        ("https://h/lab/", "https://h/lab"),
    ],
)
def test_a_root_path_is_understood_however_its_slashes_stand(given, used):
    code = "import ui.listening, os; print(os.environ['GRADIO_ROOT_PATH'])"
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"GRADIO_ROOT_PATH": given},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert told.stdout.strip() == used


@pytest.mark.parametrize(
    "words", [["app.py"], ["tradewind.py"], ["tradewind.py", "steering", "generate"], ["tradewind.py", "arena", "ranking"]]
)  # fmt: skip
def test_a_start_in_a_folder_that_is_gone_is_one_sentence(tmp_path, words):
    here = tmp_path / "here"
    here.mkdir()
    script = f"rmdir {here} && exec {sys.executable} {ROOT / words[0]} {' '.join(words[1:])}"
    done = subprocess.run(["sh", "-c", script], cwd=here, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: The current folder has been deleted: change to another one with cd.\n"
