"""Settings of an app that runs on a Hugging Face Space: who signs in, who organizes,
where votes outlive a restart.
"""

import os
from pathlib import Path

import platformdirs

from arena.errors import ArenaError
from common.folders import expanded, temporary

DISK = Path("/data")
"""Where a Space's persistent storage or a bucket is mounted; TRADEWIND_DATA names another place."""
FLEETING = (
    "The votes are lost when this Space restarts, for they lie on its own disk: mount storage at /data, set DATABASE_URL "
    "to a PostgreSQL, or set TRADEWIND_VOTES_REPO to a dataset repository."
)
HOMELESS = (
    "This app's user has no home folder, and the votes lie in a temporary one, which the system empties: set TRADEWIND_DATA "
    "to a folder that stays, or DATABASE_URL to a PostgreSQL."
)

SIGN_IN = (
    "SYSTEM",
    "SPACE_ID",
    "SPACE_HOST",
    "OAUTH_CLIENT_ID",
    "OAUTH_CLIENT_SECRET",
    "OAUTH_SCOPES",
    "OPENID_PROVIDER_URL",
)
"""What a Space with hf_oauth: true sets."""


def login() -> bool:
    """Whether votes are taken under Hugging Face logins: on a Space whose README says `hf_oauth: true`.

    Raises ArenaError where organizers are named and nobody can sign in as one, and where a part of what
    sign-in needs is missing: Gradio would then take every visitor for the owner of HF_TOKEN.
    """
    if "OAUTH_CLIENT_ID" in os.environ:
        missing = [name for name in SIGN_IN if not os.environ.get(name)]
        if missing or os.environ["SYSTEM"] != "spaces":
            raise ArenaError(
                f"OAUTH_CLIENT_ID asks for sign-in, which works on a Space alone, and {', '.join(missing) or 'SYSTEM=spaces'} "
                "is missing. Unset OAUTH_CLIENT_ID, or run on a Space with hf_oauth: true."
            )
        return True
    if "TRADEWIND_ORGANIZERS" in os.environ:
        raise ArenaError(
            "TRADEWIND_ORGANIZERS names Hugging Face logins, but this app has no sign-in: anybody could type such a name. "
            "Unset it, or run on a Space with hf_oauth: true."
        )
    return False


def organizes(person: str) -> bool:
    """Whether a person may make, export and import studies: everybody where names are typed (your own
    machine).

    Of logins those that TRADEWIND_ORGANIZERS names, separated by commas; where it is unset, the owner of the
    Space.
    """
    named = os.environ.get("TRADEWIND_ORGANIZERS", os.environ.get("SPACE_AUTHOR_NAME", ""))
    return not login() or person.casefold() in {name.strip().casefold() for name in named.split(",")} - {""}


def folder() -> Path:
    """Where votes lie unless DATABASE_URL says otherwise: TRADEWIND_DATA, a Space's mounted disk,
    or the user's data.
    """
    if named := os.environ.get("TRADEWIND_DATA"):
        return expanded(named)
    if _on_a_space() and os.access(DISK, os.W_OK):
        return DISK / "tradewind"
    return _users_data() or temporary() / "votes"


def _users_data() -> Path | None:
    try:
        data = Path(platformdirs.user_data_dir("tradewind"))
    except RuntimeError:  # a user without a home
        return None
    home = os.path.expanduser("~")  # which may be named and not there
    return None if data.is_relative_to(home) and not os.path.isdir(home) else data


def mounted(file: Path) -> bool:
    """Whether a file lies on what is mounted on a Space: a network folder, where SQLite's WAL is not safe."""
    places = [DISK, expanded(os.environ.get("TRADEWIND_DATA") or DISK)]
    return _on_a_space() and any(file.absolute().is_relative_to(place) for place in places)


def warning(file: str | None) -> str:
    """What to say at the start, to organizers and before judging where a restart takes the votes; else
    nothing.

    file: SQLite's; None where a server keeps the votes.
    """
    lasting = file is None or mounted(Path(file)) or "TRADEWIND_VOTES_REPO" in os.environ
    if _on_a_space() and not lasting:
        return FLEETING
    named = os.environ.get("DATABASE_URL") or os.environ.get("TRADEWIND_DATA")
    return HOMELESS if not (lasting or named or _users_data()) else ""


def _on_a_space() -> bool:
    return os.environ.get("SYSTEM") == "spaces"
