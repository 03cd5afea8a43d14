"""The page that app.py composes: one frame around all tabs."""

import pytest
from playwright.sync_api import Page

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
