"""The licences of all that requirements.txt installs: python -m tests.licences"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REQUIREMENTS = Path(__file__).parents[1] / "requirements.txt"
COPYLEFT = re.compile(r"\bA?GPL|(?<!Lesser )General Public", re.IGNORECASE)
"""Licences that would bind the app itself; the lesser GPL does not."""


def wanted(lines: str) -> Iterator[Requirement]:
    """The requirements of a file that this machine installs."""
    for line in lines.splitlines():
        if text := line.split("#")[0].strip():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                yield requirement


def closure(requirements: Iterator[Requirement]) -> dict[str, Distribution]:
    """What they install, and what that needs in turn, by name."""
    packages: dict[str, Distribution] = {}
    waiting = [(requirement, {""}) for requirement in requirements]
    seen = set()
    while waiting:
        requirement, extras = waiting.pop()
        key = canonicalize_name(requirement.name), frozenset(requirement.extras)
        applies = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras
        )
        if not applies or key in seen:
            continue
        seen.add(key)
        package = packages[key[0]] = distribution(requirement.name)
        waiting += [(Requirement(text), requirement.extras | {""}) for text in package.requires or ()]
    return packages


def licence(package: Distribution) -> str:
    """What a package says its licence is: an SPDX expression, its classifiers, or the first line of the text."""
    about = package.metadata
    classifiers = [
        entry.rpartition(" :: ")[2]
        for entry in about.get_all("Classifier", [])
        if entry.startswith("License ::")
    ]
    text = (about.get("License") or "").strip().splitlines()
    return about.get("License-Expression") or ", ".join(classifiers) or (text[0] if text else "")


def main() -> int:
    """Prints a line a package; exit code 1 where a licence is missing or binds the app."""
    try:
        packages = closure(wanted(REQUIREMENTS.read_text()))
    except PackageNotFoundError as error:
        print(f"error: {error}: run pip install -r requirements.txt first.", file=sys.stderr)
        return 2
    licences = {name: licence(package) for name, package in sorted(packages.items())}
    for name, text in licences.items():
        print(f"{name} {packages[name].version}: {text or 'not told'}")
    return int(any(not text or COPYLEFT.search(text) for text in licences.values()))


if __name__ == "__main__":
    sys.exit(main())
