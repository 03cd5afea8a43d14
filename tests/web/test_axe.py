"""What axe-core finds: nothing, on any tab, in any state, light and dark."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from arena import Store, studies
from tests.node import ROOT, npm
from tests.tiny import tiny
from tests.web.conftest import serving
from tests.web.test_results import study  # noqa: F401

OF_COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}
"""The rules that can find something in one of light and dark alone: the two differ in nothing but colours."""
TURNED = """() => {
  const all = [...document.body.querySelectorAll('*')];
  const shapes = () => all.map((each) => {
    const { x, y, width, height } = each.getBoundingClientRect();
    const { display, visibility, opacity, fontSize, fontWeight, overflow } = getComputedStyle(each);
    return [x, y, width, height, display, visibility, opacity, fontSize, fontWeight, overflow].join();
  });
  const before = shapes();
  document.body.classList.toggle('dark');
  const after = shapes();
  return all.filter((_, at) => before[at] !== after[at]).map((each) => each.outerHTML.slice(0, 160));
}"""
"""Turns light into dark or back; what looks otherwise by more than its colours."""
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
FINDINGS = """async (rules) => (await axe.run(document, { resultTypes: ['violations'], ...rules })).violations
  .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`))"""

RESTS = """() => !document.querySelector('.pending:not(:empty)') && document.getAnimations()
  .every((each) => each.playState !== 'running' || each.effect.getComputedTiming().iterations === Infinity)"""
"""Colours that fade have come to rest, and no answer is awaited: Gradio dims what one will replace."""


@pytest.fixture(scope="module")
def axe() -> str:
    npm()
    return AXE.read_text(encoding="utf-8")


@pytest.fixture
def nothing(page: Page, axe: str) -> Callable[[str], None]:
    """Asserts that axe finds nothing on the page as it is, nor on its other side of light and dark, which differs in
    colours alone; of: what it shows.
    """

    def check(of: str) -> None:
        if not page.evaluate("'axe' in window"):
            page.evaluate(axe)
        for rules in ({}, OF_COLOURS):
            page.wait_for_timeout(300)
            page.wait_for_function(RESTS)
            assert page.evaluate(FINDINGS, rules) == [], of
            assert page.evaluate(TURNED) == [], of

    return check


def unfold(page: Page) -> None:
    page.locator(".tw-fold > summary:visible").evaluate_all("all => all.forEach((each) => each.click())")


def test_steer(app: str, page: Page, nothing: Callable[[str], None]) -> None:
    stage = ".tw-steer:not(.tw-tradeoffs) .tw-stage"
    page.goto(f"{app}?tab=steer&__theme=dark")
    page.wait_for_selector(f"{stage}[data-phase=running]")
    nothing("streaming")
    page.wait_for_selector(f"{stage}[data-phase=done] .tw-metrics table")
    unfold(page)
    nothing("complete, all folds open")
    page.get_by_label("Prompt", exact=True).first.fill("")
    page.wait_for_selector(".tw-prompt-box .tw-fault:not(:empty)")
    nothing("an empty prompt")
    page.get_by_role("button", name="Learn it").click()
    page.locator(".tw-problem:visible", has_text="name").first.wait_for()
    nothing("a concept without a name")
    page.goto(
        f"{app}?tab=steer&plan=%7B%22targets%22%3A%5B%7B%22concept%22%3A%22film%22%2C%22direction%22%3A%22amplify%22%2C%22p0%22%3A1%7D%5D%7D"
    )
    page.wait_for_selector(f"{stage}[data-phase=error]")
    nothing("a link with a value that is not allowed")


def test_a_token_under_the_lens_and_a_conversation(
    app: str, page: Page, nothing: Callable[[str], None]
) -> None:
    stage = ".tw-steer:not(.tw-tradeoffs) .tw-stage"
    page.goto(f"{app}?tab=steer&max_new_tokens=8&watch=[%22formality%22]")
    page.wait_for_selector(f"{stage}[data-phase=done] .tw-metrics table")
    page.locator(".tw-steered .tw-token").nth(2).click()
    page.wait_for_selector(".tw-lens:visible h3")
    for width in (390, 1440, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        nothing(f"the lens at {width} px")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_label("Reply to both").fill("And Sunday?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".tw-turn")
    page.wait_for_selector(f"{stage}[data-phase=done]:not(.tw-old)")
    nothing("a conversation")


def test_trade_offs(app: str, page: Page, nothing: Callable[[str], None]) -> None:
    page.goto(f"{app}?tab=tradeoffs&__theme=dark")
    page.wait_for_selector(".tw-answers[data-phase=running]")
    nothing("streaming")
    page.wait_for_selector(".tw-answers[data-phase=done] .tw-metrics table")
    unfold(page)
    nothing("complete, all folds open")
    for view in ("Parallel axes", "Training"):
        page.get_by_role("button", name=view, exact=True).click()
        page.wait_for_selector(".tw-front .tw-plot .scatterlayer .trace")
        nothing(view)
    for of in ("Human votes", "Both, joined", "The paper’s"):
        page.get_by_role("button", name=of).click()
        nothing(of)
        if of == "Both, joined":
            page.get_by_label("The judgements that ship").check()
            page.get_by_text("Judged by a language model, not by people").wait_for()
            nothing("the shipped judgements")
    page.goto(f"{app}?tab=tradeoffs&point=linear-0.3&max_new_tokens=8")
    page.wait_for_selector(".tw-answers[data-phase=done] .tw-metrics table")
    page.wait_for_selector(".tw-wish.tw-aside")
    nothing("a point on none of the slider's ways")
    page.goto(f"{app}?tab=tradeoffs&point=nowhere")
    page.wait_for_selector(".tw-answers[data-phase=error]")
    nothing("a point that is not there")


def test_forms_of_trade_offs_that_refuse_what_they_hold(
    app: str, page: Page, nothing: Callable[[str], None]
) -> None:
    page.goto(f"{app}?tab=tradeoffs&max_new_tokens=8")
    page.wait_for_selector(".tw-answers[data-phase=done] .tw-metrics table")
    forms = [
        page.locator(".tw-tradeoffs .tw-fold", has_text=f)
        for f in ("Add a checkpoint", "Score a steered model")
    ]
    for form in forms:
        form.locator("summary").click()
    adding, scoring = forms
    adding.get_by_label("Folder or hub id").fill("nobody")
    adding.get_by_role("button", name="Add and score").click()
    adding.get_by_text("no checkpoint").wait_for()
    nothing("a checkpoint that is not there")
    scoring.get_by_role("button", name="Score and plot").click()
    scoring.get_by_role("progressbar").wait_for()
    nothing("a steered model that is being scored")
    scoring.get_by_role("button", name="Stop").click()
    scoring.get_by_text("Stopped; nothing was added").wait_for()
    with page.expect_file_chooser() as chosen:
        adding.get_by_role("button", name="Upload a zip").click()
    chosen.value.set_files([{"name": "odd.txt", "mimeType": "text/plain", "buffer": b"x"}])
    adding.get_by_text("is no file of a checkpoint").wait_for()
    for width in (390, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        nothing(f"an upload that is none at {width} px")


def test_compare_and_about(app: str, page: Page, nothing: Callable[[str], None]) -> None:
    page.goto(f"{app}?tab=compare")
    page.wait_for_selector(".tw-compare")
    for part in page.locator(".tw-compare > .tab-wrapper button[role=tab]:visible").all():
        part.click()
        nothing(part.inner_text())
    page.goto(f"{app}?tab=about")
    page.wait_for_selector(".tw-essay")
    nothing("about")


def test_a_front_with_nothing_on_it(
    page: Page, nothing: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("bare")
    with serving(folder, "tests/web/pareto_app.py", str(folder), "PORT", "bare") as address:
        page.goto(address)
        page.get_by_role("tab", name="Trade-offs").click()
        page.wait_for_selector(".tw-front .tw-empty-chart:visible")
        nothing("no front")


def test_a_study_with_votes(
    page: Page, nothing: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("votes")
    database = f"sqlite:///{folder / 'arena.sqlite3'}"
    with serving(folder, "tests/web/arena_app.py", database, "PORT") as address:
        store = Store(database)
        studies.rename(store, studies.listing(store)[0].id, "N" * 80)
        page.goto(address)
        page.get_by_label("Your name").fill("A" * 60)
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-stage=vote]")
        for width in (390, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, "a battle"
        for key in ("1", "2", "Enter"):
            page.keyboard.press(key)
        page.wait_for_selector("[data-stage=reveal]")
        page.get_by_role("tab", name="Results").click()
        page.wait_for_selector(".tw-summary dl")
        nothing("results with votes")
        page.get_by_role("tab", name="Studies").click()
        page.locator(".tw-study").click()
        page.wait_for_selector(".tw-people table")
        for width in (390, 768, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            nothing(f"a study at {width} px")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("button", name="New study").click()
        page.get_by_label("Name of the study").wait_for()
        nothing("the forms of a study and of a new one")


def test_long_names_in_groups_that_never_met(
    page: Page,
    nothing: Callable[[str], None],
    study: str,  # noqa: F811
) -> None:
    page.goto(study)
    page.get_by_role("columnheader", name="strength").wait_for()
    page.locator(".tw-read > summary").evaluate_all("all => all.slice(0, 2).forEach((each) => each.click())")
    for width in (390, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        nothing(f"results at {width} px")


def test_forms_of_compare_that_refuse_what_they_hold(
    page: Page, nothing: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("refused")
    (folder / "odd.csv").write_bytes(b"\x00\x01")
    (folder / "odd.zip").write_bytes(b"no zip")
    with serving(
        folder, "tests/web/arena_app.py", f"sqlite:///{folder / 'arena.sqlite3'}", "PORT"
    ) as address:
        page.goto(address)
        page.get_by_role("button", name="Start judging").click()
        page.locator(".tw-by .tw-error").wait_for()
        nothing("no name")
        page.get_by_label("Your name").fill("Ada")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-stage=vote]")
        page.get_by_role("button", name="Commit").click()
        page.get_by_text("Answer every question first").wait_for()
        nothing("no answer")
        page.get_by_role("tab", name="Studies").click()
        page.locator(".tw-study").click()
        page.get_by_label("Questions, key: text on each line").first.fill("no question")
        page.get_by_role("button", name="Save changes").click()
        page.locator(".tw-edit .tw-by .tw-error").wait_for()
        page.get_by_role("button", name="Delete…").click()
        page.get_by_role("button", name="Delete for good").click()
        page.get_by_text("to delete this study").wait_for()
        nothing("a study that is not saved and not deleted")
        page.get_by_role("button", name="New study").click()
        page.get_by_role("button", name="Make battles").click()
        page.locator(".tw-new .tw-by .tw-error").wait_for()
        nothing("a study of nothing")
        page.locator(".tw-new input[type=file]").set_input_files(folder / "odd.csv")
        page.get_by_text("odd.csv").first.wait_for()
        page.wait_for_function("document.querySelectorAll('.tw-new .tw-by .tw-error').length === 1")
        nothing("a file that is none")
        page.locator("input[type=file][accept*=zip]").set_input_files(folder / "odd.zip")
        page.locator(".tw-status .tw-error").wait_for()
        nothing("an import that is none")


def test_what_a_model_lacks(
    page: Page, nothing: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("lacking")
    environment = {"DATABASE_URL": f"sqlite:///{folder / 'votes.sqlite'}", "TRADEWIND_CACHE": str(folder)}
    command = ("app.py", "--port", "PORT", "--model", str(tiny("qwen2")), "--prepare")
    with serving(folder, *command, **environment) as address:
        page.goto(address)
        page.wait_for_selector(".tw-stage[data-phase=done]", timeout=120_000)
        banner = page.locator(".tw-lacking:visible")
        banner.wait_for()
        nothing("what Steer lacks")
        page.get_by_role("tab", name="Trade-offs").click()
        banner.wait_for()
        nothing("what Trade-offs lacks")
        banner.get_by_role("button").first.click()
        banner.get_by_role("progressbar").wait_for()
        nothing("while it is made")
        banner.get_by_role("button", name="Stop").click()
        banner.get_by_role("progressbar").wait_for(state="detached")
        nothing("stopped")
        for width in (390, 768):
            page.set_viewport_size({"width": width, "height": 900})
            nothing(f"at {width} px")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
