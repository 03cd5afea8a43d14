"""Results of a study with names as long as they may be, in two groups that never met."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from arena import Output, Service, Store, create
from tests.web.conftest import serving

LONG = ["organisation/" + "a-name-that-goes-on-" * 3, "M" * 80]
CELLS = """table => [...table.querySelectorAll("tbody tr")].map(row =>
    [...row.cells].slice(0, 2).map(cell => cell.getBoundingClientRect().toJSON()))"""
"""The first two cells of every row, all at one moment: results are drawn anew while somebody looks."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of its results: Ada has judged all of it."""
    folder: Path = tmp_path_factory.mktemp("results")
    database = f"sqlite:///{folder / 'arena.sqlite3'}"
    with serving(folder, "tests/web/arena_app.py", database, "PORT", "empty") as address:
        store = Store(database)
        groups = {"One": LONG, "Other": ["o" * 70, "short"]}
        outputs = [
            Output(f"{group} {n}", name, f"{name[0]} {n}", tag=f"{group} {'t' * 40}")
            for group, names in groups.items()
            for n in range(3)
            for name in names
        ]
        made = create(store, "N" * 80, outputs, repeats=0.0)
        service = Service(store, votes_a_minute=1_000)
        while shown := service.next("A" * 60, made.set):
            service.vote(shown.battle, "A" * 60, {"helpful": "a", "harmless": "tie"})
        yield f"{address}/?tab=compare&view=results&study={made.set}"


def test_numbers_stand_beside_the_longest_names_on_a_phone(study: str, chrome: Browser) -> None:
    context = chrome.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(study)
    tables = page.locator(".tw-compare table:visible")
    page.get_by_role("columnheader", name="strength").wait_for()
    expect(tables).to_have_count(5)
    for table in tables.all():
        expect(table.locator("tbody tr td").nth(1)).to_be_visible()
        for name, number in table.evaluate(CELLS):
            assert number["left"] >= name["right"] - 1
            assert number["right"] <= 390, table.inner_text()[:80]
    charts = page.locator(".tw-compare .tw-chart:visible")
    expect(charts).to_have_count(4)
    for chart in charts.all():
        chart.scroll_into_view_if_needed()  # a chart is drawn once it is seen
        room = chart.locator(".nsewdrag").first
        expect(room).to_be_visible()
        assert room.evaluate("room => room.getBoundingClientRect().width") > 390 / 3, chart.inner_text()[:80]
    page.get_by_role("tab", name="Studies").click()
    page.wait_for_function(  # a name is no column of letters
        "document.querySelector('td:has(.tw-study)')?.getBoundingClientRect().width >= 160"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    context.close()
