"""Conversations on the Steer tab in a real browser: each column answers after its own answers, and links restore them."""

import json
from urllib.parse import parse_qs, quote, urlsplit

from playwright.sync_api import Page, expect

from tests.web.test_steer import at, settled, shown, texts


def replied(page: Page, text: str) -> None:
    run = shown(page)
    page.get_by_label("Reply to both").fill(text)
    page.get_by_label("Reply to both").press("Enter")
    page.wait_for_function(f"Number(document.querySelector('.tw-stage').dataset.shown) > {run}")
    settled(page)


def earlier(page: Page, index: int = -1) -> list[str]:
    answers = page.locator(".tw-turn").nth(index) if index >= 0 else page.locator(".tw-turn").last
    return answers.locator(".tw-answer").all_text_contents()


def test_a_reply_goes_on_from_each_columns_own_answer_and_the_link_restores_it(app: str, page: Page) -> None:
    page.goto(at(app, budget=0.25, method="auto", layers="auto"))
    settled(page)
    first = texts(page)
    replied(page, "Tell me more.")
    assert earlier(page) == first and first[0] != first[1]
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("Tell me more.")
    replied(page, "Why?")
    expect(page.locator(".tw-turn")).to_have_count(2)
    expect(page.locator(".tw-earlier summary")).to_have_text("1 earlier turn")
    assert "Tell me more" not in page.url.partition("#")[0]
    other = page.context.new_page()
    other.goto(page.url)
    settled(other)
    assert texts(other) == texts(page) and earlier(other) == earlier(page)


ASKED_AND_REPLIED = """() => {
  const press = (field) => field.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
  press(document.querySelector('#tw-prompt'));
  const reply = document.querySelector('.tw-reply input');
  reply.value = 'And then?';
  reply.dispatchEvent(new Event('input'));
  press(reply);
  return document.querySelector('.tw-reply .tw-hint').textContent;
}"""
"""Asks for an answer and replies to it before any of it can have come: nothing comes while a script runs."""


def test_a_reply_that_is_sent_while_text_streams_waits_for_it(app: str, page: Page) -> None:
    page.goto(at(app, tokens=32))
    settled(page)
    assert page.evaluate(ASKED_AND_REPLIED) == "Your reply goes out when both answers are complete."
    expect(page.locator(".tw-turn")).to_have_count(1)
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("And then?")
    expect(page.get_by_label("Reply to both")).to_have_value("")
    settled(page)
    assert all(earlier(page))


def test_a_turn_is_edited_answered_again_and_what_was_given_up_comes_back(app: str, page: Page) -> None:
    page.goto(at(app))
    settled(page)
    replied(page, "Tell me more.")
    last = texts(page)
    page.locator(".tw-turn").hover()
    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_label("Prompt", exact=True)).to_be_focused()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("Tell me about the ocean.")
    expect(page.locator(".tw-turn")).to_have_count(0)
    page.get_by_role("button", name="Take them back").click()
    expect(page.locator(".tw-turn")).to_have_count(1)
    settled(page)
    assert texts(page) == last
    page.locator(".tw-turn").hover()
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".tw-turn")).to_have_count(0)
    settled(page)
    replied(page, "Tell me more.")
    assert texts(page) == last
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".tw-turn")).to_have_count(0)


def test_a_system_message_and_plain_text_are_asked_and_kept_in_the_link(app: str, page: Page) -> None:
    page.goto(at(app))
    settled(page)
    before, run = texts(page), shown(page)
    page.get_by_text("System message", exact=True).click()
    page.get_by_label("System message").fill("You are a pirate who answers in one word.")
    page.wait_for_function(f"Number(document.querySelector('.tw-stage').dataset.shown) > {run}")
    settled(page)
    assert texts(page) != before
    assert "pirate" in parse_qs(urlsplit(page.url).query)["system"][0]
    run = shown(page)
    page.get_by_role("button", name="Continue").click()
    page.wait_for_function(f"Number(document.querySelector('.tw-stage').dataset.shown) > {run}")
    settled(page)
    assert parse_qs(urlsplit(page.url).query)["continue"] == ["On Saturday we"]
    expect(page.get_by_label("Reply to both")).to_be_hidden()
    expect(page.get_by_text("System message", exact=True)).to_be_hidden()
    other = page.context.new_page()
    other.goto(page.url)
    settled(other)
    assert texts(other) == texts(page)
    run = shown(page)
    page.get_by_role("button", name="Chat", exact=True).click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("Tell me about the ocean.")


def test_a_conversation_beyond_the_context_says_what_it_left_out(app: str, page: Page) -> None:
    turn = {"prompt": "Go on.", "unsteered": "well " * 700, "steered": "well " * 700}
    page.goto(f"{at(app, tokens=8)}#chat={quote(json.dumps([turn] * 3))}")
    settled(page)
    expect(page.locator(".tw-left-out")).to_have_text(
        "The model’s context has no room for the first turn: it was left out."
    )
    page.locator(".tw-earlier summary").click()
    expect(page.locator(".tw-turn.tw-dropped")).to_have_count(1)
