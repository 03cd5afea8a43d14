"""The page on a model that ships nothing: vectors are trained on first use, and what is missing says what to
do.
"""

import shutil
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.tiny import LAYERS, THINKING, save_tokenizer, tiny
from tests.web.conftest import serving


def test_another_models_vectors_are_trained_on_first_use_and_cached(page: Page, tmp_path: Path) -> None:
    folder, cache = tiny("qwen2"), tmp_path / "cache"
    environment = {"DATABASE_URL": f"sqlite:///{tmp_path / 'votes.sqlite'}", "TRADEWIND_CACHE": str(cache)}
    with serving(tmp_path, "app.py", "--port", "PORT", "--model", str(folder), **environment) as address:
        page.goto(address)
        page.wait_for_function(
            "document.querySelector('.tw-stage')?.dataset.phase === 'done'", timeout=120_000
        )
        assert len(list((cache / "labs").rglob("sports-*.safetensors"))) == 1
        expect(page.locator(".tw-console")).to_contain_text(f"of {LAYERS}")
        expect(page.locator(".tw-lacking").first).to_contain_text("tradewind prepare")
        assert (
            page.locator(".tw-unsteered .tw-text").inner_text()
            != page.locator(".tw-steered .tw-text").inner_text()
        )
        page.get_by_role("tab", name="Trade-offs").click()
        expect(page.get_by_text("No policy has been scored yet")).to_be_visible()
        expect(page.get_by_text("No checkpoint of this model is here yet")).to_be_visible()
        page.goto("about:blank")


def test_thinking_is_a_switch_where_the_template_has_it(page: Page, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("qwen3"), tmp_path / "thinks")
    save_tokenizer(folder, THINKING)
    settled = "document.querySelector('.tw-stage')?.dataset.phase === 'done'"
    environment = {"DATABASE_URL": f"sqlite:///{tmp_path / 'votes.sqlite'}", "TRADEWIND_CACHE": str(tmp_path)}
    with serving(tmp_path, "app.py", "--port", "PORT", "--model", str(folder), **environment) as address:
        page.goto(address)
        page.wait_for_function(settled, timeout=120_000)
        switch, text = page.get_by_label("Think before answering"), page.locator(".tw-unsteered .tw-text")
        expect(switch).not_to_be_checked()
        before = text.inner_text()
        switch.check()
        expect(text).not_to_have_text(before)
        page.wait_for_function(settled)
        assert "thinking=1" in page.url
        on = text.inner_text()
        page.goto(page.url)
        page.wait_for_function(settled)
        expect(switch).to_be_checked()
        expect(text).to_have_text(on)
        page.get_by_role("button", name="Continue").click()
        expect(switch).to_be_hidden()
        page.goto("about:blank")


def test_a_family_that_is_not_trained_is_not_offered_a_front(page: Page, tmp_path: Path) -> None:
    environment = {"DATABASE_URL": f"sqlite:///{tmp_path / 'votes.sqlite'}", "TRADEWIND_CACHE": str(tmp_path)}
    with serving(
        tmp_path, "app.py", "--port", "PORT", "--model", str(tiny("granite")), "--prepare", **environment
    ) as address:
        page.goto(f"{address}/?tab=trade-offs")
        page.get_by_role("tab", name="Trade-offs").click()
        banner = page.locator(".tw-lacking:visible")
        expect(banner).to_contain_text(
            "has no front: policies are trained of Llama, Mistral and Qwen models alone"
        )
        expect(banner.get_by_role("button")).to_have_count(0)
        page.get_by_role("tab", name="Steer").click()
        expect(banner.get_by_role("button", name="Make vectors and calibrations")).to_be_visible()
        page.goto("about:blank")
