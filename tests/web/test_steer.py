"""The Steer tab in a real browser, on the real model."""

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import gguf
import numpy as np
import pytest
from playwright.sync_api import Download, Page, expect

from steering import CAV
from tests.web.conftest import stop_when

ROOT = Path(__file__).parents[2]

PLAN = {
    "targets": [{"concept": "sports", "direction": "amplify", "p0": 0.98}],
    "layers": [10, 12, 14], "method": "gcav", "strength": None, "scope": "all", "cap": None,
}  # fmt: skip


NEVER = {"targets": [{"concept": "sports", "direction": "remove", "p0": 1 - 1e-6}]}
"""A text about the ocean never reads as that surely about sport."""


def at(
    app: str,
    prompt: str = "Tell me about the ocean.",
    tokens: int = 16,
    seed: int = 3,
    temperature: float = 0.0,
    **plan,
) -> str:
    """The address of a request, as the share link writes it."""
    told = json.dumps({**PLAN, **plan})
    return f"{app}/?prompt={quote(prompt)}&plan={quote(told)}&seed={seed}&max_new_tokens={tokens}&temperature={temperature}"


def p0(value: float) -> dict:
    return {"targets": [{**PLAN["targets"][0], "p0": value}]}


def settled(page: Page) -> None:
    """Waits for the newest run to be complete."""
    page.wait_for_function(
        "document.querySelector('.tw-stage')?.dataset.phase === 'done' && !document.querySelector('.tw-stage.tw-old')",
        timeout=120_000,
    )
    page.wait_for_selector(".tw-metrics table")


def shown(page: Page) -> int:
    """Number of the run whose text is visible."""
    return int(page.locator(".tw-stage").get_attribute("data-shown") or 0)


def newer(page: Page, than: int) -> None:
    page.wait_for_function(f"Number(document.querySelector('.tw-stage').dataset.shown) > {than}")


def texts(page: Page) -> list[str]:
    return [page.locator(f".tw-{side} .tw-text").inner_text() for side in ("unsteered", "steered")]


def test_opens_with_a_prompt_and_a_run(app: str, page: Page) -> None:
    page.goto(app)
    settled(page)
    assert page.get_by_label("Prompt", exact=True).input_value()
    assert all(texts(page))
    assert page.locator(".tw-legend .tw-scale").is_visible()


def test_the_slider_is_even_in_cost_and_its_left_end_is_off(app: str, page: Page) -> None:
    page.goto(app)
    settled(page)
    slider, says = page.locator(".tw-budget"), page.locator(".tw-cost .tw-says")
    expect(says).to_contain_text("at least")
    expect(page.locator(".tw-cost .tw-number")).to_contain_text("nats a token")
    expect(page.locator(".tw-effect")).to_contain_text("nats")
    run = shown(page)
    slider.focus()
    slider.press("Home")
    newer(page, run)
    settled(page)
    expect(says).to_have_text("off: the base text")
    assert slider.get_attribute("aria-valuetext") == "off"
    unsteered, steered = texts(page)
    assert unsteered == steered
    assert json.loads(parse_qs(urlsplit(page.url).query)["plan"][0])["budget"] == 0


def test_a_link_restores_a_budget_and_a_link_without_one_its_p0(app: str, page: Page) -> None:
    page.goto(at(app, method="auto", layers="auto", budget=0.05))
    settled(page)
    expect(page.locator(".tw-cost .tw-number")).to_have_text("about .050 nats a token, on average")
    expect(page.locator(".tw-magnitude")).to_have_count(0)
    page.goto(at(app))
    settled(page)
    expect(page.locator(".tw-budget")).to_be_hidden()
    expect(page.locator(".tw-magnitude")).to_have_count(1)


TOP = "document.querySelector('.tw-steered .tw-text').getBoundingClientRect().top + window.scrollY"


def test_nothing_moves_while_a_text_streams(app: str, page: Page) -> None:
    page.goto(app)
    settled(page)
    top = page.evaluate(TOP)
    page.evaluate(f"""() => {{
      window.tops = new Set();
      const look = () => {{
        if (document.querySelector('.tw-stop:not([hidden])')) window.tops.add({TOP});
        requestAnimationFrame(look);
      }};
      look();
    }}""")
    run = shown(page)
    page.get_by_role("button", name="Roll a new seed").click()
    newer(page, run)
    settled(page)
    assert page.evaluate("[...window.tops]") == [top]


def test_typing_and_dice_regenerate_and_stand_in_the_address(app: str, page: Page) -> None:
    page.goto(at(app, temperature=0.8))
    settled(page)
    before, run = texts(page), shown(page)
    page.get_by_label("Prompt", exact=True).fill("Name three kinds of bread.")
    newer(page, run)
    settled(page)
    assert texts(page) != before
    assert "bread" in parse_qs(urlsplit(page.url).query)["prompt"][0]
    run = shown(page)
    page.get_by_label("Roll a new seed").click()
    newer(page, run)
    settled(page)
    seed = page.get_by_label("Seed", exact=True).input_value()
    assert parse_qs(urlsplit(page.url).query)["seed"] == [seed]
    assert f"seed {seed}" in page.locator(".tw-status").inner_text()


def test_dragging_regenerates_and_the_last_setting_wins(app: str, page: Page) -> None:
    page.goto(at(app, tokens=64))
    settled(page)
    run = shown(page)
    slider = page.locator(".tw-magnitude")
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.65, box["y"] + box["height"] / 2)
    page.mouse.down()
    for step in range(12):
        page.mouse.move(box["x"] + box["width"] * (0.3 + 0.05 * step), box["y"] + box["height"] / 2)
    page.mouse.up()
    newer(page, run)
    settled(page)
    value = json.loads(parse_qs(urlsplit(page.url).query)["plan"][0])["targets"][0]["p0"]
    assert value > 0.99
    direct = page.context.new_page()
    direct.goto(page.url)
    settled(direct)
    assert texts(direct) == texts(page)


def test_keys_move_the_slider_which_says_its_value_in_words_and_choose_layers(app: str, page: Page) -> None:
    page.goto(at(app, layers=[10], **p0(0.5)))
    settled(page)
    run = shown(page)
    slider = page.locator(".tw-magnitude")
    slider.focus()
    slider.press("End")
    newer(page, run)
    expect(page.locator(".tw-target .tw-number")).to_have_text("p ≥ .999999")
    expect(page.locator(".tw-target .tw-says")).to_contain_text("almost surely")
    assert "almost surely" in slider.get_attribute("aria-valuetext")
    settled(page)
    run = shown(page)
    page.get_by_label("Layers", exact=True).focus()
    for key in ("ArrowRight", "ArrowRight", "Space"):
        page.keyboard.press(key)
    newer(page, run)
    assert json.loads(parse_qs(urlsplit(page.url).query)["plan"][0])["layers"] == [2, 10]


def test_stop_ends_the_run(app: str, page: Page) -> None:
    page.goto(at(app, prompt="Write a long story about a lighthouse.", tokens=256, temperature=1.0))
    stop_when(page, ".tw-stage", "document.querySelector('.tw-steered .tw-token')")
    expect(page.locator(".tw-stage")).to_have_attribute("data-phase", "stopped")
    count = page.locator(".tw-steered .tw-token").count()
    page.wait_for_timeout(500)
    assert 0 < count == page.locator(".tw-steered .tw-token").count() < 256


def test_a_link_restores_everything(app: str, page: Page) -> None:
    plan = {
        "targets": [{"concept": "film", "direction": "remove", "p0": 0.02}],
        "layers": [9, 10],
        "scope": "answer",
        "cap": 0.5,
    }
    page.goto(at(app, prompt="What is on tonight?", tokens=24, seed=11, temperature=0.6, **plan))
    settled(page)
    assert page.get_by_label("Prompt", exact=True).input_value() == "What is on tonight?"
    assert page.get_by_label("Concept 1", exact=True).input_value() == "film"
    assert page.get_by_label("Seed", exact=True).input_value() == "11"
    assert page.get_by_role("button", name="less", exact=True).get_attribute("aria-pressed") == "true"
    assert page.locator(".tw-layer.tw-on").count() == 2
    before = texts(page)
    page.reload()
    settled(page)
    assert texts(page) == before


@pytest.mark.parametrize(
    "plan", [NEVER, {"method": "fixed", "strength": 0}], ids=["gate never fires", "strength zero"]
)
def test_no_push_is_the_unsteered_text(app: str, page: Page, plan: dict) -> None:
    page.goto(at(app, tokens=48, temperature=0.9, **plan))
    settled(page)
    unsteered, steered = texts(page)
    assert unsteered == steered
    assert "equal" in page.locator(".tw-status").inner_text()


def test_fits_a_phone(app: str, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(at(app))
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    columns = page.locator(".tw-unsteered .tw-text, .tw-steered .tw-text")
    boxes = columns.evaluate_all("texts => texts.map((text) => text.getBoundingClientRect().toJSON())")
    assert len(boxes) == 2 and all(box["left"] >= 0 and box["right"] <= 390 for box in boxes)


def test_a_bad_link_is_one_sentence(app: str, page: Page) -> None:
    page.goto(at(app, targets=[{"concept": "film", "direction": "amplify", "p0": 1}]))
    problem = page.locator(".tw-stage .tw-problem")
    expect(problem).to_contain_text("p0", timeout=60_000)
    assert "Traceback" not in page.inner_text("body")


@pytest.mark.parametrize(
    "plan",
    [{"targets": [None]}, {"layers": "x"}],
    ids=json.dumps,
)  # fmt: skip
def test_what_a_link_holds_that_is_unreadable_is_one_sentence_beside_all_else(
    app: str, page: Page, plan: dict
) -> None:
    """What of every field is unreadable: tests/js/requests.test.js."""
    page.goto(at(app, **plan))
    settled(page)
    expect(page.locator(".tw-console .tw-problem").first).to_have_text(
        re.compile(f"^Left out of the link[^.]*: {next(iter(plan))}\\.$")
    )
    assert page.get_by_label("Concept 1", exact=True).input_value() == "sports"


@pytest.mark.parametrize("plan", [p0(1 - 1e-6), {"method": "fixed", "strength": 4}], ids=["gcav", "fixed"])
def test_a_cap_that_holds_the_push_back_is_told_with_the_remedy(app: str, page: Page, plan: dict) -> None:
    page.goto(at(app, cap=0.01, **plan))
    settled(page)
    held = page.locator(".tw-stage .tw-held")
    remedy = (
        r"The cap held back the push at \d+ of 16 tokens: raise it under Method and scope, or ask for less\."
    )
    expect(held).to_have_text(re.compile(f"^{remedy}$"))
    assert page.locator(".tw-steered .tw-short").count() == int(re.search(r"\d+", held.inner_text())[0])
    assert "no push was needed" not in page.locator(".tw-stage .tw-status").inner_text()


def test_a_push_too_weak_to_change_a_token_is_not_called_needless(app: str, page: Page) -> None:
    page.goto(at(app, method="fixed", strength=0.001))
    settled(page)
    unsteered, steered = texts(page)
    assert unsteered == steered
    expect(page.locator(".tw-stage .tw-status")).to_contain_text(
        "The texts are equal: the push was too weak to change a token."
    )


def test_a_stopped_run_shows_and_sends_nothing_of_the_run_before(app: str, page: Page) -> None:
    page.goto(at(app, tokens=128, temperature=1.0))
    settled(page)
    run = shown(page)
    page.get_by_label("Prompt", exact=True).fill("Write a long story about a lighthouse.")
    stop_when(page, ".tw-stage", f"Number(document.querySelector('.tw-stage').dataset.shown) > {run}")
    expect(page.locator(".tw-stage")).to_have_attribute("data-phase", "stopped")
    expect(page.locator(".tw-metrics")).to_be_hidden()
    page.get_by_role("button", name="Send to Compare").click()
    expect(page.locator(".tw-stage .tw-status")).to_contain_text("There is no complete run yet")


def test_model_text_and_prompt_are_never_markup(app: str, page: Page) -> None:
    page.goto(
        at(
            app,
            prompt="Repeat exactly: <img src=x onerror=\"document.title='owned'\"> <script>document.title='owned'</script>",
        )
    )
    settled(page)
    assert page.title() != "owned"
    assert page.locator(".tw-text img, .tw-text script").count() == 0


def teach(page: Page, name: str) -> None:
    """Types a concept's examples, and has it learned."""
    if not page.get_by_label("Name of the concept").is_visible():
        page.get_by_text("Teach it a concept of your own").click()
    page.get_by_label("Name of the concept").fill(name)
    page.get_by_label("Texts that show it").fill("\n".join(pair["positive"] for pair in PAIRS))
    page.get_by_label("Texts that do not").fill("\n".join(pair["negative"] for pair in PAIRS))
    page.get_by_role("button", name="Learn it").click()
    expect(page.get_by_label("Concept 1", exact=True)).to_have_value(name, timeout=120_000)


def upload(page: Page, name: str, content: bytes) -> None:
    """Opens a file of examples."""
    if not page.get_by_label("Name of the concept").is_visible():
        page.get_by_text("Teach it a concept of your own").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open a file").click()
    chooser.value.set_files({"name": name, "mimeType": "text/plain", "buffer": content})


def vector(page: Page) -> Download:
    """What the export of the vector downloads."""
    with page.expect_download() as download:
        page.get_by_label("Export").select_option("Vector (safetensors)")
    return download.value


def test_concepts_of_ones_own_from_a_file_and_typed_that_contradict_each_other(app: str, page: Page) -> None:
    page.goto(at(app))
    settled(page)
    run = shown(page)
    upload(page, "buccaneer.jsonl", "\n".join(map(json.dumps, PAIRS)).encode("utf-8-sig"))
    expect(page.get_by_label("Concept 1", exact=True)).to_have_value("buccaneer", timeout=120_000)
    newer(page, run)
    settled(page)
    assert "Learned from 10 and 10 examples" in page.locator(".tw-folds [role=status]").inner_text()
    run = shown(page)
    teach(page, "seadog")
    newer(page, run)
    settled(page)
    assert "held-out" in page.locator(".tw-folds [role=status]").inner_text()
    expect(page.locator(".tw-steered .tw-about")).to_contain_text("+ seadog")
    assert vector(page).suggested_filename == "seadog-SmolLM2-135M-Instruct.safetensors"
    page.get_by_role("button", name="+ Add a concept").click()
    page.get_by_label("Concept 2", exact=True).select_option("buccaneer")
    page.get_by_role("group", name="buccaneer, concept 2").get_by_role("button", name="less").click()
    problem = page.locator(".tw-stage .tw-problem")
    expect(problem).to_contain_text("contradict each other", timeout=60_000)
    assert "drop one or change its direction" in problem.inner_text() and problem.inner_text().count(".") == 1
    assert "Traceback" not in page.inner_text("body")
    for part in (".tw-columns", ".tw-metrics", ".tw-tools", ".tw-charts"):
        expect(page.locator(part).first).to_be_hidden()
    page.get_by_role("button", name="Remove buccaneer").click()
    settled(page)
    expect(problem).to_be_empty()
    assert all(texts(page))


DIFFERENT = [f"Number {n} is {word}." for n, word in enumerate("one two red four cold six high low".split())]


LOPSIDED = [
    (["one", "two"], [], "at least"),
    (["Arr, matey!"] * 8, DIFFERENT, "of the positive side's 8 texts only 1 differ: give at least 8."),
    (DIFFERENT, DIFFERENT, "8 texts stand on both sides"),
    (DIFFERENT, [], "the negative side has 0 texts: give at least 8"),
    ([], DIFFERENT, "the positive side has 0 texts: give at least 8"),
]


def test_examples_that_teach_nothing_are_one_sentence(app: str, page: Page) -> None:
    page.goto(at(app))
    settled(page)
    page.get_by_text("Teach it a concept of your own").click()
    page.get_by_label("Name of the concept").fill("odd")
    for positive, negative, says in LOPSIDED:
        page.get_by_label("Texts that show it").fill("\n".join(positive))
        page.get_by_label("Texts that do not").fill("\n".join(negative))
        page.get_by_role("button", name="Learn it").click()
        problem = page.locator(".tw-folds .tw-problem")
        expect(problem).to_contain_text(says)
        assert not re.search(r"\. [A-Z]", problem.inner_text())
        assert page.get_by_label("Texts that show it").input_value() == "\n".join(positive)


SPANISH = [
    (
        f"¡Qué alegría, {thing} llega por fin a nuestra casa!",
        f"El informe dice que {thing} sigue en la oficina.",
    )
    for thing in (
        "el abuelo",
        "la carta",
        "el perro",
        "la vecina",
        "el médico",
        "la música",
        "el regalo",
        "la lluvia",
    )
]


def test_examples_in_a_language_that_the_model_hardly_knows_are_told(app: str, page: Page) -> None:
    page.goto(at(app))
    settled(page)
    lines = [json.dumps({"positive": glad, "negative": plain}) for glad, plain in SPANISH]
    upload(page, "alegre.jsonl", "\n".join(lines).encode())
    expect(page.get_by_label("Concept 1", exact=True)).to_have_value("alegre", timeout=120_000)
    expect(page.locator(".tw-folds [role=status]")).to_contain_text("a language that it hardly knows")


def test_a_control_vector_of_another_width_is_one_sentence(app: str, page: Page, tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "narrow.gguf", "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    for layer in (1, 2):
        writer.add_tensor(f"direction.{layer}", np.ones(64, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    page.goto(at(app))
    settled(page)
    upload(page, "narrow.gguf", (tmp_path / "narrow.gguf").read_bytes())
    problem = page.locator(".tw-folds .tw-problem")
    expect(problem).to_contain_text("has 64 numbers a layer")
    expect(problem).to_contain_text("give a vector of this model.")
    assert page.get_by_label("Concept 1", exact=True).input_value() == "sports"
    upload(page, "other.txt", b"")
    expect(page.get_by_label("Name of the concept")).to_have_value("other")


def test_a_link_with_a_budget_that_no_calibration_reaches_is_one_sentence(app: str, page: Page) -> None:
    page.goto(at(app, method="auto", layers="auto", budget=5))
    expect(page.locator(".tw-stage .tw-problem")).to_contain_text(
        re.compile(
            r"^Budget is 5 nats a token for sports: give at most .+, which is as far as the calibration goes\.$"
        ),
        timeout=60_000,
    )


NO_CONCEPTS = [
    ("latin.jsonl", "café".encode("latin-1"), "UTF-8"),
    ("lines.txt", b"Arr!\nAhoy!", "line 1 is no JSON"),
    ("half.jsonl", b'{"positive": "Arr!"}', "at least 8"),
    ("sports.jsonl", b'{"positive": "Arr!", "negative": "Hello."}', "is taken"),
    ("huge.jsonl", b"x" * 5_000_001, "5 MB"),
]


def test_a_file_that_holds_no_concept_is_one_sentence(app: str, page: Page) -> None:
    page.goto(at(app))
    settled(page)
    page.get_by_text("Teach it a concept of your own").click()
    for name, content, says in NO_CONCEPTS:
        page.get_by_label("Name of the concept").fill("")
        upload(page, name, content)
        problem = page.locator(".tw-folds .tw-problem")
        expect(problem).to_contain_text(says)
        assert problem.inner_text().count(". ") == 0
        assert page.get_by_label("Concept 1", exact=True).input_value() == "sports", name


@pytest.mark.parametrize(
    ("first", "second"), [("sports", "formality"), ("children", "politeness"), ("children", "confidence")]
)
def test_a_second_concept_moves_no_text(app: str, page: Page, first: str, second: str) -> None:
    plan = {"targets": [{"concept": first, "direction": "amplify", "p0": 0.9}]}
    page.goto(at(app, plan=json.dumps(plan)))
    settled(page)
    before = page.locator(".tw-columns").bounding_box()
    page.get_by_role("button", name="+ Add a concept").click()
    page.get_by_label("Concept 2", exact=True).select_option(second)
    page.locator(".tw-which").get_by_role("button", name=second).wait_for()
    settled(page)
    assert page.locator(".tw-columns").bounding_box()["y"] == before["y"]


def test_the_vector_downloads_as_often_as_asked(app: str, page: Page, tmp_path: Path) -> None:
    page.goto(at(app))
    settled(page)
    for number in range(2):
        download = vector(page)
        assert download.suggested_filename == "sports-SmolLM2-135M-Instruct.safetensors"
        download.save_as(tmp_path / f"{number}.safetensors")
        cav = CAV.load(tmp_path / f"{number}.safetensors")
        assert cav.concept == "sports" and cav.w.shape == (30, 576)


def test_the_copied_python_prints_the_texts_of_the_page(app: str, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(at(app, prompt='Finish this: {"sport": null, "team": "a"}', temperature=0.8))
    settled(page)
    page.get_by_label("Export").select_option("Python, copied")
    expect(page.get_by_label("Export").locator("option").first).to_have_text("Copied")
    code = page.evaluate("navigator.clipboard.readText()")
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stderr
    raw = page.evaluate(
        "['unsteered', 'steered'].map((side) => document.querySelector(`.tw-${side} .tw-text`).textContent)"
    )
    assert made.stdout == "".join(f"{text}\n" for text in raw)


def test_send_to_compare_makes_a_blind_battle_of_the_texts(app: str, page: Page) -> None:
    page.goto(at(app, prompt="Name a good way to spend a Sunday.", tokens=32))
    settled(page)
    both = {" ".join(text.split()) for text in texts(page)}
    send = page.get_by_role("button", name="Send to Compare")
    send.click()
    expect(page.locator(".tw-stage .tw-status")).to_have_text(
        "Sent to Compare: 1 new battle in the set “Sent from the app”."
    )
    send.click()
    expect(page.locator(".tw-stage .tw-status")).to_have_text("These texts are in Compare already.")
    page.get_by_role("tab", name="Compare").click()
    page.get_by_label("Your name").fill("Sunday")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-stage=vote]")
    expect(page.locator(".tw-count")).to_have_text(re.compile(r"· 0 judged, 1 to go"))
    assert page.locator(".tw-arena .tw-prompt p").inner_text() == "Name a good way to spend a Sunday."
    assert {" ".join(text.split()) for text in page.locator(".tw-rich").all_inner_texts()} == both
    for key in ("1", "2", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("[data-stage=reveal]")
    assert set(page.locator(".tw-policy").all_inner_texts()) == {"base model", "more sports 0.98"}
    told = page.locator(".tw-arena").text_content()
    assert told.count('"seed": 3') == told.count('"temperature": 0.0') == 2


def test_equal_texts_are_no_battle(app: str, page: Page) -> None:
    page.goto(at(app, **NEVER))
    settled(page)
    for _ in range(2):
        page.get_by_role("button", name="Send to Compare").click()
        expect(page.locator(".tw-stage .tw-status")).to_contain_text(
            "The texts are equal, so there is nothing to compare."
        )


def test_sweep_draws_the_dose_response(app: str, page: Page) -> None:
    page.goto(at(app))
    settled(page)
    page.get_by_role("button", name="Sweep the magnitude").click()
    expect(page.locator(".tw-dose h3")).to_contain_text("nats a token", timeout=120_000)
    page.locator(".tw-dose").get_by_role("button", name="Table").click()
    assert page.locator(".tw-dose tbody tr").count() >= 9


def test_bands_of_layers_are_swept_beside_the_chosen_ones(app: str, page: Page) -> None:
    page.goto(at(app))
    settled(page)
    page.get_by_role("button", name="Sweep early, middle and late layers too").press("Enter")
    expect(page.locator(".tw-dose h3")).to_contain_text("by layers", timeout=120_000)
    expect(page.locator(".tw-dose .legendtext", has_text="layers 0–9")).to_be_visible()
    page.locator(".tw-dose").get_by_role("button", name="Table").click()
    assert page.locator(".tw-dose tbody tr").count() == 1 + 4 * 9


def test_methods_are_compared_over_prompts_and_seeds_of_ones_own(app: str, page: Page) -> None:
    page.goto(at(app, tokens=8, temperature=0.7))
    settled(page)
    card = page.locator(".tw-dose")
    card.get_by_text("Methods against cost, over several prompts").click()
    prompts, seeds = card.get_by_label("Prompts, one a line"), card.get_by_label("Seeds, with spaces between")
    assert len(prompts.input_value().splitlines()) >= 4
    prompts.fill("Tell me about the ocean.\nWhat is rain?\nWhy do we sleep?")
    seeds.fill("0 x")
    card.get_by_role("button", name="Compare the methods").click()
    expect(card.get_by_role("alert")).to_have_text(
        "Seeds must be whole numbers from 0 to 4294967295: give them with spaces between."
    )
    seeds.fill("5, 6")
    card.get_by_role("button", name="Compare the methods").click()
    expect(card.locator(".tw-note").first).to_contain_text("3 prompts, 2 seeds, 8 tokens", timeout=120_000)
    expect(card.locator("h3")).to_contain_text("More sports: ")
    expect(card.get_by_role("alert")).to_be_empty()
    expect(card.locator(".legendtext", has_text="constant push")).to_be_visible()
    expect(card.get_by_role("button", name="Sweep the magnitude")).to_be_visible()


def test_two_concepts_show_the_cosine_of_their_directions_and_where_both_push(app: str, page: Page) -> None:
    second = {"concept": "film", "direction": "amplify", "p0": 0.98}
    page.goto(at(app, targets=[NEVER["targets"][0], second]))
    settled(page)
    expect(page.locator(".tw-alike")).to_have_text(
        re.compile(r"^Cosine between the directions: sports / film −?\.\d\d$")
    )
    expect(page.locator(".tw-charts h3").first).to_have_text(
        re.compile(r"^\d+ of 16 tokens were pushed for film, most at layer \d+$")
    )
    page.get_by_role("button", name="Remove film").click()
    settled(page)
    expect(page.locator(".tw-alike")).to_be_empty()


def test_a_concept_is_held_by_one_choice_stays_in_the_link_and_is_let_go_when_it_is_steered(
    app: str, page: Page
) -> None:
    page.goto(at(app, **p0(0.9999)))
    settled(page)
    free, run = texts(page), shown(page)
    page.get_by_label("Hold a concept as it is").select_option("formality")
    newer(page, run)
    settled(page)
    assert texts(page)[0] == free[0] and "formality" in unquote(page.url)
    page.reload()
    settled(page)
    expect(page.get_by_label("Hold formality no longer")).to_be_visible()
    expect(
        page.get_by_label("Hold a concept as it is").locator("option", has_text="formality")
    ).to_have_count(0)
    page.get_by_label("Concept 1", exact=True).select_option("formality")
    settled(page)
    expect(page.get_by_label("Hold formality no longer")).to_have_count(0)
    assert '"hold":[]' in unquote(page.url)


THINGS = (
    "the treasure",
    "the ship",
    "the captain",
    "the parrot",
    "the map",
    "the rum",
    "the crew",
    "the storm",
    "the gold",
    "the island",
)
PAIRS = [
    {
        "positive": f"Arr matey, {thing} be on the high seas, yo ho ho!",
        "negative": f"Dear colleague, {thing} is in the meeting room.",
    }
    for thing in THINGS
]


def test_the_request_in_words_is_one_click_and_goes_along_in_the_link(app: str, page: Page) -> None:
    page.goto(at(app, method="auto", layers="auto"))
    settled(page)
    before = texts(page)
    page.get_by_role("button", name="+ Ask in words").click()
    expect(page.locator(".tw-requested .tw-text")).not_to_be_empty()
    settled(page)
    assert texts(page) == before and "rival=request" in page.url
    expect(page.locator(".tw-metrics th[scope=col]").last).to_have_text("asked in words")
    page.reload()
    settled(page)
    expect(page.locator(".tw-requested")).to_be_visible()
    page.get_by_role("button", name="Drop the request in words").click()
    expect(page.locator(".tw-requested")).to_be_hidden()


def test_a_token_under_the_lens_and_another_beginning(app: str, page: Page) -> None:
    page.goto(at(app, method="auto", layers="auto"))
    settled(page)
    run = shown(page)
    page.get_by_label("Watch a concept that is not steered").select_option("formality")
    expect(page.locator(".tw-which")).to_contain_text("formality")
    newer(page, run)
    settled(page)
    page.locator(".tw-steered .tw-token").nth(3).click()
    lens = page.locator(".tw-lens")
    expect(lens.locator("h3")).to_contain_text("token 4 of the steered text")
    assert lens.locator(".tw-alternatives tbody tr").count() >= 8
    expect(lens.locator(".tw-drawn")).to_have_count(1)
    assert lens.locator(".tw-readings .tw-reading").count() >= 12
    run = shown(page)
    lens.get_by_role("button", name="Go on from").first.click()
    newer(page, run)
    settled(page)
    begins = [page.locator(f".tw-{side} .tw-begin").inner_text() for side in ("unsteered", "steered")]
    assert begins[0] and begins[0] == begins[1] and "begin=" in page.url
    page.get_by_role("button", name="Begin anew").click()
    expect(page.locator(".tw-steered .tw-begin")).to_be_empty()


def test_a_link_to_a_concept_that_nobody_here_knows_says_so(app: str, page: Page) -> None:
    page.goto(at(app, targets=[{"concept": "mine", "direction": "amplify", "p0": 0.9}]))
    settled(page)
    expect(page.locator(".tw-prompt-box .tw-problem")).to_contain_text(
        "“mine”, a concept that lives in the browser"
    )
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("Tell me about the ocean.")


def test_a_link_that_holds_a_concept_that_nobody_here_knows_keeps_all_else(app: str, page: Page) -> None:
    film = [{"concept": "film", "direction": "remove", "p0": 0.2}]
    page.goto(
        at(
            app,
            targets=film,
            hold=["weather", "formality"],
            when={"concept": "wet", "side": "above", "p": 0.5},
        )
    )
    settled(page)
    problem = page.locator(".tw-prompt-box .tw-problem")
    expect(problem).to_have_text(re.compile("^Left out of the link: “weather”, “wet”, concepts [^.]*\\.$"))
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("Tell me about the ocean.")
    expect(page.get_by_label("Concept 1", exact=True)).to_have_value("film")
    expect(page.get_by_label("Hold formality no longer")).to_be_visible()
    expect(page.locator(".tw-steered .tw-about")).to_contain_text("formality held")
    page.get_by_label("Prompt", exact=True).press("Enter")
    expect(problem).to_be_empty()
