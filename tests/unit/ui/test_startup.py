"""A start that fails is one sentence with the remedy, exit code 2, and never a traceback."""

import errno
import os
import socket

import pytest

from lm import SourceError
from ui import proxies
from ui.proxies import NAMES as PROXIES
from ui.startup import attempt, check_address, explained, without_proxies


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
        ("h:3128", "h:3128"),
        ("HTTP://h:1", "HTTP://h:1"),
    ],
)
def test_a_proxy_as_desktops_write_it(monkeypatch, given, used):
    monkeypatch.setenv("ALL_PROXY", given)
    proxies.mend()
    assert os.environ["ALL_PROXY"] == used


@pytest.mark.parametrize("given", ["socks4://h:1", "ftp://h", "://"])
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
