"""Who is asked to sign in, and who may organize: settings of an app that runs on a Hugging Face Space."""

from __future__ import annotations

import os

from arena.errors import ArenaError

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

    Raises ArenaError where organizers are named and nobody can sign in as one, and where a part of what sign-in needs
    is missing: Gradio would then take every visitor for the owner of HF_TOKEN.
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
    """Whether a person may make, export and import battle sets: everybody where names are typed (your own
    machine).

    Of logins those that TRADEWIND_ORGANIZERS names, separated by commas; where it is unset, the owner of the
    Space.
    """
    named = os.environ.get("TRADEWIND_ORGANIZERS", os.environ.get("SPACE_AUTHOR_NAME", ""))
    return not login() or person.casefold() in {name.strip().casefold() for name in named.split(",")} - {""}
