"""Proxy settings as desktops write them, made into what httpx takes.
To be imported before Gradio, which opens a client.
"""

import os
import sys

NAMES = ("http_proxy", "https_proxy", "all_proxy")
SCHEMES = ("http", "https", "socks5", "socks5h")


def usable(name: str, value: str) -> str:
    """The address that a setting names, as httpx takes it. Raises ValueError where there is none."""
    scheme, separator, address = value.partition("://")
    if separator and scheme == "socks":  # as GNOME writes it
        return f"socks5://{address}"
    if separator and scheme.lower() not in SCHEMES:
        raise ValueError(
            f"The proxy of {name} begins with {scheme}://: give {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}, or unset it."
        )
    return value


def given() -> list[str]:
    """The names of the settings that are there."""
    return [name for name in os.environ if name.lower() in NAMES and os.environ[name]]


def mend() -> None:
    """Makes the settings usable, or ends the process with one sentence and exit code 2."""
    for name in given():
        try:
            os.environ[name] = usable(name, os.environ[name])
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)


mend()
