"""What stands in an export for the names of annotators that stay at home."""

import hmac

from sqlalchemy import select
from sqlalchemy.orm import Session

from arena.schema import Annotator, Secret


def pseudonyms(session: Session) -> dict[str, str]:
    """Name -> pseudonym of every annotator: always the same one from this database, another one from any
    other.

    A hash with a key that never leaves the database, so that nobody can try names until one fits.
    """
    key = bytes.fromhex(session.get_one(Secret, "pseudonyms").value)
    return {
        person.name: f"annotator {hmac.digest(key, person.key.encode(), 'sha256').hex()[:12]}"
        for person in session.scalars(select(Annotator))
    }
