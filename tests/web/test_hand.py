"""The page in the hand: a phone, a tablet, the keyboard."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

PHONE, TABLET = (390, 844), (768, 1024)
CLIPPED = """() => {
  const ring = 4;
  const inside = (a, b) => a.left >= b.left - 0.5 && a.right <= b.right + 0.5 && a.top >= b.top - 0.5 && a.bottom <= b.bottom + 0.5;
  const found = [];
  for (const node of document.querySelectorAll(':is(button, input, select, textarea, summary, a, [tabindex="0"])')) {
    if (!node.checkVisibility({ visibilityProperty: true }) || node.disabled || !node.closest('.tw-console, .tw-stage, .tw-front, .tw-head')) continue;
    node.focus({ preventScroll: true, focusVisible: true });
    const style = getComputedStyle(node);
    if (!node.matches(':focus-visible') || style.outlineStyle === 'none') continue;
    const grow = parseFloat(style.outlineOffset) + parseFloat(style.outlineWidth);
    const box = node.getBoundingClientRect();
    const whole = { left: box.left - grow, right: box.right + grow, top: box.top - grow, bottom: box.bottom + grow };
    for (let over = node.parentElement; over && over !== document.body; over = over.parentElement) {
      const { overflowX, overflowY } = getComputedStyle(over);
      if (overflowX === 'visible' && overflowY === 'visible') continue;
      if (['auto', 'scroll'].includes(overflowX) && over.scrollWidth > over.clientWidth) { whole.left = whole.right = over.getBoundingClientRect().left + 9; }
      if (['auto', 'scroll'].includes(overflowY) && over.scrollHeight > over.clientHeight) { whole.top = whole.bottom = over.getBoundingClientRect().top + 9; }
      if (!inside(whole, over.getBoundingClientRect())) { found.push(`${node.tagName}.${node.className} ${node.textContent.slice(0, 20)} in ${over.className}`); break; }
    }
  }
  return found;
}"""
"""Focus rings that something cuts off."""


@pytest.fixture(params=[PHONE, TABLET], ids=["phone", "tablet"])
def held(request: pytest.FixtureRequest, chrome: Browser) -> Iterator[Page]:
    width, height = request.param
    context = chrome.new_context(viewport={"width": width, "height": height}, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def steered(page: Page, app: str, tokens: int = 16) -> None:
    page.goto(f"{app}?tab=steer&max_new_tokens={tokens}")
    page.wait_for_selector(".tw-stage[data-phase=done] .tw-metrics table")


def answered(page: Page, app: str) -> None:
    page.goto(f"{app}?tab=tradeoffs&max_new_tokens=16")
    page.wait_for_selector(".tw-answers[data-phase=done] .tw-metrics table")


def near(page: Page, slider: Locator, text: Locator) -> None:
    """The text stands in the first screen, beside the slider or under it."""
    above, below = slider.bounding_box(), text.bounding_box()
    assert above and below
    beside = below["x"] >= above["x"] + above["width"]
    assert beside or 0 < below["y"] - above["y"] < 320
    assert below["y"] + 48 < page.viewport_size["height"]


def fits(page: Page) -> None:
    """Nothing is wider than the screen, and no ring round what has the focus is cut."""
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    page.keyboard.press("Tab")
    assert page.evaluate(CLIPPED) == []


def test_steer_fits_and_what_a_slider_changes_is_seen_while_it_moves(app: str, held: Page) -> None:
    steered(held, app)
    near(held, held.locator(".tw-range:visible").first, held.locator(".tw-steered .tw-text"))
    fits(held)


def test_trade_offs_begins_with_the_plot_and_what_a_slider_changes_is_seen_while_it_moves(
    app: str, held: Page
) -> None:
    answered(held, app)
    plot, answers = held.locator(".tw-front .tw-plot"), held.locator(".tw-answers")
    drawn = plot.bounding_box()
    assert drawn and drawn["y"] + drawn["height"] < held.viewport_size["height"], "the whole plot"
    slider = held.locator(".tw-preference")
    held.locator(".tw-tradeoffs .tw-console").evaluate("(controls) => controls.scrollIntoView()")
    near(held, slider, answers.locator(".tw-side:not(.tw-base) .tw-text"))
    fits(held)
    held.evaluate("scrollTo(0, 0)")
    expect(answers.locator("h2").first).not_to_be_in_viewport()
    plot.focus()
    for key in ("ArrowRight", "Enter"):
        held.keyboard.press(key)
    expect(answers.locator("h2", has_text="harmless alone")).to_be_in_viewport()


def test_a_phone_folds_the_other_controls_into_a_sheet(app: str, chrome: Browser) -> None:
    page = chrome.new_page(viewport={"width": PHONE[0], "height": PHONE[1]})
    steered(page, app)
    seed = page.get_by_label("Seed", exact=True)
    expect(seed).to_be_hidden()
    page.get_by_role("button", name="Settings").click()
    expect(seed).to_be_in_viewport()
    expect(page.get_by_role("button", name="Done")).to_be_focused()
    page.keyboard.press("Escape")
    expect(seed).to_be_hidden()
    expect(page.get_by_role("button", name="Settings")).to_be_focused()
    page.set_viewport_size({"width": TABLET[0], "height": TABLET[1]})
    expect(seed).to_be_visible()
    page.close()


@pytest.mark.parametrize(
    ("tab", "stage", "field"),
    [("steer", ".tw-stage:not(.tw-answers)", ".tw-steer:not(.tw-tradeoffs)"), ("tradeoffs", ".tw-answers", ".tw-tradeoffs")],
)  # fmt: skip
def test_what_is_wrong_with_a_prompt_stands_by_it_and_the_texts_stay(
    app: str, page: Page, tab: str, stage: str, field: str
) -> None:
    {"steer": steered, "tradeoffs": answered}[tab](page, app)
    prompt = page.locator(f"{field} .tw-prompt-box textarea")
    before = page.locator(f"{stage} .tw-text").first.inner_text()
    prompt.fill("")
    prompt.press("Enter")
    says = page.locator(f"{field} .tw-prompt-box .tw-fault")
    expect(says).to_have_text("The prompt is empty: write what the model answers.")
    assert prompt.get_attribute("aria-describedby") == says.get_attribute("id")
    assert page.locator(f"{stage} .tw-text").first.inner_text() == before
    prompt.fill("Who are you?")
    prompt.press("Enter")
    expect(says).to_be_hidden()
    assert prompt.get_attribute("aria-invalid") is None


def test_a_wrong_number_in_an_address_stands_by_its_control(app: str, page: Page) -> None:
    page.goto(f"{app}?tab=tradeoffs&point=pgapo-0.9&prompt=Hello&temperature=9")
    expect(page.locator(".tw-tradeoffs .tw-fault")).to_contain_text("9")
    expect(page.get_by_label("Temperature").last).to_be_visible()


def test_the_table_beside_the_plot_ends_between_two_columns(app: str, page: Page) -> None:
    answered(page, app)
    cut = page.evaluate("""() => {
      const { right } = document.querySelector('.tw-front .tw-scroll').getBoundingClientRect();
      return [...document.querySelectorAll('.tw-front .tw-sorted th')].map((cell) => {
        const words = document.createRange();
        words.selectNodeContents(cell);
        return [cell.textContent, words.getBoundingClientRect()];
      }).filter(([, box]) => box.left < right && right < box.right).map(([name]) => name);
    }""")
    assert cut == []


def test_numbers_of_the_text_before_dim_while_a_new_one_streams(app: str, page: Page) -> None:
    steered(page, app, 64)
    numbers = page.locator(".tw-stage:not(.tw-answers) .tw-metrics")
    ink = numbers.locator("td").last.evaluate("(cell) => getComputedStyle(cell).color")
    page.get_by_label("Prompt", exact=True).first.press("Enter")
    dim = numbers.locator("td").last
    expect(dim).not_to_have_css("color", ink)
    page.wait_for_selector(".tw-stage[data-phase=done]:not(.tw-old)")
    expect(dim).to_have_css("color", ink)


def test_a_toast_leaves_the_tabs_free(app: str, chrome: Browser) -> None:
    page = chrome.new_page(viewport={"width": PHONE[0], "height": PHONE[1]})
    page.goto(f"{app}?tab=about")
    page.wait_for_selector(".tw-tabs > .tab-wrapper")
    top, bottom = page.evaluate("""() => {
      const toast = document.createElement('div');
      toast.className = 'toast-wrap';
      Object.assign(toast.style, { position: 'fixed', height: '60px' });
      document.querySelector('.gradio-container').append(toast);
      return [toast.getBoundingClientRect().top, document.querySelector('.tw-tabs > .tab-wrapper').getBoundingClientRect().bottom];
    }""")
    assert top > bottom
    page.close()
