"""A start that fails says why in one sentence: the one place where errors of a start end."""

import errno
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ui import proxies
from ui.validation import sentence

log = logging.getLogger(__name__)
MAX_PORT = 65_535
DISK = {
    errno.ENOSPC: "The disk of {file} is full: free some space, or name another folder by {setting}",
    errno.EDQUOT: "The quota of {file} is used up: free some space, or name another folder by {setting}",
    errno.EROFS: "{file} cannot be written: name another folder by {setting}",
    errno.EACCES: "{file} may not be read or written: change its rights, or name another folder by {setting}",
    errno.EPERM: "{file} may not be read or written: change its rights, or name another folder by {setting}",
}
SETTING = "TRADEWIND_CACHE (models and vectors), DATABASE_URL (votes) or TMPDIR"
MORE = "Start with --debug for the whole story."


def attempt(start: Callable[[], object], debug: bool) -> int:
    """The exit code of a start: 2 and one sentence on stderr where it fails,
    and the traceback before it with debug.
    """
    try:
        start()
    except Exception as error:
        if debug:
            log.error("the start failed", exc_info=error)
        print(f"error: {explained(error)}{'' if debug else ' ' + MORE}", file=sys.stderr)
        return 2
    return 0


def explained(error: Exception) -> str:
    """What keeps the app from starting, with the remedy."""
    if isinstance(error, OSError) and error.errno in DISK:
        file = error.filename or "the app's folder"
        return sentence(ValueError(DISK[error.errno].format(file=file, setting=SETTING)))
    if proxy := _proxy(error):
        return f"The proxy of {proxy} cannot be used ({_line(error)}): mend it, or unset it."
    if str(error) and (isinstance(error, (ValueError, OSError)) or _is_of_a_source(error)):
        return sentence(ValueError(_line(error)))
    return f"The start failed by a fault of the app ({type(error).__name__}: {_line(error)}): update it, or report this."


def _is_of_a_source(error: Exception) -> bool:
    from lm import SourceError  # imported late: it takes seconds, and a wrong address is told first

    return isinstance(error, SourceError)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _proxy(error: Exception) -> str:
    """The settings of a proxy that an error is about."""
    message = str(error).lower()
    return " and ".join(proxies.variables()) if "proxy" in message or "socks" in message else ""


def check_address(host: str, port: int) -> None:
    """Raises ValueError where nothing can listen on a port of an address."""
    if not 1 <= port <= MAX_PORT:
        raise ValueError(f"Port is {port}: give a number from 1 to {MAX_PORT:,}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError):
        raise ValueError(
            f"Host is {host!r}, which is no address: give 127.0.0.1, or 0.0.0.0 for all."
        ) from None
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise ValueError(_unbound(host, port, error)) from None


def _unbound(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use: end the other program, or give another with --port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} is kept for the system: give one above 1023 with --port"
    return f"host is {host!r}, which is no address of this machine: give 127.0.0.1, or 0.0.0.0 for all"


@contextmanager
def without_proxies() -> Iterator[None]:
    """No proxy stands between this process and itself: Gradio asks its own server whether it is up."""
    settings = {name: os.environ.pop(name) for name in proxies.variables()}
    try:
        yield
    finally:
        os.environ |= settings
