"""The Trade-offs tab in a real browser, on the real model with adapters at random."""

import csv
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Browser, Locator, Page, expect

from pareto.front import Front
from pareto.panel import OPENING
from tests.web.conftest import serving, stop_when
from tests.web.pareto_app import ENDS, SHIPPED

SHORT = 16
"""Tokens of an answer where its length is not what is tested."""
POINTS = len(SHIPPED) + len(ENDS) + 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tradeoffs")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with serving(folder, "tests/web/pareto_app.py", str(folder), "PORT") as found:
        yield found


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address, verbose=False)


def visit(page: Page, address: str, tokens: int = SHORT) -> None:
    page.goto(address if "?" in address else f"{address}?tab=tradeoffs&max_new_tokens={tokens}")
    page.get_by_role("tab", name="Trade-offs").click()
    settled(page)


def settled(page: Page) -> None:
    """Waits for the newest run to be complete and measured."""
    page.wait_for_function(
        """() => { const texts = document.querySelector('.tw-answers');
        return texts?.dataset.phase === 'done' && !texts.classList.contains('tw-old') && texts.dataset.measured === texts.dataset.run; }""",
        timeout=120_000,
    )


def run(page: Page) -> int:
    return int(page.locator(".tw-answers").get_attribute("data-run"))


def newer(page: Page, than: int) -> None:
    page.wait_for_function(f"Number(document.querySelector('.tw-answers').dataset.run) > {than}")
    settled(page)


def heads(page: Page) -> list[str]:
    return page.locator(".tw-answers h2 > span:nth-of-type(1)").all_inner_texts()


def text(page: Page, at: int = -1) -> str:
    return page.locator(".tw-answers .tw-text").nth(at).inner_text()


def table(page: Page) -> Locator:
    if not page.locator(".tw-sorted").is_visible():
        page.locator(".tw-front").get_by_role("button", name="Table").click()
    return page.locator(".tw-sorted tbody tr")


def row(page: Page, name: str) -> Locator:
    return table(page).filter(has_text=name)


def place(page: Page, id: str) -> tuple[float, float]:
    """Where a point is drawn."""
    return tuple(
        page.evaluate(
            """async (id) => {
        const plot = document.querySelector('.tw-front .tw-plot');
        const trace = plot.data.find((each) => each.customdata?.includes(id));
        const at = trace.customdata.indexOf(id);
        const { xaxis, yaxis } = plot._fullLayout;
        const box = plot.getBoundingClientRect();
        return [box.left + xaxis._offset + xaxis.d2p(trace.x[at]), box.top + yaxis._offset + yaxis.d2p(trace.y[at])];
    }""",
            id,
        )
    )


def test_opens_with_the_points_and_a_first_comparison(address: str, page: Page) -> None:
    page.goto(address)
    page.wait_for_timeout(1500)
    assert page.locator(".tw-answers .tw-text").count() == 0, "nothing runs before the tab is looked at"
    page.get_by_role("tab", name="Trade-offs").click()
    settled(page)
    assert page.get_by_label("Prompt", exact=True).input_value()
    assert heads(page) == ["base model", "pgapo-0.5 name"]
    assert text(page, 0) and text(page, 1) and text(page, 0) != text(page, 1)
    drawn = page.evaluate(
        "document.querySelector('.tw-front .tw-plot').data.flatMap((each) => each.customdata ?? []).length"
    )
    assert drawn == POINTS == table(page).count()
    expect(page.locator(".tw-front h3")).to_contain_text("dominated")


def test_a_click_on_a_point_answers_and_marks_its_row(address: str, page: Page) -> None:
    visit(page, address)
    before = run(page)
    page.mouse.click(*place(page, "gapo"))
    newer(page, before)
    assert heads(page) == ["base model", "gapo name"]
    expect(row(page, "gapo name")).to_have_attribute("aria-selected", "true")
    expect(row(page, "pgapo-0.5 name")).to_have_attribute("aria-selected", "false")
    expect(page.locator(".tw-facts h2")).to_contain_text("gapo name")
    expect(page.locator(".tw-card .tw-chart h3").first).to_contain_text("in training")


def test_enter_on_a_row_answers_and_shift_adds(address: str, page: Page) -> None:
    visit(page, address)
    before = run(page)
    row(page, "pgapo-0.9 name").focus()
    page.keyboard.press("Enter")
    newer(page, before)
    assert heads(page) == ["base model", "pgapo-0.9 name"]
    alone = text(page)
    for more in ("linear-0 name", "linear-1 name", "soup name"):
        before = run(page)
        row(page, more).focus()
        page.keyboard.press("Shift+Enter")
        newer(page, before)
    assert heads(page) == ["base model", "linear-0 name", "linear-1 name", "soup name"], (
        "three picks at most, the oldest leaves"
    )
    before = run(page)
    row(page, "pgapo-0.9 name").press("Shift+Enter")
    newer(page, before)
    assert text(page) == alone, "the same text whatever stands beside it"


def test_keep_and_take_away(address: str, page: Page) -> None:
    visit(page, address)
    page.get_by_role("button", name="Keep").click()
    before = run(page)
    row(page, "pgapo-0.1 name").click()
    newer(page, before)
    assert heads(page) == ["base model", "pgapo-0.5 name", "pgapo-0.1 name"]
    before = run(page)
    page.get_by_label("Take pgapo-0.5 name away").click()
    newer(page, before)
    assert heads(page) == ["base model", "pgapo-0.1 name"]


def test_a_new_click_cancels_the_running_answer(address: str, page: Page) -> None:
    visit(page, address)
    page.get_by_text("Length and sampling").click()
    before = run(page)
    page.get_by_label("Length", exact=True).press("End")
    page.wait_for_function(f"Number(document.querySelector('.tw-answers').dataset.run) > {before}")
    before = run(page)
    row(page, "pgapo-0.1 name").click()
    row(page, "pgapo-0.9 name").click()
    last = "[...document.querySelectorAll('.tw-answers h2')].at(-1)"
    newest = f"Number(document.querySelector('.tw-answers').dataset.run) > {before}"
    stop_when(page, ".tw-answers", f"{newest} && {last}.textContent.includes('pgapo-0.9 name')")
    expect(page.locator(".tw-answers")).to_have_attribute("data-phase", "stopped")
    length = len(text(page))
    page.wait_for_timeout(700)
    assert len(text(page)) == length


def test_the_preference_finds_the_nearest_and_says_how_far(address: str, page: Page) -> None:
    visit(page, address)
    slider = page.get_by_label("Preference, from harmless to helpful")
    before = run(page)
    slider.press("End")
    newer(page, before)
    expect(page.locator(".tw-wish .tw-says")).to_have_text("only helpful")
    expect(page.locator(".tw-wish .tw-hint")).to_contain_text("λ .9, .1 away")
    assert heads(page)[-1] == "pgapo-0.9 name"
    assert "only helpful" in slider.get_attribute("aria-valuetext")


def test_the_mix_is_the_interpolated_weights_and_says_so(address: str, page: Page, client: Client) -> None:
    visit(page, address)
    before = run(page)
    page.get_by_role("button", name="Interpolated").click()
    newer(page, before)
    assert heads(page)[-1] == "soup name", "what is scored there is told"
    before = run(page)
    page.get_by_label("Preference, from harmless to helpful").press("ArrowRight")
    newer(page, before)
    assert heads(page)[-1] == "soup 0.55 : 0.45"
    expect(page.locator(".tw-wish .tw-hint")).to_contain_text("not trained")
    prompt = page.get_by_label("Prompt", exact=True).input_value()
    told = client.predict(
        prompt,
        ["soup:0.55"],
        seed=OPENING["seed"],
        max_new_tokens=SHORT,
        temperature=0.7,
        api_name="/respond",
    )
    assert told[0]["text"].strip() == text(page).strip()


def test_a_curve_answers_at_every_place_of_a_fine_slider(chrome: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, "tests/web/pareto_app.py", str(tmp_path), "PORT", "curve") as address:
        page = chrome.new_page()
        visit(page, address)
        ways = page.locator(".tw-wish .tw-choice button")
        assert ways.all_inner_texts() == ["Continuous", "Trained", "Interpolated"]
        assert heads(page)[-1] == "curve .5 : .5", "it opens with the curve, at a place that is scored"
        expect(page.locator(".tw-wish .tw-hint")).to_contain_text(
            "every place on this slider was trained for"
        )
        slider, before = page.get_by_label("Preference, from harmless to helpful"), run(page)
        slider.press("ArrowRight")
        newer(page, before)
        assert heads(page)[-1] == "curve 0.51 : 0.49"
        client, prompt = Client(address, verbose=False), page.get_by_label("Prompt", exact=True).input_value()
        for name in ("curve:0.51", "mix:curve-1+curve-0@0.51"):
            told = client.predict(
                prompt,
                [name],
                seed=OPENING["seed"],
                max_new_tokens=SHORT,
                temperature=0.7,
                api_name="/respond",
            )
            assert told[0]["text"].strip() == text(page).strip()
        scale, before = page.get_by_label("Scale", exact=True), run(page)
        for _ in range(8):
            scale.press("ArrowRight")
        newer(page, before)
        assert heads(page)[-1] == "curve 0.51 : 0.49 × 1.8"
        expect(page.locator(".tw-wish")).to_contain_text("1.8 ×, extrapolated")
        scaled = page.url
        before = run(page)
        scale.press("Home")
        newer(page, before)
        expect(page.locator(".tw-wish")).to_contain_text("0 ×, the base model")
        assert text(page) == text(page, 0)
        visit(page, scaled)
        assert (slider.input_value(), scale.input_value()) == ("0.51", "1.8"), "a link brings the scale back"
        assert heads(page)[-1] == "curve 0.51 : 0.49 × 1.8"
        link = scaled.replace("*1.8", "")
        pressed = page.locator(".tw-wish .tw-choice [aria-pressed=true]")
        visit(page, link.replace("curve%3A0.51", "gapo*1.5"))
        assert scale.input_value() == "1.5" and heads(page)[-1] == "gapo name × 1.5"
        before = run(page)
        scale.press("ArrowRight")
        newer(page, before)
        assert heads(page)[-1] == "gapo name × 1.6", "the scale is that of the policy that is shown"
        visit(page, link.replace("curve%3A0.51", "gapo"))
        expect(page.locator(".tw-wish .tw-says")).to_have_text("gapo name")
        expect(pressed).to_have_count(0)
        expect(page.locator(".tw-wish .tw-hint")).to_contain_text("on none of these ways")
        before = run(page)
        slider.press("ArrowRight")
        newer(page, before)
        expect(pressed).to_have_count(1)
        for place, way, value in (
            (link, "Continuous", "0.51"),
            (link.replace("curve%3A0.51", "mix%3Acurve-1%2Bcurve-0%400.51"), "Continuous", "0.51"),
            (link.replace("curve%3A0.51", "soup%3A0.75"), "Interpolated", "0.75"),
        ):
            visit(page, place)
            expect(pressed).to_have_text(way)
            assert slider.input_value() == value, "a link brings the slider back"
        before = run(page)
        page.get_by_role("button", name="Trained").click()
        newer(page, before)
        assert slider.get_attribute("step") == "0.05" and "curve" not in heads(page)[-1]
        page.close()


def test_a_zoom_is_kept(address: str, page: Page) -> None:
    visit(page, address)
    x, y = place(page, "pgapo-0.5")
    span = "document.querySelector('.tw-front .tw-plot').layout.xaxis.range"
    whole = page.evaluate(span)
    page.mouse.move(x - 60, y - 60)
    page.mouse.down()
    page.mouse.move(x + 90, y + 60, steps=5)
    page.mouse.up()
    page.wait_for_function(f"whole => String({span}) !== String(whole)", arg=whole)
    zoomed, before = page.evaluate(span), run(page)
    row(page, "pgapo-0.9 name").click()
    newer(page, before)
    assert page.evaluate(span) == zoomed


def test_the_table_sorts_and_its_csv_holds_what_it_shows(address: str, page: Page) -> None:
    visit(page, address)
    column = table(page).page.locator(".tw-sorted th", has_text="harmless")
    for order, first in (("descending", "linear-0 name"), ("ascending", "linear-1 name")):
        column.get_by_role("button").press("Enter")
        expect(column).to_have_attribute("aria-sort", order)
        expect(table(page).first).to_contain_text(first)
    with page.expect_download() as download:
        page.locator(".tw-front").get_by_role("button", name="CSV").click()
    lines = list(csv.reader(Path(download.value.path()).open()))
    assert lines[0][:3] == ["policy", "λ helpful", "helpful"] and len(lines) == POINTS + 1


def test_dominated_points_are_dimmed_and_trainings_hidden_until_told_otherwise(
    address: str, page: Page
) -> None:
    visit(page, address)
    opacities = "document.querySelector('.tw-front .tw-plot').data.filter((each) => each.customdata).map((each) => each.marker.opacity)"
    assert min(page.evaluate(opacities)) < 1
    box = page.get_by_role("checkbox", name="Dim what is dominated")
    expect(box).to_be_checked()
    box.uncheck()
    page.wait_for_function(f"Math.min(...{opacities}) === 1")

    def small() -> int:
        return page.evaluate(
            "document.querySelector('.tw-front .tw-plot').data.filter((each) => each.marker?.size === 6).flatMap((each) => each.x).length"
        )

    assert small() == 0
    page.get_by_role("checkbox", name="Show every training").check()
    page.wait_for_function(
        "document.querySelector('.tw-front .tw-plot').data.some((each) => each.marker?.size === 6)"
    )
    assert small() == 2


def test_the_axes_show_what_is_chosen(address: str, page: Page) -> None:
    visit(page, address)
    note = page.locator(".tw-front .tw-note")
    expect(note).to_contain_text("Up and right is better. Bars are 95 % intervals")
    page.get_by_label("Vertical axis").select_option("kl")
    expect(page.locator(".tw-front h3")).to_contain_text("KL to the base model against helpful")
    expect(note).to_have_text(re.compile("^Bars are 95 % intervals"))
    page.wait_for_function(
        "document.querySelector('.tw-front .tw-plot').layout.yaxis.title.text.startsWith('KL to the base model')"
    )
    before = run(page)
    page.mouse.click(*place(page, "gapo"))
    newer(page, before)
    assert heads(page)[-1] == "gapo name"


def test_a_point_that_another_process_adds_appears_without_a_reload(
    address: str, page: Page, folder: Path
) -> None:
    """As `python -m pareto evaluate --add` does it."""
    visit(page, address)
    path = next(folder.glob("*.json"))
    before = path.read_text()
    front = Front.load(path)
    front.with_point(front.points[1] | {"id": "added", "name": "added meanwhile"}).save(path)
    try:
        expect(row(page, "added meanwhile")).to_have_count(1)
    finally:
        path.write_text(before)
    expect(row(page, "added meanwhile")).to_have_count(0)


def test_the_table_stands_below_what_takes_the_place_of_a_wide_chart(address: str, page: Page) -> None:
    """An empty chart has no note, which left a row of the grid to the table."""
    visit(page, f"{address}?tab=tradeoffs&view=training&max_new_tokens=8")
    assert table(page).count() == POINTS
    empty = page.locator(".tw-front .tw-empty-chart")
    for chip in page.locator(".tw-chip").filter(has_not_text="Base model").all():
        chip.click()
    expect(empty).to_contain_text("None of these policies has a training curve")
    chart, below = page.evaluate("""() => ['.tw-empty-chart', '.tw-scroll'].map((part) => {
      const { left, right, bottom, top } = document.querySelector(`.tw-front ${part}`).getBoundingClientRect();
      return { left, right, bottom, top };
    })""")
    assert below["top"] >= chart["bottom"]
    assert abs(below["left"] - chart["left"]) < 2 and abs(below["right"] - chart["right"]) < 2


def test_votes_both_and_the_papers_points_are_sets_of_their_own(address: str, page: Page) -> None:
    visit(page, address)
    page.get_by_role("button", name="Human votes").click()
    expect(page.locator(".tw-front h3")).to_contain_text("6 policies")
    page.get_by_role("button", name="Both, joined").click()
    expect(page.locator(".tw-front h3")).to_contain_text("correlate")
    lines = page.evaluate(
        "document.querySelector('.tw-front .tw-plot').data.filter((each) => each.mode === 'lines+markers').length"
    )
    assert lines == 6
    before = run(page)
    page.get_by_role("button", name="The paper’s").click()
    expect(page.locator(".tw-front h3")).to_contain_text("P-GAPO 394")
    expect(page.locator(".tw-front .tw-plot")).to_contain_text("beaver-7b")
    assert table(page).count() == 13
    table(page).first.click()
    expect(page.locator(".tw-front .tw-hint[role=status]")).to_contain_text("no checkpoints")
    assert run(page) == before


def test_a_checkpoint_is_uploaded_as_a_zip(address: str, folder: Path, page: Page, tmp_path: Path) -> None:
    visit(page, address)
    page.get_by_text("Add a checkpoint").click()
    archive = shutil.make_archive(str(tmp_path / "mine"), "zip", folder / "added" / "mine")
    (tmp_path / "no.zip").write_bytes(b"no archive")
    (tmp_path / "big.zip").write_bytes(b"0" * 5_000_001)
    (tmp_path / "photo.jpg").write_bytes(b"no archive")
    refused = (
        ("no.zip", "no.zip is no zip"),
        ("big.zip", "5,000,001 bytes"),
        ("photo.jpg", "photo.jpg is no file of a checkpoint"),
    )
    for file, says in refused:
        with page.expect_file_chooser() as chosen:
            page.get_by_role("button", name="Upload a zip, or its files").click()
        chosen.value.set_files(tmp_path / file)
        expect(page.locator(".tw-score .tw-problem")).to_contain_text(says)
        expect(page.locator(".tw-score .tw-hint")).to_be_empty()
    page.route("**/upload**", lambda route: route.abort())
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Upload a zip, or its files").click()
    chosen.value.set_files(archive)
    expect(page.locator(".tw-score .tw-problem")).to_contain_text("The upload failed")
    expect(page.locator(".tw-score .tw-hint")).to_be_empty()
    expect(page.locator(".toast-body")).to_have_count(0)
    page.unroute("**/upload**")
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Upload a zip, or its files").click()
    chosen.value.set_files(archive)
    expect(page.locator(".tw-score .tw-hint")).to_contain_text("from 24 prompts", timeout=240_000)
    expect(table(page)).to_have_count(POINTS + 1)


def test_a_checkpoint_of_ones_own(address: str, page: Page, chrome: Browser) -> None:
    visit(page, address)
    before = run(page)
    page.get_by_text("Add a checkpoint").click()
    page.get_by_label("Folder or hub id").fill("mine")
    page.get_by_role("button", name="Add and score").click()
    expect(page.locator(".tw-score .tw-hint")).to_contain_text("24", timeout=120_000)
    newer(page, before)
    expect(table(page)).to_have_count(POINTS + 1)
    assert heads(page)[-1].startswith("<img"), "a name is text, never markup"
    assert page.title() != "owned" and page.locator(".gradio-container img[src=x]").count() == 0
    expect(page.locator(".tw-ticks i[data-id=mine]")).to_have_count(1)
    page.get_by_label("Preference, from harmless to helpful").fill("0.3")
    expect(page.locator(".tw-wish .tw-hint")).to_contain_text("for just this")
    assert page.locator(".tw-ticks .tw-on").get_attribute("data-id") == "mine"
    other = chrome.new_page()
    visit(other, address)
    assert table(other).count() == POINTS, "it lives in its own tab"
    other.close()


def test_what_cannot_be_added_leaves_one_sentence(address: str, page: Page) -> None:
    visit(page, address)
    page.get_by_text("Add a checkpoint").click()
    for name, says in (
        ("../shipped/gapo", "no checkpoint"), ("foreign", "another"), ("/etc", "no checkpoint"), ("pickled", "safetensors"),
        ("nobody", "no checkpoint"), ("", "nothing to score"),
    ):  # fmt: skip
        page.get_by_label("Folder or hub id").fill(name)
        page.get_by_label("Folder or hub id").press("Enter")
        problem = page.locator(".tw-inside:has(> div > .tw-field input) .tw-score .tw-problem")
        expect(problem).to_contain_text(says)
        expect(page.get_by_label("Folder or hub id")).to_have_attribute("aria-invalid", "true")
        assert "Traceback" not in page.inner_text("body")
        assert table(page).count() == POINTS, name


def test_scoring_waits_its_turn_and_stops_while_it_waits(address: str, page: Page, chrome: Browser) -> None:
    other = chrome.new_page()
    for each in (page, other):
        visit(each, address)
        each.get_by_role("button", name="Interpolated").click()
        each.get_by_label("Preference, from harmless to helpful").press("ArrowRight")
    for each, says in ((page, "Answering"), (other, "another visitor")):
        each.get_by_role("button", name="Score this mix").click()
        expect(each.locator(".tw-score .tw-hint")).to_contain_text(says)
    other.locator(".tw-score").get_by_role("button", name="Stop").click()
    expect(other.locator(".tw-score .tw-hint")).to_contain_text("Stopped")
    expect(page.locator(".tw-score .tw-hint")).to_contain_text("Answering")
    page.locator(".tw-score").get_by_role("button", name="Stop").click()
    expect(page.locator(".tw-score .tw-hint")).to_contain_text("Stopped")
    assert table(page).count() == table(other).count() == POINTS
    other.close()


def test_a_steered_model_gets_its_place(address: str, page: Page) -> None:
    visit(page, address)
    before = run(page)
    page.get_by_text("Score a steered model").click()
    page.get_by_label("Plan of the Steer tab").select_option("loud")
    page.get_by_role("button", name="Score and plot").click()
    expect(page.locator(".tw-score .tw-hint")).to_contain_text("loud", timeout=120_000)
    newer(page, before)
    assert heads(page)[-1] == "loud"
    expect(page.locator(".tw-methods")).to_contain_text("Steered")


def test_two_visitors_do_not_disturb_each_other(address: str, page: Page, chrome: Browser) -> None:
    visit(page, address)
    other = chrome.new_page()
    visit(other, address)
    before = run(page), run(other)
    row(page, "pgapo-0.1 name").click()
    row(other, "pgapo-0.9 name").click()
    newer(page, before[0])
    newer(other, before[1])
    assert (heads(page)[-1], heads(other)[-1]) == ("pgapo-0.1 name", "pgapo-0.9 name")
    assert text(page, 0) == text(other, 0) and text(page) != text(other)
    other.close()


def test_two_answers_go_to_the_blind_comparison(address: str, page: Page) -> None:
    visit(page, address)
    page.get_by_role("button", name="Send to Compare").click()
    expect(page.locator(".tw-answers .tw-status")).to_have_text("Sent base model and pgapo-0.5 name")
    page.get_by_role("button", name="Send to Compare").click()
    expect(page.locator(".tw-answers .tw-status")).to_contain_text("already")


def test_fits_a_phone(address: str, chrome: Browser) -> None:
    context = chrome.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    visit(page, address, OPENING["max_new_tokens"])
    table(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    parts = page.locator(".tw-answers .tw-text, .tw-front .tw-plot, .tw-console")
    boxes = parts.evaluate_all("parts => parts.map(part => part.getBoundingClientRect().toJSON())")
    assert boxes and all(box["left"] >= 0 and box["right"] <= 390 for box in boxes)
    between = page.locator(".tw-front > .tw-filters")
    assert between.bounding_box()["height"] < 60, "one row of methods between the plot and the prompt"
    expect(between.get_by_label("Seed of the training")).to_be_hidden()
    between.get_by_role("button", name="Axes, filters").click()
    expect(between.get_by_label("Seed of the training")).to_be_visible()
    context.close()


def test_front_is_the_contract(client: Client) -> None:
    told = client.predict(api_name="/front")
    assert told["reference"] == [-0.1, -0.45] and set(told["hypervolume"]) == {
        "base",
        "pgapo",
        "gapo",
        "single",
        "soup",
    }
    fields = {
        "id",
        "method",
        "preference",
        "helpful",
        "helpful_ci",
        "harmless",
        "harmless_ci",
        "kl",
        "length",
        "dominated",
        "seeds",
    }
    assert fields <= set(told["points"][0])


def test_respond_answers_in_one_batch_as_alone(client: Client) -> None:
    asked = {"seed": 5, "max_new_tokens": 16, "temperature": 0.9, "api_name": "/respond"}
    both = client.predict("Say hello.", ["base", "gapo", "soup:1"], **asked)
    assert [each["id"] for each in both] == ["base", "gapo", "soup:1"]
    assert {"helpful", "harmless", "kl", "repetition", "tokens", "tokens_per_second"} <= set(
        both[0]["metrics"]
    )
    assert both[0]["metrics"]["kl"] == 0 < both[1]["metrics"]["kl"]
    assert client.predict("Say hello.", ["gapo"], **asked)[0]["text"] == both[1]["text"]
    assert client.predict("Say hello.", ["linear-1"], **asked)[0]["text"] == both[2]["text"]


def test_people_who_ask_at_once_get_what_they_would_get_alone(client: Client) -> None:
    def ask(id: str) -> str:
        told = client.predict(
            "Say hello.", [id], seed=1, max_new_tokens=24, temperature=1.0, api_name="/respond"
        )
        return told[0]["text"]

    ids = ["base", "gapo", "pgapo-0.1", "pgapo-0.9"]
    alone = [ask(id) for id in ids]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, ids)) == alone


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt": " "}, "empty"), ({"prompt": "x" * 100_000}, "characters"), ({"checkpoint_ids": ["nobody"]}, "no checkpoint"),
        ({"checkpoint_ids": ["soup:2"]}, "no soup"), ({"checkpoint_ids": ["base"] * 5}, "4 at most"), ({"seed": -1}, "seed"),
        ({"checkpoint_ids": []}, "give"), ({"max_new_tokens": 10**6}, "max_new_tokens"), ({"temperature": 9.0}, "temperature"),
    ],
)  # fmt: skip
def test_every_argument_is_bounded_on_the_server(client: Client, changes: dict, says: str) -> None:
    asked = {
        "prompt": "Hello",
        "checkpoint_ids": ["base"],
        "seed": 0,
        "max_new_tokens": 8,
        "temperature": 0.0,
    } | changes
    with pytest.raises(AppError, match=f"(?i){says}"):
        client.predict(**asked, api_name="/respond")


def test_evaluate_scores_a_few_prompts(client: Client) -> None:
    told = client.predict("gapo", 4, 0, api_name="/evaluate")
    assert (
        told["prompts"] == 4
        and told["helpful_ci"][0] <= told["helpful"] <= told["helpful_ci"][1]
        and told["method"] == "gapo"
    )
    for asked in (("gapo", 10**6, 0), ("gapo", 4, -1), ("nobody", 4, 0)):
        with pytest.raises(AppError):
            client.predict(*asked, api_name="/evaluate")


def test_nothing_else_is_public(client: Client) -> None:
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {
        "/front",
        "/respond",
        "/evaluate",
    }
