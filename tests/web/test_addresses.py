"""Every view has an address: tabs, reload, back and forward, links."""

import re

from playwright.sync_api import Locator, Page, expect


def tab(page: Page, name: str) -> Locator:
    return page.get_by_role("tab", name=name, exact=True)


def test_a_tab_has_an_address_that_reload_and_back_keep(page: Page, app: str) -> None:
    page.goto(app)
    tab(page, "About").click()
    page.wait_for_url(lambda url: "tab=about" in url)
    page.reload()
    expect(tab(page, "About")).to_have_attribute("aria-selected", "true")
    tab(page, "Compare").click()
    page.go_back()
    expect(tab(page, "About")).to_have_attribute("aria-selected", "true")
    page.go_forward()
    expect(tab(page, "Compare")).to_have_attribute("aria-selected", "true")


def test_a_link_to_trade_offs_brings_prompt_seed_and_points_back(page: Page, app: str) -> None:
    page.goto(f"{app}?tab=tradeoffs&point=pgapo-0.1,pgapo-0.9&prompt=Who+are+you%3F&seed=11")
    expect(tab(page, "Trade-offs")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_label("Answer of P-GAPO 0.9 : 0.1")).to_have_text(re.compile(".{20,}", re.DOTALL))
    expect(page.get_by_label("Answer of P-GAPO 0.1 : 0.9")).to_be_visible()
    expect(page.locator(".tw-question").last).to_have_text("Who are you?")


def test_a_link_to_a_point_that_is_not_there_says_so(page: Page, app: str) -> None:
    page.goto(f"{app}?tab=tradeoffs&point=nowhere&prompt=Hello")
    expect(page.get_by_role("alert").filter(has_text="nowhere")).to_be_visible()
    expect(page.locator(".tw-wish .tw-says")).to_have_text("the policy of the link")
    page.goto(f"{app}?tab=tradeoffs&point=mix:pgapo-0.1%2Bpgapo-0.9@0.4&prompt=Hello&max_new_tokens=8")
    name = page.locator(".tw-answers h2 > span:nth-of-type(1)").last
    expect(name).not_to_contain_text("@")
    expect(page.locator(".tw-wish .tw-says")).to_have_text(name.inner_text())


def test_a_link_to_a_study_or_a_view_that_is_not_there_says_so(page: Page, app: str) -> None:
    alert = page.get_by_role("alert").locator("visible=true")
    for view in ("results", "studies"):
        page.goto(f"{app}?tab=compare&view={view}&study=feedbeef")
        expect(alert.filter(has_text="There is no study at this address")).to_be_visible()
    page.goto(f"{app}?tab=compare&view=nowhere")
    expect(alert).to_have_text("Left out of the link, since it cannot be read here: view.")
    tab(page, "Results").click()
    expect(alert).to_have_count(0)
    page.goto(f"{app}?tab=tradeoffs&view=moon&set=none&axes=a,b&max_new_tokens=8")
    hint = page.locator(".tw-front .tw-hint[role=status]")
    expect(hint).to_have_text("Left out of the link, since it cannot be read here: set, view, axes.")
    page.get_by_role("button", name="Parallel axes").click()
    expect(hint).not_to_contain_text("Left out")


def test_a_link_is_read_by_one_rule(page: Page, app: str) -> None:
    """What is no number is left out and named; what is out of bounds stays in its field, and the sentence by it."""
    for place in ("steer", "tradeoffs"):
        where = page.locator(f".tw-steer{':not(.tw-tradeoffs)' if place == 'steer' else '.tw-tradeoffs'}")
        seed = where.locator(".tw-seed input")
        page.goto(f"{app}?tab={place}&prompt=Hello&seed=abc&max_new_tokens=8")
        problem = where.locator(".tw-prompt-box .tw-problem:not(.tw-fault)")
        expect(problem).to_have_text("Left out of the link, since it cannot be read here: seed.")
        assert seed.input_value() in ("6", "7"), "what the page opens with"
        where.locator(".tw-prompt-box textarea").press("Enter")
        expect(problem).to_have_text("")
        for number, kind in (("-1", "number"), ("1.5", "whole number")):
            page.goto(f"{app}?tab={place}&prompt=Hello&seed={number}&max_new_tokens=8")
            expect(where.locator(".tw-fault")).to_have_text(
                f"Seed is {number}: give a {kind} from 0 to 4,294,967,295."
            )
            expect(seed).to_have_value(number)


def test_the_address_of_steer_is_left_alone_by_other_tabs(page: Page, app: str) -> None:
    page.goto(app)
    page.get_by_label("Prompt").first.fill("What is rain?")
    page.get_by_label("Prompt").first.press("Enter")
    page.wait_for_url(lambda url: "What+is+rain" in url)
    tab(page, "About").click()
    page.wait_for_url(lambda url: "rain" not in url)
    tab(page, "Steer").click()
    page.wait_for_url(lambda url: "tab=steer" in url and "What+is+rain" in url)


def test_back_comes_to_a_part_of_compare_whose_study_is_the_same(page: Page, app: str) -> None:
    page.goto(f"{app}?tab=compare&study=feedbeef")
    name = page.get_by_label("Your name")
    for _ in range(2):
        expect(name).to_be_visible()
        tab(page, "Results").click()
        page.wait_for_url(lambda url: "view=results" in url)
        expect(name).to_be_hidden()
        page.go_back()
    expect(tab(page, "Judge")).to_have_attribute("aria-selected", "true")
    expect(name).to_be_visible()


def test_a_new_study_has_an_address(page: Page, app: str) -> None:
    page.goto(f"{app}?tab=compare&view=new")
    name, form = page.get_by_label("Name of the study"), page.get_by_role("button", name="New study")
    expect(name).to_be_visible()
    form.click()
    page.wait_for_url(lambda url: "view=studies" in url)
    expect(name).to_be_hidden()
    form.click()
    page.wait_for_url(lambda url: "view=new" in url)
    page.reload()
    expect(name).to_be_visible()
    tab(page, "Judge").click()
    page.go_back()
    expect(tab(page, "Studies")).to_have_attribute("aria-selected", "true")
    expect(name).to_be_visible()


def test_a_link_with_points_keeps_the_view_of_a_front_that_is_drawn_after_them(page: Page, app: str) -> None:
    held = []
    page.route("**/tradeoffs/front.js*", lambda route: held.append(route))
    page.goto(f"{app}?tab=tradeoffs&view=parallel&point=pgapo-0.1&prompt=Hello&max_new_tokens=8")
    expect(page.get_by_label("Answer of P-GAPO 0.1 : 0.9")).to_have_text(re.compile(".", re.DOTALL))
    for route in held:
        route.continue_()
    expect(page.get_by_role("button", name="Parallel axes")).to_have_attribute("aria-pressed", "true")
    assert "view=parallel" in page.url
