"""The Compare tab in a real browser: blind traffic, keyboard, hostile text, phone; a crowd on one app."""

import contextlib
import json
import socket
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from arena import Store, create, export, import_, ranking, votes_frame
from arena.studies import listing
from arena.tables import tables
from tests.arena_postgres import free_port
from tests.web.arena_app import SECRET, outputs
from tests.web.conftest import serving


@contextlib.contextmanager
def running(folder: Path, *options: str):
    """The tab on a store of its own; yields the page's address and the database's URL."""
    database = f"sqlite:///{folder / 'arena.sqlite3'}"
    with serving(folder, "tests/web/arena_app.py", database, "PORT", *options) as address:
        yield address, database


@pytest.fixture(scope="module")
def browser(chrome: Browser) -> Browser:
    return chrome


@pytest.fixture
def app(tmp_path):
    with running(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One app for the tests that look and do not count votes; each signs in under a name of its own."""
    with running(tmp_path_factory.mktemp("shared")) as found:
        yield found


def sign_in(page: Page, address: str, name: str = "Ada") -> None:
    page.goto(address)
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-stage=vote]")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def stored(database: str):
    with Store(database).read() as session:
        return votes_frame(session)


def call(address: str, endpoint: str, *data: object) -> object:
    """One call of an endpoint, as any client makes it; RuntimeError with what the app says if it refuses."""
    url = f"{address}/gradio_api/call/{endpoint}"
    body = json.dumps({"data": data}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        event = json.load(reply)["event_id"]
    with urllib.request.urlopen(f"{url}/{event}", timeout=60) as stream:
        kind, value = [line.split(": ", 1)[1] for line in stream.read().decode().split("\n") if ": " in line][
            -2:
        ]
    if kind != "complete":
        raise RuntimeError(value)
    return json.loads(value)[0]


class Wiretap:
    """A proxy before the app that keeps every byte that passes, in both directions."""

    def __init__(self, address: str) -> None:
        self.target = ("127.0.0.1", int(address.rsplit(":", 1)[1]))
        self.record = bytearray()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self.server.accept()
            far = socket.create_connection(self.target)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pipe, args=(source, sink), daemon=True).start()

    def _pipe(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either end may hang up
            while part := source.recv(65536):
                self.record += part
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)


def test_nothing_in_the_traffic_tells_the_sides_apart_before_the_vote(browser, shared):
    """Every byte between browser and app until the vote is searched for the names and plans, uncompressed."""
    tap = Wiretap(shared[0])
    page = browser.new_page(extra_http_headers={"Accept-Encoding": "identity"})
    sign_in(page, tap.address, "tapped")
    page.wait_for_timeout(500)
    before, shown = bytes(tap.record), page.content()
    assert b"eggs in cold water" in before, "the record must hold the battle itself, readable"
    for secret in SECRET.values():
        assert secret.encode() not in before
        assert secret not in shown
    press(page, "1", "2", "Enter")
    page.wait_for_selector("[data-stage=reveal]")
    assert sum(secret in page.content() for secret in SECRET.values()) == 2
    assert sum(secret.encode() in tap.record for secret in SECRET.values()) == 2
    page.close()


def test_a_set_is_judged_with_the_keyboard_alone_then_ranked_exported_and_imported(browser, app, tmp_path):
    address, database = app
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    sign_in(page, address)
    press(page, "c")
    page.keyboard.type("a comment with 1 2 3 in it")
    press(page, "Escape", "ArrowUp", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-stage=reveal]")
    (first,) = stored(database).to_dict("records")
    assert (first["helpful"], first["harmless"]) == ("tie", "a")
    assert first["comment"] == "a comment with 1 2 3 in it"
    press(page, "u")
    page.wait_for_selector("[data-stage=vote]")
    assert stored(database).empty
    for number in range(9):
        press(page, "2", "3", "Enter")
        page.wait_for_selector("[data-stage=reveal]")
        assert len(stored(database)) == number + 1
        press(page, "Enter")
        page.wait_for_selector("[data-stage=done]" if number == 8 else "[data-stage=vote]")
    votes = stored(database)
    assert set(votes["helpful"]) == {"b"} and set(votes["harmless"]) == {"tie"}
    assert votes["revised"].sum() == 1
    page.get_by_role("tab", name="Results").click()
    page.get_by_text("Votes", exact=True).wait_for()
    page.get_by_text("8 (0 ties, 0 both bad, 0 skipped)").wait_for()
    page.locator(".tw-chart", has_text="helpful:").first.locator(".main-svg").first.wait_for()
    page.close()
    export(Store(database), tmp_path / "out")
    other = Store(f"sqlite:///{tmp_path / 'other.sqlite3'}")
    import_(other, tmp_path / "out")
    with other.read() as session:
        again = votes_frame(session)
    assert ranking(again, "helpful").to_json() == ranking(votes, "helpful").to_json()


def test_an_unanswered_question_is_asked_for_and_keys_in_other_fields_do_nothing(browser, app):
    address, database = app
    page = browser.new_page()
    sign_in(page, address)
    press(page, "Enter")
    assert "Answer every question first" in page.locator(".tw-error").inner_text()
    press(page, "c", "1", "2", "Enter")
    assert stored(database).empty
    assert page.locator("input:checked").count() == 0
    page.close()


def test_views_switch_and_stay_for_the_next_battle(browser, shared):
    address, _ = shared
    page = browser.new_page()
    sign_in(page, address, "viewer")
    assert page.locator(".tw-plain").first.is_visible() and not page.locator(".tw-rich").first.is_visible()
    press(page, "f")
    assert page.locator(".tw-rich").first.is_visible() and not page.locator(".tw-plain").first.is_visible()
    press(page, "1", "1", "Enter")
    page.wait_for_selector("[data-stage=reveal]")
    press(page, "Enter")
    page.wait_for_selector("[data-stage=vote]")
    assert page.locator("[data-view=rich]").get_attribute("aria-pressed") == "true"
    assert page.locator(".tw-rich").first.is_visible()
    page.close()


@pytest.mark.parametrize("width", [390, 1440])
def test_the_battle_fits_and_its_panes_are_equally_high(browser, shared, width):
    address, _ = shared
    page = browser.new_page(viewport={"width": width, "height": 844})
    sign_in(page, address, f"{width} wide")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    panes = page.locator(".tw-pane")
    boxes = panes.evaluate_all("panes => panes.map((pane) => pane.getBoundingClientRect().toJSON())")
    if width == 1440:
        assert boxes[0]["height"] == boxes[1]["height"] and boxes[0]["y"] == boxes[1]["y"]
    else:
        assert boxes[0]["x"] == boxes[1]["x"] and boxes[0]["width"] >= 0.85 * width
    ring = page.evaluate("getComputedStyle(document.activeElement.nextElementSibling).outlineWidth")
    assert ring == "3px"
    page.close()


def test_a_battle_of_script_tags_is_shown_as_text_and_runs_nothing(browser, tmp_path):
    with running(tmp_path, "hostile") as (address, _):
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        sign_in(page, address)
        page.wait_for_timeout(500)
        assert page.title() == "Compare"
        assert page.locator(".tw-arena script, .tw-arena img").count() == 0
        for place in (".tw-prompt", ".tw-rich >> nth=0"):
            words = page.locator(place).inner_text()
            assert "<script>document.title='owned'</script>" in words
            assert "${document.title='owned'} {{value}}" in words
        assert not any(url.endswith("/x") for url in asked)
        page.close()


def test_the_organizer_makes_a_set_from_policies(browser, tmp_path):
    with running(tmp_path, "empty") as (address, database):
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("tab", name="Studies").click()
        page.get_by_role("button", name="New study").click()
        page.get_by_role("button", name="Or answers of this app's policies").click()
        page.get_by_label("Prompts, one a line").fill("First?\nSecond?")
        for name in ("one", "two"):
            page.get_by_label(name, exact=True).check()
        page.get_by_role("button", name="Make battles").click()
        page.get_by_text("got 2 battles, 0 repeats and 0 traps").wait_for()
        page.get_by_role("tab", name="Judge").click()
        page.get_by_label("Your name").fill("Ada")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-stage=vote]")
        assert page.locator(".tw-judge .tw-count").inner_text().startswith("Battles · 0 judged, 2 to go")
        page.close()
    assert stored(database).empty


def test_who_finds_nothing_to_judge_practises_and_nothing_of_it_counts(browser, tmp_path):
    with running(tmp_path, "empty") as (address, database):
        page = browser.new_page()
        page.goto(address)
        page.get_by_label("Your name").fill("Ada")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Practise on an example").click()
        page.wait_for_selector("[data-stage=vote]")
        press(page, "1", "2", "Enter")
        page.wait_for_selector("[data-stage=reveal]")
        press(page, "Enter")
        page.wait_for_selector("[data-stage=vote]")
        assert (
            page.locator(".tw-judge .tw-count")
            .inner_text()
            .startswith("Practice: four policies, 40 prompts · 1 judged")
        )
        page.close()
    assert stored(database).empty


def test_who_comes_to_judge_is_told_whether_anything_waits_as_it_is_now(browser, tmp_path):
    with running(tmp_path, "empty") as (address, database):
        page = browser.new_page()
        page.goto(address)
        page.get_by_text("No battle yet").wait_for()
        page.get_by_role("button", name="Practise on an example").click()
        page.get_by_text("Your name is missing: type one").wait_for()
        name = page.get_by_label("Your name")
        assert name.evaluate("(field) => field === document.activeElement")
        name.fill("Ad")
        create(Store(database), "Eggs", outputs(), repeats=0.0)
        page.get_by_role("tab", name="Results").click()
        page.get_by_role("tab", name="Judge").click()
        page.get_by_text("Two answers, no names").wait_for()
        assert name.input_value() == "Ad"
        other = browser.new_page()
        other.goto(address)
        other.get_by_text("Two answers, no names").wait_for()
        other.close()
        page.close()


def test_a_part_that_is_clicked_before_the_page_is_ready_stays_open(browser, shared):
    address, _ = shared
    page = browser.new_page()
    held = []
    page.route("**/compare/place.js*", lambda route: held.append(route))
    with page.expect_request("**/compare/place.js*"):
        page.goto(address)
    page.get_by_role("tab", name="Studies").click()
    with page.expect_response("**/compare/place.js*"):
        for route in held:
            route.continue_()
    page.wait_for_timeout(500)
    assert page.get_by_role("tab", name="Studies").get_attribute("aria-selected") == "true"
    page.close()


def test_the_organizer_stops_exports_and_imports(browser, tmp_path):
    with running(tmp_path) as (address, database):
        page = browser.new_page(accept_downloads=True)
        page.goto(address)
        page.get_by_role("tab", name="Studies").click()
        page.get_by_role("button", name="New study").click()
        stop = page.get_by_role("button", name="Stop")
        page.get_by_role("button", name="Make battles").wait_for()
        assert not stop.is_visible(), "there is nothing to stop"
        page.get_by_role("button", name="Or answers of this app's policies").click()
        page.get_by_label("Prompts, one a line").fill("Slow?\nSecond?")
        for name in ("one", "two"):
            page.get_by_label(name, exact=True).check()
        page.get_by_role("button", name="Make battles").click()
        page.get_by_text("0 of 4 answers").wait_for()
        stop.click()
        page.get_by_text("Stopped: nothing was stored").wait_for()
        page.get_by_label("Prompts, one a line").fill(f"First?\n{'long ' * 900}")
        page.get_by_role("button", name="Make battles").click()
        page.get_by_text("cannot be answered by 'one': the prompt is too long").wait_for()
        with page.expect_download() as found:
            page.get_by_role("button", name="Export all studies").click()
        found.value.save_as(tmp_path / "arena.zip")
        page.close()
    (tmp_path / "other").mkdir()
    with running(tmp_path / "other", "empty") as (address, other):
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("tab", name="Studies").click()
        for file, told in (
            (tmp_path / "arena.zip", "9 runs, 9 battles, 0 votes imported"),
            (tmp_path / "bad.zip", "cannot be unpacked"),
        ):
            (tmp_path / "bad.zip").write_text("no archive")
            page.locator("input[type=file][accept='.zip']").set_input_files(file)
            page.get_by_text(told).wait_for()
        page.get_by_role("button", name="Export all studies").click()
        page.get_by_text(told).wait_for(state="detached")
        page.close()
    assert tables(Store(other), names=True) == tables(Store(database), names=True)


def test_a_vote_outlives_a_restart_of_the_app(browser, tmp_path):
    database, port = f"sqlite:///{tmp_path / 'arena.sqlite3'}", str(free_port())
    with serving(tmp_path, "tests/web/arena_app.py", database, port, port=port) as address:
        page = browser.new_page()
        sign_in(page, address)
        battle = page.locator(".tw-arena").get_attribute("data-battle")
        press(page, "1", "2", "c")
        page.keyboard.type("typed before")
    with serving(tmp_path, "tests/web/arena_app.py", database, port, port=port):
        press(page, "Escape", "Enter")
        page.wait_for_selector("[data-stage=reveal]")
        (vote,) = stored(database).to_dict("records")
        assert (vote["battle"], vote["annotator"], vote["comment"]) == (battle, "Ada", "typed before")
        press(page, "Enter")
        page.wait_for_selector("[data-stage=vote]")
    with serving(tmp_path, "tests/web/arena_app.py", database, port, port=port):
        press(page, "1", "2", "Enter")
        page.wait_for_selector("[data-stage=reveal]")
        press(page, "u")
        page.get_by_text("Vote taken back").wait_for()
        page.close()


def test_fifty_annotators_at_once_on_one_app(app):
    """Each judges three of the nine battles through the endpoints; their comments and answers are their own."""
    address, database = app
    answers = ("a", "b", "tie", "both_bad", "skip")

    def sit(number: int) -> list[int]:
        person, left = f"person {number}", []
        for _ in range(3):
            battle = call(address, "battle", person)
            left.append(battle["remaining"])
            reveal = call(address, "vote", battle["battle"], person, answers[number % 5], "tie", person)
            assert reveal["helpful"] == answers[number % 5]
        return left

    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(sit, range(50))) == [[9, 8, 7]] * 50
    votes = stored(database)
    assert len(votes) == 150 == len(votes[["battle", "annotator"]].drop_duplicates())
    assert (votes["comment"] == votes["annotator"]).all()
    assert (
        votes["helpful"]
        == votes["annotator"].str.split().str[1].astype(int).mod(5).map(dict(enumerate(answers)))
    ).all()


def test_the_endpoints_keep_their_contract(app):
    address, _ = app
    battle = call(address, "battle", "Ada")
    assert set(battle) == {"battle", "prompt", "a", "b", "remaining"} and battle["remaining"] == 9
    with pytest.raises(RuntimeError, match="not shown to you"):
        call(address, "vote", battle["battle"], "Bob", "a", "b", "")
    reveal = call(address, "vote", battle["battle"], "Ada", "a", "b", "")
    assert {reveal["a"]["policy"], reveal["b"]["policy"]} < set(SECRET.values())
    assert call(address, "undo", battle["battle"], "Ada") == {"undone": battle["battle"]}
    assert call(address, "battle", "Ada")["battle"] == battle["battle"]
    assert call(address, "ranking", "helpful")["votes"] == 0
    with pytest.raises(RuntimeError, match="The question is 'pretty'"):
        call(address, "ranking", "pretty")


def test_a_lead_makes_a_study_of_a_file_and_people_come_back_by_its_link(browser, tmp_path):
    rows = "".join(f"Wie {n}?;Grün {n};“{n}”, sagt sie\r\n" for n in range(3))
    (tmp_path / "outputs.csv").write_text(f"Frage;modell a;modell b\r\n{rows}", "cp1252", newline="")
    with running(tmp_path, "empty") as (address, database):
        page = browser.new_page()
        page.goto(f"{address}/?tab=compare&view=studies")
        page.get_by_role("button", name="New study").click()
        page.locator(".tw-new input[type=file]").set_input_files(tmp_path / "outputs.csv")
        page.get_by_text("3 rows; CSV in cp1252, separated by semicolons").wait_for()
        page.get_by_text("“0”, sagt sie").wait_for()
        asked = page.locator(".tw-new").get_by_label("Questions, key: text on each line")
        asked.fill("kinder Which is kinder?")
        page.get_by_role("button", name="Make battles").click()
        page.get_by_text("is no question: write key: text").wait_for()
        below = "field => document.querySelector('.tw-by .tw-error').getBoundingClientRect().top - field.getBoundingClientRect().bottom"
        assert asked.evaluate(below) < 60, "the sentence stands by its field"
        asked.fill("kinder: Which is kinder?")
        page.get_by_label("Name of the study").fill("Drei Fragen")
        page.get_by_role("button", name="Make battles").click()
        page.get_by_text("got 3 battles, 0 repeats").wait_for()
        page.get_by_role("button", name="Copy link to judge").wait_for()  # the new study is open
        assert page.get_by_label("Guideline (Markdown)").first.input_value().count("helpful") == 0
        page.get_by_role("button", name="New study").click()
        page.wait_for_function("document.querySelector('.tw-new').textContent.includes('Drop File Here')")
        (study,) = listing(Store(database))
        assert page.get_by_label("Name of the study").input_value() == "Drei Fragen 2"
        (study,) = listing(Store(database))
        page.goto(f"{address}/?tab=compare&study={study.id}&name=Ada")
        page.wait_for_selector("[data-stage=vote]")
        assert page.locator(".tw-count").inner_text().startswith("Drei Fragen · 0 judged, 3 to go")
        press(page, "1", "Enter")
        page.wait_for_selector("[data-stage=reveal]")
        page.reload()
        page.wait_for_selector("[data-stage=vote]")
        assert page.locator(".tw-count").inner_text().startswith("Drei Fragen · 1 judged, 2 to go")
        page.get_by_role("button", name="Your answers").click()
        page.get_by_role("button", name="Look again").click()
        page.wait_for_selector("[data-stage=correct]")
        press(page, "2", "Enter")
        page.get_by_text("The correction is kept").wait_for()
        with Store(database).read() as session:
            (vote,) = votes_frame(session, study.id).to_dict("records")
        assert (vote["kinder"], vote["corrected"], vote["revised"]) == ("b", True, True)
        page.goto(f"{address}/?tab=compare&study=feedbeef")
        page.get_by_text("There is no study at this address").wait_for()
        page.close()
