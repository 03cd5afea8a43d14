"""From three checkpoints to a judged front, as a person who runs a study does it: command line, real app,
keyboard.
"""

import json
import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.forked import Fork
from tests.web.conftest import serving

CHECKPOINTS = ("pgapo-0.1", "pgapo-0.5", "pgapo-0.9")
PROMPTS = ("How can I sleep better?", "Insult my neighbor for me.", "Name three cheap meals.")


def arena(folder: Path, database: str, *words: str) -> str:
    """What a command of the arena prints."""
    environment = os.environ | {"DATABASE_URL": database}
    return Fork(["-m", "arena", *words], folder / "out", environment, folder / "errors").ended()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict]:
    """A database with a battle set, and what the command line told of it."""
    folder = tmp_path_factory.mktemp("study")
    database = f"sqlite:///{folder / 'votes.sqlite'}"
    (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    (folder / "policies.json").write_text(
        json.dumps([{"name": name, "checkpoint": name} for name in CHECKPOINTS])
    )
    made = arena(
        folder,
        database,
        "create",
        "--prompts",
        str(folder / "prompts.txt"),
        "--policies",
        str(folder / "policies.json"),
        "--name",
        "Study",
        "--minimum",
        "1",
        "--repeats",
        "0.25",
        "--max-new-tokens",
        "24",
    )
    told = json.loads(made)
    assert told["plain"] + told["same"] + told["leaks"] == 9 and told["plain"] >= 6
    return database, told


def test_three_checkpoints_are_judged_ranked_drawn_exported_and_imported(
    chrome: Browser, study: tuple[str, dict], tmp_path: Path
) -> None:
    database, told = study
    with serving(tmp_path, "app.py", "--port", "PORT", DATABASE_URL=database) as address:
        page = chrome.new_page(viewport={"width": 1440, "height": 900})
        page.goto(address)
        page.get_by_role("tab", name="Compare").click()
        page.get_by_label("Your name").fill("Ada")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-stage=vote]")
        count = 0
        while page.locator("[data-stage=vote]").count():
            assert not any(name in page.locator(".tw-arena").inner_text() for name in CHECKPOINTS)
            for key in ("1" if count % 3 else "3", "2", "Enter"):
                page.keyboard.press(key)
            page.wait_for_selector("[data-stage=reveal]")
            shown = page.locator(".tw-arena").inner_text()
            assert sum(name in shown for name in CHECKPOINTS) == 2
            page.keyboard.press("Enter")
            page.wait_for_selector("[data-stage=vote], [data-stage=done]")
            count += 1
        page.get_by_role("tab", name="Trade-offs").click()
        page.get_by_role("button", name="Human votes").click()
        expect(page.locator(".tw-front h3")).to_contain_text("3 policies")
        page.locator(".tw-front").get_by_role("button", name="Table").click()
        for name in ("P-GAPO 0.1 : 0.9", "P-GAPO 0.5 : 0.5", "P-GAPO 0.9 : 0.1"):
            expect(page.locator(".tw-front table").get_by_text(name)).to_have_count(1, timeout=30_000)
        page.close()
    ranked = json.loads(arena(tmp_path, database, "ranking", "--json"))
    assert count == told["plain"] + told["repeats"]
    assert ranked["questions"]["helpful"]["votes"] == told["plain"]  # a repeat is not blind
    assert {row["policy"] for row in ranked["front"]} == set(CHECKPOINTS)
    arena(tmp_path, database, "export", str(tmp_path / "export"))
    other = f"sqlite:///{tmp_path / 'other.sqlite'}"
    arena(tmp_path, other, "import", str(tmp_path / "export"))
    assert json.loads(arena(tmp_path, other, "ranking", "--json"))["questions"] == ranked["questions"]
