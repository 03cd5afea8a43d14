"""Models are chosen on the page: one in memory at a time, each with a page of its own."""

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.tiny import CHATML, LAYERS, save_tokenizer, tiny
from tests.web.conftest import serving

DEFAULT = "SmolLM2-135M-Instruct"
SETTLED = "document.querySelector('.tw-stage')?.dataset.phase === 'done'"
PATIENCE = 240_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The default model, a Qwen-shaped one, and one whose folder holds nothing."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(tiny("qwen2"), folder / "tiny-qwen")
    save_tokenizer(folder / "tiny-qwen", CHATML)
    (folder / "empty").mkdir()
    names = ",".join((DEFAULT, str(folder / "tiny-qwen"), str(folder / "empty")))
    environment = {"DATABASE_URL": f"sqlite:///{folder / 'votes.sqlite'}", "TRADEWIND_MODEL": names}
    with serving(folder, "app.py", "--port", "PORT", **environment) as address:
        yield address


def get(address: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=120) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def states(lab: str) -> dict[str, str]:
    return {model["name"]: model["state"] for model in json.loads(get(f"{lab}/models.json")[1])}


def settled(page: Page) -> None:
    page.wait_for_function(SETTLED, timeout=PATIENCE)


def answered(page: Page, before: str) -> None:
    """Waits for another text than before; where the other's took long, the page says so and is asked again."""
    ended = (
        "before => { const phase = document.querySelector('.tw-stage').dataset.phase; return phase === 'error' ||"
        " (phase === 'done' && document.querySelector('.tw-steered .tw-text').innerText !== before) }"
    )
    page.wait_for_function(ended, arg=before, timeout=PATIENCE)
    while page.locator(".tw-stage").get_attribute("data-phase") == "error":
        expect(page.get_by_text("waits for memory").first).to_be_visible()
        page.get_by_label("Prompt", exact=True).press("Enter")
        page.wait_for_function(
            "document.querySelector('.tw-stage').dataset.phase !== 'error'", timeout=PATIENCE
        )
        page.wait_for_function(ended, arg=before, timeout=PATIENCE)


def choose(page: Page, name: str) -> None:
    page.locator(".tw-models summary").click()
    page.get_by_role("link", name=name).click()


def test_a_model_is_chosen_in_the_head_and_all_its_tabs_are_alive(page: Page, lab: str) -> None:
    page.goto(lab)
    settled(page)
    page.locator(".tw-models summary").click()
    own = page.get_by_role("link", name=DEFAULT)
    expect(own).to_contain_text("in memory")
    expect(page.locator(".tw-choices")).to_contain_text("One model is in memory at a time")
    page.keyboard.press("Escape")
    expect(own).to_be_hidden()
    page.get_by_label("Hold a concept as it is").select_option("formality")
    page.wait_for_url(lambda url: "formality" in unquote(url))
    choose(page, "tiny-qwen")
    page.wait_for_url("**/models/tiny-qwen/**", timeout=PATIENCE)
    settled(page)
    expect(page.get_by_label("Hold formality no longer")).to_be_visible()
    expect(page.locator(".tw-console").first).to_contain_text(f"of {LAYERS}")
    assert states(lab) == {DEFAULT: "asleep", "tiny-qwen": "ready", "empty": "asleep"}
    page.get_by_role("tab", name="Trade-offs").click()
    expect(page.get_by_text("No policy has been scored yet")).to_be_visible()
    page.get_by_role("tab", name="Compare").click()
    expect(page.get_by_role("tab", name="Studies")).to_be_visible()
    page.get_by_role("tab", name="About").click()
    expect(page.locator(".tw-essay").first).to_contain_text("tiny-qwen")
    page.reload()
    expect(page.locator(".tw-models summary")).to_contain_text("tiny-qwen", timeout=PATIENCE)
    choose(page, DEFAULT)
    page.wait_for_url(f"{lab}/?*", timeout=PATIENCE)
    page.get_by_role("tab", name="Steer").click()
    settled(page)  # it wakes
    assert states(lab)[DEFAULT] == "ready"
    page.goto("about:blank")


def test_a_page_whose_model_sleeps_wakes_it_and_two_who_switch_at_once_are_both_answered(
    chrome: Browser, lab: str
) -> None:
    errors: list[str] = []
    pages = []
    for path in ("", "models/tiny-qwen/"):
        page = chrome.new_context().new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{lab}/{path}")
        settled(page)
        pages.append(page)
    before = [page.locator(".tw-steered .tw-text").inner_text() for page in pages]
    prompts = "What do you eat?", "What do you read?"
    for page, prompt in zip(pages, prompts, strict=True):  # both press, and neither waits for the other
        page.get_by_label("Prompt", exact=True).fill(prompt)
        page.keyboard.press("Enter")
    for page, text in zip(pages, before, strict=True):
        answered(page, text)
    assert not errors and list(states(lab).values()).count("ready") == 1
    for page in pages:
        page.context.close()


def test_a_model_that_cannot_be_loaded_is_a_sentence_and_the_others_live(page: Page, lab: str) -> None:
    page.goto(f"{lab}/models/empty/")
    expect(page.get_by_text("config.json is missing")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page.get_by_role("link", name=DEFAULT).click()
    settled(page)
    page.goto("about:blank")


def test_addresses_of_models(lab: str) -> None:
    def target(path: str) -> str:
        return urllib.request.urlopen(f"{lab}{path}", timeout=60).geturl().removeprefix(lab)

    assert target(f"/models/{DEFAULT}/?tab=about") == "/?tab=about"  # the first has the app's own
    status, said = get(f"{lab}/models/nothing/", accept="text/html")
    assert status == 404 and "There is no model nothing here" in said
    assert get(f"{lab}/models/nothing/config")[0] == 404
    status, said = get(f"{lab}/models/empty/config")
    assert status == 503 and "config.json is missing" in said and "/tmp" not in said
    status, config = get(f"{lab}/models/tiny-qwen/config")  # waits until it is there
    assert status == 200 and json.loads(config)["root"] == f"{lab}/models/tiny-qwen"
    _, document = get(f"{lab}/models/tiny-qwen/")
    assert f'content="{lab}/models/tiny-qwen/preview.png"' in document
    assert get(f"{lab}/health")[0] == 200


def test_the_api_answers_as_every_model(lab: str) -> None:
    def asked(name: str, path: str = "", **more: object) -> tuple[int, dict]:
        body = {
            "model": name,
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": 3,
            "temperature": 0,
        }
        request = urllib.request.Request(
            f"{lab}{path}/v1/chat/completions",
            json.dumps(body | more).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=200) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def text(*request: str, **more: object) -> str:
        status, reply = asked(*request, **more)
        assert status == 200, reply
        return reply["choices"][0]["message"]["content"]

    listed = {model["id"]: model["owned_by"] for model in json.loads(get(f"{lab}/v1/models")[1])["data"]}
    assert listed["base"] == DEFAULT
    assert listed["tiny-qwen/base"] == "tiny-qwen"
    assert any(name.startswith("checkpoint:") for name in listed)
    first, other = text("base"), text("tiny-qwen/base")
    assert text(f"{DEFAULT}/base") == text(DEFAULT) == first != other
    assert text("tiny-qwen") == text("base", "/models/tiny-qwen") == other
    plan = {"targets": [{"concept": "sports", "direction": "amplify", "p0": 0.9}]}
    assert text(f"{DEFAULT}/base", plan=plan)
    status, reply = asked("empty/base")
    assert status == 503 and "config.json is missing" in reply["error"]["message"]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda name: text(name), ["base", "tiny-qwen/base"] * 2))
    assert answers == [first, other] * 2


def test_behind_a_proxy_every_page_lies_below_its_path(tmp_path: Path) -> None:
    environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'votes.sqlite'}",
        "TRADEWIND_MODEL": f"{tiny('llama')},{tiny('qwen2')}",
        "GRADIO_ROOT_PATH": "/lab",
    }
    slug = tiny("qwen2").name
    with serving(tmp_path, "app.py", "--port", "PORT", **environment) as address:
        for path in (f"/models/{slug}", f"/lab/models/{slug}"):  # with and without the prefix taken away
            status, config = get(f"{address}{path}/config")
            assert status == 200 and json.loads(config)["root"] == f"{address}/lab/models/{slug}"
            assert get(f"{address}{path}/tw/shared/head.js")[0] == 200
