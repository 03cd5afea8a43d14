"""The Compare tab with more than one pair of hands: two tabs of one person, two people at once, and a lead who changes a study meanwhile."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from arena import Output, Service, Store, create, example, studies, votes_frame
from arena.studies import listing
from tests.web.conftest import serving

NAME = "Eggs"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[tuple[str, Store]]:
    """The tab's address and its store."""
    database = f"sqlite:///{tmp_path / 'arena.sqlite3'}"
    with serving(tmp_path, "tests/web/arena_app.py", database, "PORT") as address:
        yield address, Store(database)


@pytest.fixture
def pages(chrome: Browser) -> Iterator[list[Page]]:
    """Three tabs: two of one browser, and one of another."""
    errors: list[str] = []
    contexts = [chrome.new_context(), chrome.new_context()]
    tabs = [contexts[0].new_page(), contexts[0].new_page(), contexts[1].new_page()]
    for tab in tabs:
        tab.on("pageerror", lambda error: errors.append(str(error)))
    yield tabs
    for context in contexts:
        context.close()
    assert not errors


def judges(page: Page, address: str, name: str, study: str = "") -> None:
    page.goto(f"{address}/?tab=compare&name={name}&study={study}")
    page.wait_for_selector("[data-stage=vote]")


def battle(page: Page) -> str:
    return page.locator(".tw-arena").get_attribute("data-battle") or ""


def votes(page: Page, *keys: str) -> None:
    for key in (*keys, "Enter"):
        page.keyboard.press(key)


def told(page: Page) -> None:
    page.wait_for_selector("[data-stage=reveal]")


def onward(page: Page) -> None:
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-stage=vote]")


def stored(store: Store, study: str | None = None) -> list[dict]:
    with store.read() as session:
        return votes_frame(session, study).to_dict("records")


def the(store: Store, name: str = NAME) -> studies.Study:
    return next(study for study in listing(store) if study.name == name)


def leads(page: Page, address: str, name: str = NAME) -> None:
    """Opens a study as its lead."""
    page.goto(f"{address}/?tab=compare&view=studies")
    page.get_by_role("button", name=name, exact=True).click()
    expect(page.get_by_label("Name", exact=True)).to_have_value(name)


def test_two_tabs_of_one_person_make_one_vote_a_battle(app, pages) -> None:
    address, store = app
    first, second, _ = pages
    for tab in (first, second):
        judges(tab, address, "Ada")
    assert battle(first) == battle(second), "a battle that is not answered yet is shown again"
    shown = battle(first)
    votes(first, "1", "1")
    told(first)
    votes(second, "2", "2")
    expect(second.locator(".tw-error, [data-stage=reveal]").first).to_be_visible()
    kept = stored(store)
    assert [vote["battle"] for vote in kept] == [shown], "one battle, one vote"
    second.wait_for_timeout(300)
    if second.locator("[data-stage=reveal]").count() == 0:
        assert "Traceback" not in second.inner_text("body")
        second.reload()
        second.wait_for_selector("[data-stage=vote]")
    else:
        onward(second)
    onward(first)
    assert battle(second) != shown != battle(first)


def test_two_people_at_once_have_votes_of_their_own(app, pages) -> None:
    address, store = app
    ada, _, bob = pages
    judges(ada, address, "Ada")
    judges(bob, address, "Bob")
    for number in range(3):
        votes(ada, "1", "1")
        votes(bob, "2", "2")
        told(ada)
        told(bob)
        kept = stored(store)
        assert len(kept) == 2 * (number + 1)
        onward(ada)
        onward(bob)
    ada.keyboard.press("1")
    bob.reload()
    bob.wait_for_selector("[data-stage=vote]")
    assert ada.locator("input:checked").count() == 1, "nobody's choice is touched by another's reload"
    kept = stored(store)
    assert {vote["helpful"] for vote in kept if vote["annotator"] == "Ada"} == {"a"}
    assert {vote["helpful"] for vote in kept if vote["annotator"] == "Bob"} == {"b"}


def test_a_study_that_is_archived_while_somebody_judges_keeps_the_vote_on_what_was_shown(app, pages) -> None:
    address, store = app
    ada, _, lead = pages
    judges(ada, address, "Ada")
    votes(ada, "1", "1")
    told(ada)
    onward(ada)
    leads(lead, address)
    lead.get_by_role("button", name="Archive", exact=True).click()
    lead.get_by_text("It is archived, with all its votes").wait_for()
    before = len(stored(store, the(store).id))
    assert before == 1, "archived, with its votes"
    votes(ada, "1", "1")
    told(ada)
    assert len(stored(store, the(store).id)) == 2
    lead.get_by_role("button", name="Take out of the archive").click()
    lead.get_by_text("It is out of the archive").wait_for()
    assert len(stored(store, the(store).id)) == 2


def test_a_study_is_renamed_and_copied_while_somebody_judges(app, pages) -> None:
    address, store = app
    ada, _, lead = pages
    judges(ada, address, "Ada")
    leads(lead, address)
    lead.get_by_label("Name", exact=True).fill("Eggs, boiled")
    lead.get_by_role("button", name="Save changes").click()
    lead.get_by_text("“Eggs, boiled” is saved").wait_for()
    votes(ada, "1", "1")
    told(ada)
    onward(ada)
    assert ada.locator(".tw-judge .tw-count").first.inner_text().startswith("Eggs, boiled · 1 judged")
    lead.get_by_role("button", name="Duplicate").click()
    lead.get_by_text("The copy has no votes and is closed").wait_for()
    expect(lead.get_by_label("Name", exact=True)).to_have_value("Eggs, boiled, copy")
    copy = the(store, "Eggs, boiled, copy")
    assert (copy.state, copy.votes, copy.battles) == ("closed", 0, the(store, "Eggs, boiled").battles)
    lead.get_by_label("Name", exact=True).fill("Eggs, boiled")
    lead.get_by_role("button", name="Save changes").click()
    expect(lead.locator(".tw-error:not(:empty)").first).to_be_visible()
    assert {study.name for study in listing(store)} == {"Eggs, boiled", "Eggs, boiled, copy"}


def test_an_earlier_vote_is_corrected_and_marked_and_other_votes_stay(app, pages) -> None:
    address, store = app
    ada, second, _ = pages
    judges(ada, address, "Ada")
    for _ in range(2):
        votes(ada, "1", "1")
        told(ada)
        onward(ada)
    judges(second, address, "Ada")
    ada.get_by_role("button", name="Your answers").click()
    ada.get_by_role("button", name="Look again").last.click()
    ada.wait_for_selector("[data-stage=correct]")
    corrected = battle(ada)
    votes(ada, "2", "ArrowDown", "3")
    ada.get_by_text("The correction is kept").wait_for()
    second.reload()  # the other tab has the same answers
    second.wait_for_selector("[data-stage=vote]")
    second.get_by_role("button", name="Your answers").click()
    expect(second.locator(".tw-judge")).to_contain_text("corrected")
    kept = {vote["battle"]: vote for vote in stored(store)}
    assert len(kept) == 2
    assert (kept[corrected]["helpful"], kept[corrected]["harmless"]) == ("b", "tie")
    assert kept[corrected]["corrected"] and kept[corrected]["revised"]
    [other] = [vote for id, vote in kept.items() if id != corrected]
    assert (other["helpful"], other["harmless"], bool(other["corrected"])) == ("a", "a", False)


def test_only_a_study_that_people_can_judge_has_links_and_one_under_a_notice_has_no_pace(app, pages) -> None:
    address, store = app
    lead, _, ada = pages
    example.add(store)
    judges(ada, address, "Ada")
    votes(ada, "1", "1")
    told(ada)
    columns = lead.locator(".tw-people th").filter(
        has_text=re.compile("^(Seconds a vote|Votes an hour|Own link)$")
    )
    to_judge = lead.get_by_role("button", name="Copy link to judge")
    leads(lead, address)
    expect(to_judge).to_be_visible()
    expect(columns).to_have_text(["Seconds a vote", "Votes an hour", "Own link"])
    lead.get_by_role("button", name="Close to annotators").click()
    lead.get_by_text("Nobody can judge it while it is closed").wait_for()
    expect(to_judge).to_be_hidden()
    expect(columns).to_have_text(["Seconds a vote", "Votes an hour"])
    leads(lead, address, example.NAME)
    expect(lead.locator(".tw-people tbody tr")).to_have_count(2)
    expect(columns).to_have_count(0)
    lead.get_by_role("button", name="Open to annotators").click()
    expect(to_judge).to_be_visible()
    expect(columns).to_have_count(0)


def test_results_open_on_the_study_that_was_picked(app, pages) -> None:
    address, store = app
    lead, _, ada = pages
    studies.duplicate(store, the(store).id, "Omelettes")
    judges(ada, address, "Ada", the(store).id)
    votes(ada, "1", "1")
    told(ada)
    leads(lead, address, "Omelettes")
    lead.get_by_role("tab", name="Results").click()
    chosen = lead.get_by_label("Study").locator("visible=true")
    expect(chosen).to_have_value("Omelettes")
    expect(lead.get_by_text("No votes yet")).to_be_visible()
    leads(lead, address)
    lead.get_by_role("tab", name="Results").click()
    expect(chosen).to_have_value(NAME)
    expect(lead.get_by_text("1 (0 ties, 0 both bad, 0 skipped)")).to_be_visible()


def test_nobody_starts_before_the_page_has_read_its_link(app, pages) -> None:
    address, store = app
    ada, *_ = pages
    held: list[Route] = []
    ada.route("**/compare/place.js", lambda route: held.append(route))
    with ada.expect_request("**/compare/place.js"):
        ada.goto(f"{address}/?tab=compare&study={the(store).id}")
    name = ada.get_by_label("Your name")
    name.wait_for(state="attached")
    expect(name).to_be_hidden()
    held.pop().continue_()
    name.fill("Ada")
    ada.keyboard.press("Enter")
    ada.get_by_role("button", name="Ada · Eggs · change").wait_for()


def test_a_link_over_which_the_server_fails_is_tried_again(app, pages) -> None:
    address, store = app
    ada, *_ = pages
    study = the(store).id
    ada.goto(address)
    name = ada.get_by_label("Your name")
    expect(name).to_be_visible()
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE sets RENAME TO away")
    ada.evaluate(
        f"history.pushState(null, '', '?tab=compare&study={study}&name=Ada'); dispatchEvent(new PopStateEvent('popstate'))"
    )
    again = ada.get_by_role("button", name="Try again")
    again.wait_for()
    expect(name).to_be_hidden()
    first = again.element_handle()
    again.click()
    first.wait_for_element_state("hidden")
    again.wait_for()
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO sets")
    again.click()
    ada.wait_for_selector("[data-stage=vote]")
    expect(again).to_be_hidden()


def test_many_answers_stand_on_pages_and_a_correction_comes_back_to_its_page(app, pages) -> None:
    address, store = app
    ada, *_ = pages
    texts = [Output(f"Prompt {n}", name, f"{name} {n}") for n in range(60) for name in ("one", "two")]
    study = create(store, "Many", texts, repeats=0.0).set
    service = Service(store, votes_a_minute=1_000)
    given = []
    for _ in range(51):
        given.insert(0, service.next("Ada", study).battle)
        service.vote(given[0], "Ada", {"helpful": "a", "harmless": "a"})
    judges(ada, address, "Ada", study)
    ada.get_by_role("button", name="Your answers").click()
    listed = ada.locator(".tw-answered li")
    expect(listed).to_have_count(50)
    expect(ada.get_by_role("button", name="Later")).to_have_count(0)
    ada.get_by_role("button", name="Earlier").click()
    expect(listed).to_have_count(1)
    ada.get_by_text("Page 2 of 2").wait_for()
    ada.get_by_role("button", name="Look again").click()
    ada.wait_for_selector("[data-stage=correct]")
    assert battle(ada) == given[-1]
    ada.get_by_role("button", name="Your answers").click()
    ada.get_by_text("Page 2 of 2").wait_for()
    ada.get_by_role("button", name="Look again").click()
    ada.wait_for_selector("[data-stage=correct]")
    votes(ada, "2", "2")
    ada.get_by_text("The correction is kept").wait_for()
    ada.get_by_text("Page 2 of 2").wait_for()
    ada.get_by_role("button", name="Later").click()
    ada.get_by_text("Page 1 of 2").wait_for()
    ada.keyboard.press("Enter")  # on the way back
    ada.wait_for_selector("[data-stage=vote]")


def test_what_is_chosen_and_not_committed_outlives_a_reload_for_its_author_alone(app, pages) -> None:
    address, store = app
    ada, *_ = pages
    judges(ada, address, "Ada")
    shown = battle(ada)
    for key in ("2", "c"):
        ada.keyboard.press(key)
    ada.keyboard.type("half a thought")
    ada.reload()
    ada.wait_for_selector("[data-stage=vote]")
    assert battle(ada) == shown
    expect(ada.locator("input:checked")).to_have_count(1)
    expect(ada.locator("input:checked")).to_have_value("b")
    expect(ada.get_by_label("Comment, optional")).to_have_value("half a thought")
    judges(ada, address, "Bob")
    assert ada.locator("input:checked").count() == 0
    expect(ada.get_by_label("Comment, optional")).to_have_value("")
    judges(ada, address, "Ada")
    votes(ada, "2", "1")
    told(ada)
    ada.keyboard.press("u")
    ada.get_by_text("Vote taken back").wait_for()
    assert ada.locator("input:checked").count() == 0, "a vote that was taken back is given anew"
