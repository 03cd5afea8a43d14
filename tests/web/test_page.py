"""The page that app.py composes: one frame around all tabs."""

import pytest
from playwright.sync_api import Page, Route, expect

TABS = ("Steer", "Compare", "About")


@pytest.mark.parametrize("width", [390, 1440])
def test_every_tab_has_the_same_frame(app: str, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(app)
    frames = []
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        box = page.locator(".tw-head").bounding_box()
        frames.append((box["x"], box["width"]))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(set(frames)) == 1
    x, wide = frames[0]
    assert x == pytest.approx(width - x - wide, abs=1) and wide >= 0.9 * width


def test_the_switch_waits_for_its_script(app: str, page: Page) -> None:
    held: list[Route] = []
    page.route("**/tw/shared/head.js", lambda route: held.append(route))
    with page.expect_request("**/tw/shared/head.js"):
        page.goto(app, wait_until="commit")
    switch = page.locator(".tw-theme")
    expect(switch).to_be_disabled()
    held[0].continue_()
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "true")


KEPT = """async () => [localStorage.length, document.cookie, (await caches.keys()).length, (await indexedDB.databases()).length,
  (await navigator.permissions.query({ name: 'clipboard-read' })).state === 'granted']"""
KEEP = """async () => {
  localStorage.setItem('mine', '1');
  document.cookie = 'mine=1';
  await caches.open('mine');
  await new Promise((resolve) => { indexedDB.open('mine').onsuccess = resolve; });
}"""


@pytest.mark.parametrize("turn", ["first", "second"])
def test_nothing_is_left_of_the_page_of_another_test(app: str, page: Page, turn: str) -> None:
    page.goto(f"{app}/health")
    assert page.evaluate(KEPT) == [0, "", 0, 0, False]
    page.evaluate(KEEP)
    page.context.grant_permissions(["clipboard-read"])
    assert page.evaluate(KEPT) == [1, "mine=1", 1, 1, True]
