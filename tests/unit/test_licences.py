"""No dependency's licence binds the app."""

import pytest

from tests.licences import COPYLEFT, main


def test_no_dependency_binds_the_app(capsys):
    assert main() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("licence", "binds"),
    [
        ("GPL-3.0-only", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("AGPL-3.0-or-later", True),
        ("GNU Affero General Public License v3", True),
        ("LGPL-3.0-only", False),
        ("GNU Lesser General Public License v3 or later (LGPLv3+)", False),
        ("MIT", False),
    ],
)
def test_what_binds_is_told_from_what_does_not(licence, binds):
    assert bool(COPYLEFT.search(licence)) == binds
