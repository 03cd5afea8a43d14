"""The front in a browser: selected in plot and table alike, filtered, on other axes, by its trainings, taken along."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.web.conftest import serving
from tests.web.pareto_app import ENDS, SHIPPED

POINTS = len(SHIPPED) + len(ENDS) + 2
PLOT = ".tw-front .tw-plot"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("views")
    with serving(folder, "tests/web/pareto_app.py", str(folder), "PORT") as found:
        yield found


@pytest.fixture
def front(address: str, page: Page) -> Page:
    page.goto(f"{address}?tab=tradeoffs&max_new_tokens=8")  # the answers are not looked at
    page.get_by_role("tab", name="Trade-offs").click()
    page.wait_for_selector(f"{PLOT} .scatterlayer .trace")
    return page


def aside(page: Page) -> Locator:
    """Rows that are not selected."""
    return page.locator(".tw-sorted tr.tw-aside")


def test_a_box_in_the_plot_selects_rows(front: Page) -> None:
    front.get_by_role("button", name="selects").click()
    front.wait_for_function(f"document.querySelector('{PLOT}')._fullLayout.dragmode === 'select'")
    box = front.locator(f"{PLOT} .nsewdrag").first.bounding_box()
    front.mouse.move(box["x"] + 2, box["y"] + 2)
    front.mouse.down()
    front.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=8)
    front.mouse.up()
    clear = front.get_by_role("button", name="Clear selection")
    expect(clear).to_be_visible()
    expect(aside(front)).not_to_have_count(POINTS)
    expect(aside(front).first).to_be_visible()
    clear.click()
    expect(clear).to_be_hidden()
    expect(aside(front)).to_have_count(0)


def test_rows_that_are_taken_in_by_keyboard_are_selected_in_the_plot(front: Page) -> None:
    front.locator(".tw-sorted tbody tr").first.focus()
    for _ in range(2):
        front.keyboard.press("Shift+ArrowDown")
    expect(front.get_by_role("button", name="Clear selection of 3")).to_be_visible()
    expect(aside(front)).to_have_count(POINTS - 3)
    chosen = f"document.querySelector('{PLOT}').data.reduce((sum, each) => sum + (each.selectedpoints?.length ?? 0), 0)"
    front.wait_for_function(f"{chosen} === 3")


def test_methods_and_preferences_filter_plot_and_table_alike(front: Page) -> None:
    rows = front.locator(".tw-sorted tbody tr")
    expect(rows).to_have_count(POINTS)
    front.get_by_role("button", name="P-GAPO").first.click()
    expect(rows).to_have_count(POINTS - 3)
    front.get_by_label("Preference, from λ helpful").fill("0.6")
    expect(rows).to_have_count(POINTS - 3 - 2)
    title = front.locator(".tw-front h3").first
    expect(title).to_have_text(f"{POINTS - 5} of {POINTS} points are shown, 1 of them dominated")
    ids = f"document.querySelector('{PLOT}').data.flatMap((each) => each.customdata ?? []).length"
    front.wait_for_function(f"{ids} === {POINTS - 5}")
    front.get_by_role("button", name="Show all").click()
    expect(rows).to_have_count(POINTS)
    expect(title).not_to_contain_text("shown")


def test_one_seed_has_the_values_of_that_training(front: Page) -> None:
    front.get_by_label("Seed of the training").select_option("1")
    expect(front.locator(".tw-sorted tbody tr")).to_have_count(2)
    expect(front.locator(".tw-sorted tbody tr", has_text="pgapo-0.5 name")).to_contain_text("0.40")
    expect(front.locator(".tw-front h3").first).to_have_text(
        f"2 of {POINTS} points are shown, 1 of them dominated"
    )
    expect(front.locator(".tw-front .tw-note").first).to_contain_text(
        "as seed 1 left them, without intervals"
    )


def test_parallel_axes_and_trainings_have_addresses(front: Page, address: str) -> None:
    front.get_by_role("button", name="Parallel axes").click()
    front.wait_for_url(lambda url: "view=parallel" in url)
    plot = front.locator(PLOT).bounding_box()
    assert plot and plot["width"] > 0.9 * front.locator(".tw-front").bounding_box()["width"], "axes have room"
    lines = f"document.querySelector('{PLOT}').data.filter((each) => each.mode === 'lines+markers').length"
    front.wait_for_function(f"{lines} === {POINTS}")
    front.get_by_role("button", name="Training", exact=True).click()
    front.get_by_label("What is drawn over the steps").select_option("beta")
    expect(front.locator(".tw-front h3")).to_have_text("Beta in training")
    front.wait_for_function(f"document.querySelector('{PLOT}').data.length >= {len(SHIPPED) + len(ENDS)}")


def test_arrow_keys_read_the_points(front: Page) -> None:
    front.locator(PLOT).focus()
    heard = front.locator(".tw-front .tw-heard")
    front.keyboard.press("ArrowRight")
    expect(heard).to_contain_text("linear-0 name")
    front.keyboard.press("ArrowUp")
    expect(heard).to_contain_text("linear-0 name")
    front.keyboard.press("ArrowDown")
    expect(heard).to_contain_text("pgapo-0.1 name")


def test_a_zoom_says_so_and_lets_go(front: Page) -> None:
    reset = front.locator(".tw-front").get_by_role("button", name="Reset zoom")
    expect(reset).to_be_hidden()
    box = front.locator(f"{PLOT} .nsewdrag").first.bounding_box()
    front.mouse.move(box["x"] + 40, box["y"] + 40)
    front.mouse.down()
    front.mouse.move(box["x"] + 200, box["y"] + 160, steps=6)
    front.mouse.up()
    expect(reset).to_be_visible()
    reset.click()
    expect(reset).to_be_hidden()
    assert front.evaluate(f"document.querySelector('{PLOT}')._fullLayout.xaxis.autorange") is True


def test_the_plot_goes_along_as_a_picture(front: Page) -> None:
    for format, begins in (("PNG", b"\x89PNG"), ("SVG", b"<svg")):
        with front.expect_download() as download:
            front.locator(".tw-front").get_by_role("button", name=format).click()
        assert Path(download.value.path()).read_bytes().startswith(begins)
        assert download.value.suggested_filename == f"tradewind-front-models.{format.lower()}"


APART = """() => {
  const box = (name) => document.querySelector(name).getBoundingClientRect();
  const legend = box('.legend .bg');
  const words = [...document.querySelectorAll('.legendtext, .xtick text, .ytick text, .xtitle, .ytitle, .gtitle')].map((node) => {
    const { left, right, top, bottom } = node.getBoundingClientRect();
    return { text: node.textContent, of: node.matches('.legendtext'), fonts: getComputedStyle(node).fontFamily, left, right, top, bottom };
  });
  return {
    cut: words.filter((word) => word.of && word.right > legend.right).map(({ text }) => text),
    covered: words.filter((word) => !word.of && word.top < legend.bottom && word.bottom > legend.top).map(({ text }) => text),
    pale: [...document.querySelectorAll('.legendpoints path')].filter((mark) => getComputedStyle(mark).opacity !== '1').length,
    web: words.filter(({ fonts }) => fonts.includes('Source')).map(({ text }) => text),
    named: words.filter(({ of }) => of).map(({ text }) => text),
  };
}"""


@pytest.mark.parametrize(
    ("view", "drawn"), [("Plane", "models"), ("Parallel axes", "parallel"), ("Both, joined", "both")]
)
def test_the_legend_of_a_picture_is_whole_and_covers_nothing(front: Page, view: str, drawn: str) -> None:
    """Names are measured in a font that a picture has, marks are as strong as on the page, and axes keep their titles."""
    front.get_by_role("button", name=view).click()
    front.wait_for_function(f"document.querySelector('{PLOT}').layout.uirevision.startsWith('{drawn}')")
    with front.expect_download() as download:
        front.locator(".tw-front").get_by_role("button", name="SVG").click()
    front.set_content(Path(download.value.path()).read_text(encoding="utf-8"))
    found = front.evaluate(APART)
    assert {"Base model", "P-GAPO"} <= set(found.pop("named"))
    assert found == {"cut": [], "covered": [], "pale": 0, "web": []}
