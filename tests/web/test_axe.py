"""What axe-core finds: nothing, on any tab, in any state, light and dark."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from arena import Store, studies
from tests.node import ROOT, npm
from tests.tiny import tiny
from tests.web.conftest import serving
from tests.web.test_results import study  # noqa: F401

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
FINDINGS = """async () => (await axe.run(document, { resultTypes: ['violations'] })).violations
  .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 160)} ${failureSummary}`))"""

RESTS = """() => !document.querySelector('.pending:not(:empty)') && document.getAnimations()
  .every((each) => each.playState !== 'running' || each.effect.getComputedTiming().iterations === Infinity)"""
"""Colours that fade have come to rest, and no answer is awaited: Gradio dims what one will replace."""


@pytest.fixture(scope="module")
def axe() -> str:
    npm()
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest, chrome: Browser) -> Iterator[Page]:
    context = chrome.new_context(viewport={"width": 1440, "height": 900}, color_scheme=request.param)
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


@pytest.fixture
def nothing(scheme: Page, axe: str) -> Callable[[str], None]:
    """Asserts that axe finds nothing on the page as it is; of: what it shows."""

    def check(of: str) -> None:
        if not scheme.evaluate("'axe' in window"):
            scheme.evaluate(axe)
        scheme.wait_for_timeout(300)
        scheme.wait_for_function(RESTS)
        assert scheme.evaluate(FINDINGS) == [], of

    return check


def unfold(page: Page) -> None:
    page.locator(".tw-fold > summary:visible").evaluate_all("all => all.forEach((each) => each.click())")


def test_steer(app: str, scheme: Page, nothing: Callable[[str], None]) -> None:
    scheme.goto(f"{app}?tab=steer")
    stage = ".tw-steer:not(.tw-tradeoffs) .tw-stage"
    scheme.wait_for_selector(f"{stage}[data-phase=running]")
    nothing("streaming")
    scheme.wait_for_selector(f"{stage}[data-phase=done] .tw-metrics table")
    unfold(scheme)
    nothing("complete, all folds open")
    scheme.get_by_label("Prompt", exact=True).first.fill("")
    scheme.wait_for_selector(".tw-prompt-box .tw-fault:not(:empty)")
    nothing("an empty prompt")
    scheme.get_by_role("button", name="Learn it").click()
    scheme.locator(".tw-problem:visible", has_text="name").first.wait_for()
    nothing("a concept without a name")
    scheme.goto(
        f"{app}?tab=steer&plan=%7B%22targets%22%3A%5B%7B%22concept%22%3A%22film%22%2C%22direction%22%3A%22amplify%22%2C%22p0%22%3A1%7D%5D%7D"
    )
    scheme.wait_for_selector(f"{stage}[data-phase=error]")
    nothing("a link with a value that is not allowed")


def test_a_token_under_the_lens_and_a_conversation(
    app: str, scheme: Page, nothing: Callable[[str], None]
) -> None:
    stage = ".tw-steer:not(.tw-tradeoffs) .tw-stage"
    scheme.goto(f"{app}?tab=steer&max_new_tokens=8&watch=[%22formality%22]")
    scheme.wait_for_selector(f"{stage}[data-phase=done] .tw-metrics table")
    scheme.locator(".tw-steered .tw-token").nth(2).click()
    scheme.wait_for_selector(".tw-lens:visible h3")
    for width in (390, 1440, 1920):
        scheme.set_viewport_size({"width": width, "height": 900})
        nothing(f"the lens at {width} px")
        assert scheme.evaluate("document.documentElement.scrollWidth") <= width
    scheme.get_by_label("Reply to both").fill("And Sunday?")
    scheme.keyboard.press("Enter")
    scheme.wait_for_selector(".tw-turn")
    scheme.wait_for_selector(f"{stage}[data-phase=done]:not(.tw-old)")
    nothing("a conversation")


def test_trade_offs(app: str, scheme: Page, nothing: Callable[[str], None]) -> None:
    scheme.goto(f"{app}?tab=tradeoffs")
    scheme.wait_for_selector(".tw-answers[data-phase=running]")
    nothing("streaming")
    scheme.wait_for_selector(".tw-answers[data-phase=done] .tw-metrics table")
    unfold(scheme)
    nothing("complete, all folds open")
    for view in ("Parallel axes", "Training"):
        scheme.get_by_role("button", name=view, exact=True).click()
        scheme.wait_for_selector(".tw-front .tw-plot .scatterlayer .trace")
        nothing(view)
    for of in ("Human votes", "Both, joined", "The paper’s"):
        scheme.get_by_role("button", name=of).click()
        nothing(of)
        if of == "Both, joined":
            scheme.get_by_label("The judgements that ship").check()
            scheme.get_by_text("Judged by a language model, not by people").wait_for()
            nothing("the shipped judgements")
    scheme.goto(f"{app}?tab=tradeoffs&point=linear-0.3&max_new_tokens=8")
    scheme.wait_for_selector(".tw-answers[data-phase=done] .tw-metrics table")
    scheme.wait_for_selector(".tw-wish.tw-aside")
    nothing("a point on none of the slider's ways")
    scheme.goto(f"{app}?tab=tradeoffs&point=nowhere")
    scheme.wait_for_selector(".tw-answers[data-phase=error]")
    nothing("a point that is not there")


def test_compare_and_about(app: str, scheme: Page, nothing: Callable[[str], None]) -> None:
    scheme.goto(f"{app}?tab=compare")
    scheme.wait_for_selector(".tw-compare")
    for part in scheme.locator(".tw-compare > .tab-wrapper button[role=tab]:visible").all():
        part.click()
        nothing(part.inner_text())
    scheme.goto(f"{app}?tab=about")
    scheme.wait_for_selector(".tw-essay")
    nothing("about")


def test_a_front_with_nothing_on_it(
    scheme: Page, nothing: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("bare")
    with serving(folder, "tests/web/pareto_app.py", str(folder), "PORT", "bare") as address:
        scheme.goto(address)
        scheme.get_by_role("tab", name="Trade-offs").click()
        scheme.wait_for_selector(".tw-front .tw-empty-chart:visible")
        nothing("no front")


def test_a_study_with_votes(
    scheme: Page, nothing: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("votes")
    database = f"sqlite:///{folder / 'arena.sqlite3'}"
    with serving(folder, "tests/web/arena_app.py", database, "PORT") as address:
        store = Store(database)
        studies.rename(store, studies.listing(store)[0].id, "N" * 80)
        scheme.goto(address)
        scheme.get_by_label("Your name").fill("A" * 60)
        scheme.keyboard.press("Enter")
        scheme.wait_for_selector("[data-stage=vote]")
        for width in (390, 1440):
            scheme.set_viewport_size({"width": width, "height": 900})
            assert scheme.evaluate("document.documentElement.scrollWidth") <= width, "a battle"
        for key in ("1", "2", "Enter"):
            scheme.keyboard.press(key)
        scheme.wait_for_selector("[data-stage=reveal]")
        scheme.get_by_role("tab", name="Results").click()
        scheme.wait_for_selector(".tw-summary dl")
        nothing("results with votes")
        scheme.get_by_role("tab", name="Studies").click()
        scheme.locator(".tw-study").click()
        scheme.wait_for_selector(".tw-people table")
        for width in (390, 768, 1440):
            scheme.set_viewport_size({"width": width, "height": 900})
            nothing(f"a study at {width} px")
            assert scheme.evaluate("document.documentElement.scrollWidth") <= width
        scheme.get_by_role("button", name="New study").click()
        scheme.get_by_label("Name of the study").wait_for()
        nothing("the forms of a study and of a new one")


def test_long_names_in_groups_that_never_met(
    scheme: Page,
    nothing: Callable[[str], None],
    study: str,  # noqa: F811
) -> None:
    scheme.goto(study)
    scheme.get_by_role("columnheader", name="strength").wait_for()
    scheme.locator(".tw-read > summary").evaluate_all(
        "all => all.slice(0, 2).forEach((each) => each.click())"
    )
    for width in (390, 1440):
        scheme.set_viewport_size({"width": width, "height": 900})
        nothing(f"results at {width} px")


def test_forms_of_compare_that_refuse_what_they_hold(
    scheme: Page, nothing: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("refused")
    (folder / "odd.csv").write_bytes(b"\x00\x01")
    (folder / "odd.zip").write_bytes(b"no zip")
    with serving(
        folder, "tests/web/arena_app.py", f"sqlite:///{folder / 'arena.sqlite3'}", "PORT"
    ) as address:
        scheme.goto(address)
        scheme.get_by_role("button", name="Start judging").click()
        scheme.locator(".tw-by .tw-error").wait_for()
        nothing("no name")
        scheme.get_by_label("Your name").fill("Ada")
        scheme.keyboard.press("Enter")
        scheme.wait_for_selector("[data-stage=vote]")
        scheme.get_by_role("button", name="Commit").click()
        scheme.get_by_text("Answer every question first").wait_for()
        nothing("no answer")
        scheme.get_by_role("tab", name="Studies").click()
        scheme.locator(".tw-study").click()
        scheme.get_by_label("Questions, key: text on each line").first.fill("no question")
        scheme.get_by_role("button", name="Save changes").click()
        scheme.locator(".tw-edit .tw-by .tw-error").wait_for()
        scheme.get_by_role("button", name="Delete…").click()
        scheme.get_by_role("button", name="Delete for good").click()
        scheme.get_by_text("to delete this study").wait_for()
        nothing("a study that is not saved and not deleted")
        scheme.get_by_role("button", name="New study").click()
        scheme.get_by_role("button", name="Make battles").click()
        scheme.locator(".tw-new .tw-by .tw-error").wait_for()
        nothing("a study of nothing")
        scheme.locator(".tw-new input[type=file]").set_input_files(folder / "odd.csv")
        scheme.get_by_text("odd.csv").first.wait_for()
        scheme.wait_for_function("document.querySelectorAll('.tw-new .tw-by .tw-error').length === 1")
        nothing("a file that is none")
        scheme.locator("input[type=file][accept*=zip]").set_input_files(folder / "odd.zip")
        scheme.locator(".tw-status .tw-error").wait_for()
        nothing("an import that is none")


def test_what_a_model_lacks(
    scheme: Page, nothing: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("lacking")
    environment = {"DATABASE_URL": f"sqlite:///{folder / 'votes.sqlite'}", "TRADEWIND_CACHE": str(folder)}
    command = ("app.py", "--port", "PORT", "--model", str(tiny("qwen2")), "--prepare")
    with serving(folder, *command, **environment) as address:
        scheme.goto(address)
        scheme.wait_for_selector(".tw-stage[data-phase=done]", timeout=120_000)
        banner = scheme.locator(".tw-lacking:visible")
        banner.wait_for()
        nothing("what Steer lacks")
        scheme.get_by_role("tab", name="Trade-offs").click()
        banner.wait_for()
        nothing("what Trade-offs lacks")
        banner.get_by_role("button").first.click()
        banner.get_by_role("progressbar").wait_for()
        nothing("while it is made")
        banner.get_by_role("button", name="Stop").click()
        banner.get_by_role("progressbar").wait_for(state="detached")
        nothing("stopped")
        for width in (390, 768):
            scheme.set_viewport_size({"width": width, "height": 900})
            nothing(f"at {width} px")
            assert scheme.evaluate("document.documentElement.scrollWidth") <= width
