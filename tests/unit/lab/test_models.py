"""The models that visitors choose among: what they are called, what is told of each, which of them the API lists."""

import asyncio
import shutil
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from lab.models import Models, offered
from lm.sources import DEFAULT_NAME, SourceError
from tests.tiny import tiny


def unfurnished(*_: object) -> None:
    raise AssertionError("nobody asked for a page")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two models, and a folder that holds none."""
    monkeypatch.setenv("TRADEWIND_CACHE", str(tmp_path / "cache"))
    for family, name in (("llama", "first"), ("qwen2", "second")):
        shutil.copytree(tiny(family), tmp_path / name)
    (tmp_path / "empty").mkdir()
    return [str(tmp_path / name) for name in ("first", "second", "empty")]


def asked(models: Models, path: str, **body: object) -> tuple[int, dict]:
    """A request to the HTTP API at the app's own address."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=models.api()))
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return await (client.post(path, json=body) if body else client.get(path))

    reply = asyncio.run(send())
    return reply.status_code, reply.json()


def owners(models: Models) -> set[str]:
    return {entry["owned_by"] for entry in asked(models, "/v1/models")[1]["data"]}


def text(models: Models, name: str) -> tuple[int, dict]:
    return asked(models, "/v1/completions", model=name, prompt="Hi", max_tokens=2, temperature=0)


def test_the_default_is_always_among_them_and_each_is_there_once() -> None:
    assert offered(["a", "b", "a"]) == ["a", "b", DEFAULT_NAME]
    assert offered([DEFAULT_NAME, "a"]) == [DEFAULT_NAME, "a"] and offered([]) == [DEFAULT_NAME]


def test_addresses_are_of_plain_letters_and_no_two_are_one() -> None:
    names = ["/x/Llama 3", "org/Llama 3", "/y/Llama 3/", "org/модель", "/z/..", "org/b", "org/b-2"]
    slugs = [choice.slug for choice in Models(names, 1, unfurnished).choices]
    assert slugs[:3] == ["Llama-3", "Llama-3-2", "Llama-3-3"]
    assert len({*slugs}) == len(names)
    assert all(slug.isascii() and slug.strip(".-") == slug and "/" not in slug for slug in slugs)


def test_no_place_in_memory_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="^Models in memory is 0: give a number from 1 on.$"):
        Models(["a"], 0, unfurnished)


def test_what_cannot_be_loaded_is_not_listed_until_it_is_mended(folders: list[str]) -> None:
    models = Models(folders, 1, unfurnished)
    assert owners(models) == {"first", "second"}
    status, reply = text(models, "empty/base")
    assert status == 503 and "config.json is missing" in reply["error"]["message"]
    assert folders[2] not in reply["error"]["message"]
    assert asked(models, "/v1/models/empty/base")[0] == 404
    shutil.copytree(tiny("mistral"), folders[2], dirs_exist_ok=True)
    assert text(models, "empty/base")[0] == 200
    assert owners(models) == {"first", "second", "empty"}


def test_a_model_whose_weights_are_cut_short_leaves_the_list_when_it_fails(folders: list[str]) -> None:
    models = Models(folders[:2], 1, unfurnished)
    weights = next(Path(folders[1]).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    assert text(models, "second/base")[0] == 503
    assert owners(models) == {"first"}
    assert text(models, "base")[0] == 200


def test_names_choose_the_model_and_a_sleeping_one_wakes(folders: list[str]) -> None:
    models = Models(folders[:2], 1, unfurnished)
    first, second = ({text(models, name)[1]["choices"][0]["text"] for name in names}
                     for names in (("base", "first", "first/base"), ("second", "second/base")))  # fmt: skip
    assert len(first) == len(second) == 1 and first != second
    assert [choice.state()["state"] for choice in models.choices] == ["asleep", "ready"]
    costs = [choice.state() for choice in models.choices]
    assert all(state["seconds"] > 0 and state["bytes"] is not None for state in costs)


def test_requests_are_counted_together_whichever_pages_they_come_by(
    folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.routes.MAX_REQUESTS", 1)
    models = Models(folders[:2], 2, unfurnished)
    own, other = models.api(), Models(folders[:2], 2, unfurnished).api()
    body = {"model": "base", "prompt": "Hi", "max_tokens": 40, "temperature": 0}

    async def both() -> list[int]:
        clients = [
            httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=routes)), base_url="http://app")
            for routes in (own, other)
        ]
        replies = await asyncio.gather(*(client.post("/v1/completions", json=body) for client in clients))
        return sorted(reply.status_code for reply in replies)

    assert asyncio.run(both()) == [200, 429]
    assert text(models, "base")[0] == 200


def test_a_hub_model_is_listed_when_a_hub_has_said_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(name: str) -> None:
        if name != "owner/there":
            raise SourceError(f"Model {name!r} is not on the hub.")

    monkeypatch.setattr("lab.models.check", check)
    models = Models([DEFAULT_NAME, "owner/there", "owner/nowhere"], 1, unfurnished)
    assert owners(models) == {DEFAULT_NAME}
    assert [*models.lacking()] == ["Model 'owner/nowhere' is not on the hub."]
    assert owners(models) == {DEFAULT_NAME, "owner/there"}
