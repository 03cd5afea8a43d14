"""Proxy settings as desktops and people write them, made into what httpx takes.
To be imported before Gradio, which opens a client.
"""

import os
import sys
from ipaddress import IPv6Network
from urllib.parse import quote, unquote

NAMES = ("http_proxy", "https_proxy", "all_proxy")
SCHEMES = ("http", "https", "socks5", "socks5h")
AROUND = " \t\r\n'\""
"""What a file of settings leaves around a value."""


def usable(name: str, value: str) -> str:
    """The address that a setting names, as httpx takes it. Raises ValueError where there is none."""
    import httpx

    scheme, separator, address = value.strip(AROUND).partition("://")
    if not separator:
        scheme, address = "http", scheme
    if scheme == "socks":  # as GNOME writes it
        scheme = "socks5"
    if scheme.lower() not in SCHEMES:
        raise ValueError(
            f"The proxy of {name} begins with {scheme}://: give {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}, or unset it."
        )
    who, at, host = address.rpartition("@")
    user, colon, password = who.partition(":")
    url = f"{scheme}://{_quoted(user)}{colon}{_quoted(password)}{at}{host}"
    try:
        known = httpx.Proxy(httpx.URL(url)).url
        fits = bool(known.host) and not any(map(str.isspace, host)) and (known.port or 1) < 2**16
    except Exception:  # any error of httpx and its parts
        fits = False
    if not fits:
        raise ValueError(
            f"The proxy of {name} is {host!r}, which is no address: give host:port, or unset it."
        )
    return url


def _quoted(part: str) -> str:
    """A user or a password with the letters that mean something in an address."""
    return quote(unquote(part), safe="")


def passing(value: str) -> str:
    """The hosts of no_proxy, as httpx takes them: IPv6 without brackets and for single addresses alone."""
    return ",".join(filter(None, map(_host, value.strip(AROUND).split(","))))


def _host(entry: str) -> str:
    import httpx

    entry = entry.strip(AROUND)
    try:
        network = IPv6Network(entry.replace("[", "").replace("]", ""), strict=False)
        return str(network.network_address) if network.num_addresses == 1 else ""
    except ValueError:
        pass
    try:
        httpx.URL(entry if "://" in entry else f"all://*{entry}")
    except Exception:  # any error: httpx would raise it whenever a client is opened
        return ""
    return entry


def variables() -> list[str]:
    """The names of the settings that are there."""
    return [name for name in os.environ if name.lower() in NAMES and os.environ[name]]


def mend() -> None:
    """Makes the settings usable, or ends the process with one sentence and exit code 2."""
    for name in variables():
        if not os.environ[name].strip(AROUND):
            del os.environ[name]
            continue
        try:
            os.environ[name] = usable(name, os.environ[name])
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
    for name in ("no_proxy", "NO_PROXY"):
        if name in os.environ:
            os.environ[name] = passing(os.environ[name])


mend()
