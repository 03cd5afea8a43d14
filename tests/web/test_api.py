"""The HTTP API of the real app, asked by OpenAI's own client."""

import json
import os
import re
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import openai
import pytest

from lm import Row, Run, Sampling, load
from lm.policy import seeds
from steering import Library, Plan
from steering.steer import policy
from tests.web.api_checkpoints import write
from tests.web.conftest import ROOT, serving

PLAN = {"targets": [{"concept": "sports", "direction": "amplify", "p0": 0.999}], "method": "gcav"}
MESSAGES = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello there"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def model_folder(folder) -> Path:
    os.environ["TRADEWIND_CACHE"] = str(folder / "cache")
    return write(folder / "checkpoints")


@pytest.fixture(scope="module")
def address(folder, model_folder) -> Iterator[str]:
    settings = {
        "DATABASE_URL": f"sqlite:///{folder / 'votes.sqlite'}",
        "TRADEWIND_CHECKPOINTS": str(folder / "checkpoints"),
    }
    command = ("app.py", "--model", str(model_folder), "--port", "PORT")
    with serving(folder, *command, **settings) as address:
        yield address


@pytest.fixture(scope="module")
def client(address) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def library(model_folder) -> Library:
    return Library(load(str(model_folder)))


def expected(library: Library, prompt: list[int], temperature: float, seed: int, length: int, **row) -> Run:
    return library.model.generate([Row(tuple(prompt), Sampling(temperature, seed, length), **row)])[0]


def test_models_are_policies(client):
    assert [model.id for model in client.models.list()] == [
        "base",
        "checkpoint:harmless",
        "checkpoint:helpful",
        "SmolLM2-135M-Instruct/base",
    ]
    assert client.models.retrieve("checkpoint:helpful").owned_by.startswith("tiny-llama")
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4'"):
        client.models.retrieve("gpt-4")


@pytest.mark.parametrize("seed", [0, 2**40])
def test_a_chat_is_answered_as_the_model_answers_it(client, library, seed):
    answer = client.chat.completions.create(
        model="base", messages=MESSAGES, temperature=0.9, seed=seed, max_tokens=12
    )
    ids = library.model.chat_ids(MESSAGES)
    run = expected(library, ids, 0.9, seed, 12)
    assert answer.choices[0].message.content == run.text and answer.choices[0].finish_reason == "length"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(ids), 12)


@pytest.mark.parametrize("top_p", [0, 0.6, 1])
def test_top_p_draws_from_the_nucleus(client, library, top_p):
    asked = {"model": "base", "temperature": 1.0, "seed": 4, "max_tokens": 12, "top_p": top_p}
    for ids, answer in (
        (library.model.text_ids("Hi"), client.completions.create(prompt="Hi", **asked).choices[0].text),
        (
            library.model.chat_ids(MESSAGES),
            client.chat.completions.create(messages=MESSAGES, **asked).choices[0].message.content,
        ),
    ):
        [run] = library.model.generate([Row(tuple(ids), Sampling(1.0, 4, 12, top_p))])
        assert answer == run.text


@pytest.mark.parametrize("name", ["base", "checkpoint:helpful", "mix:helpful+harmless@0.25", "plan"])
def test_every_kind_of_policy_answers_and_streams_the_same(client, library, name):
    asked = {"model": name, "messages": MESSAGES, "temperature": 1.0, "seed": 3, "max_tokens": 16}
    if name == "plan":
        asked |= {"model": "base", "extra_body": {"plan": PLAN}}
    whole = client.chat.completions.create(**asked).choices[0]
    chunks = [chunk.choices[0] for chunk in client.chat.completions.create(**asked, stream=True)]
    assert "".join(chunk.delta.content or "" for chunk in chunks) == whole.message.content
    assert chunks[0].delta.role == "assistant" and chunks[-1].finish_reason == whole.finish_reason
    base = client.chat.completions.create(**asked | {"model": "base", "extra_body": None}).choices[0]
    assert (whole.message.content == base.message.content) == (name == "base")


def test_a_plan_steers_as_it_does_in_python(client, library):
    edits = policy(library, Plan.from_json(PLAN)).edits
    run = expected(library, library.model.text_ids("Once upon"), 0.0, 0, 12, edits=edits)
    asked = {"prompt": "Once upon", "temperature": 0, "max_tokens": 12}
    for way in ({"model": "base", "extra_body": {"plan": PLAN}}, {"model": f"plan:{json.dumps(PLAN)}"}):
        assert client.completions.create(**asked, **way).choices[0].text == run.text


def test_prompts_times_n_are_choices_with_noise_of_their_own(client, library):
    answer = client.completions.create(
        model="base", prompt=["Hi", "you"], n=3, seed=5, temperature=1.0, max_tokens=8
    )
    prompts = [library.model.text_ids(text) for text in ("Hi", "Hi", "Hi", "you", "you", "you")]
    runs = [expected(library, ids, 1.0, seed, 8) for ids, seed in zip(prompts, seeds(5, 6), strict=True)]
    assert [choice.text for choice in answer.choices] == [run.text for run in runs]
    assert [choice.index for choice in answer.choices] == list(
        range(6)
    ) and answer.usage.completion_tokens == 48


def test_tokens_are_taken_for_prompts(client, library):
    ids = library.model.text_ids("Once upon")
    asked = {"model": "base", "temperature": 0, "max_tokens": 6}
    text = client.completions.create(prompt="Once upon", **asked).choices[0].text
    assert client.completions.create(prompt=ids, **asked).choices[0].text == text
    assert [each.text for each in client.completions.create(prompt=[ids, ids], **asked).choices] == [text] * 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_ends_before_a_stop_string(client, library, stream):
    run = expected(library, library.model.text_ids("Hi"), 1.0, 9, 30)
    for at in (0, len(run.text) // 2, len(run.text) - 3):
        stop = run.text[at : at + 3]
        end = run.text.find(stop)
        answer = client.completions.create(
            model="base",
            prompt="Hi",
            temperature=1.0,
            seed=9,
            max_tokens=30,
            stop=[stop, "never"],
            stream=stream,
        )
        choices = [each.choices[0] for each in answer] if stream else answer.choices
        assert "".join(choice.text for choice in choices) == run.text[:end]
        assert choices[-1].finish_reason == "stop"


def test_log_probabilities_are_the_models(client, library):
    ids = library.model.chat_ids(MESSAGES)
    run = expected(library, ids, 0.8, 2, 7)
    asked = {
        "model": "base",
        "messages": MESSAGES,
        "temperature": 0.8,
        "seed": 2,
        "max_tokens": 7,
        "logprobs": True,
    }
    for more in ({}, {"top_logprobs": 4}):
        told = client.chat.completions.create(**asked, **more).choices[0].logprobs.content
        assert [each.logprob for each in told] == pytest.approx(run.logprobs, abs=2e-3)
        assert all(len(each.top_logprobs) == more.get("top_logprobs", 0) for each in told)
    logits = library.model.logprobs([[*ids, *run.ids]], [len(ids)], temperature=0.8)[0]
    for each, row in zip(told, logits, strict=True):
        assert [other.logprob for other in each.top_logprobs] == pytest.approx(
            row.topk(4).values.tolist(), abs=1e-4
        )
    streamed = client.chat.completions.create(**asked, stream=True)
    tokens = [
        each for chunk in streamed if chunk.choices[0].logprobs for each in chunk.choices[0].logprobs.content
    ]
    assert [each.logprob for each in tokens] == pytest.approx(run.logprobs, abs=1e-5)


@pytest.mark.parametrize("plan", [None, PLAN])
def test_a_text_that_is_echoed_is_scored(client, library, plan):
    text = "Once upon a time"
    ids = library.model.text_ids(text)
    answer = client.completions.create(
        model="base",
        prompt=text,
        echo=True,
        max_tokens=0,
        logprobs=1,
        temperature=0,
        extra_body={"plan": plan},
    ).choices[0]
    edits = policy(library, Plan.from_json(plan)).edits if plan else ()
    [logits] = library.model.logprobs([ids], [1], edits=[edits])
    assert answer.text == text and answer.logprobs.token_logprobs[0] is None
    assert answer.logprobs.token_logprobs[1:] == pytest.approx(
        logits[range(len(ids) - 1), ids[1:]].tolist(), abs=1e-4
    )
    assert "".join(answer.logprobs.tokens) == text and answer.logprobs.text_offset[-1] == len(text) - 1


def test_usage_ends_a_stream_that_asks_for_it(client):
    chunks = list(
        client.chat.completions.create(
            model="base",
            messages=MESSAGES,
            max_tokens=5,
            seed=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 5


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"model": "gpt-4"}, 404, "no policy 'gpt-4'"),
        ({"model": "checkpoint:/etc"}, 404, "no policy '/etc'"),
        ({"model": "mix:helpful+helpful@2"}, 404, "from 0 to 1"),
        ({"model": ""}, 404, "no name"),
        ({"model": 3}, 400, "Model is 3"),
        ({"model": "plan:{"}, 400, "not JSON"),
        ({"plan": {"targets": [{"concept": "weather"}]}}, 400, "no concept 'weather'"),
        ({"plan": PLAN, "model": "checkpoint:helpful"}, 400, "give model base"),
        ({"plan": [1]}, 400, "Plan is no JSON object"),
        ({"messages": []}, 400, "Messages is an empty list"),
        ({"messages": None}, 400, "Messages are missing"),
        ({"messages": ["Hi"]}, 400, "no object"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "'tool'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "no text"),
        ({"messages": [{"role": "user", "content": "x" * 400}]}, 400, "more than the 512"),
        ({"messages": [{"role": "user", "content": "x" * 5000}]}, 400, "5,000 characters"),
        ({"chat_template_kwargs": {"enable_thinking": True}}, 400, "no switch for thinking"),
        ({"chat_template_kwargs": {"enable_thinking": 1}}, 400, "enable_thinking is 1: give true or false"),
        ({"chat_template_kwargs": {"depth": 1}}, 400, "an object with enable_thinking or thinking"),
        ({"temperature": 3}, 400, "temperature is 3"),
        ({"temperature": float("nan")}, 400, "temperature is nan"),
        ({"top_p": 1.5}, 400, "top_p is 1.5: give a number from 0 to 1"),
        ({"tools": [{}]}, 400, "tools"),
        ({"max_tokens": 0}, 400, "max_tokens is 0"),
        ({"max_tokens": 10**9}, 400, "from 1 to 512"),
        ({"max_tokens": True}, 400, "max_tokens is True"),
        ({"n": 33}, 400, "n is 33"),
        ({"seed": -1}, 400, "seed is -1"),
        ({"stop": [""]}, 400, "Stop must be"),
        ({"stop": ["x"] * 9}, 400, "Stop must be"),
        ({"stream": "yes"}, 400, "stream is 'yes'"),
        ({"logprobs": True, "top_logprobs": 3, "stream": True}, 400, "not streamed"),
        ({"temprature": 1}, 400, "no field 'temprature'"),
        ({"prompt": "Hi"}, 400, "other endpoint"),
    ],
)
def test_what_cannot_be_answered_is_an_error_in_openais_form(address, changes, status, says):
    asked = {"model": "base", "messages": MESSAGES, "max_tokens": 200} | changes
    answer = httpx.post(f"{address}/v1/chat/completions", content=json.dumps(asked), timeout=60)
    error = answer.json()["error"]
    assert (
        answer.status_code == status
        and says.lower() in error["message"].lower()
        and error["message"].endswith(".")
    )
    assert error["type"] == "invalid_request_error" and error.keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"3"])
def test_a_body_that_is_no_object_is_an_error(address, body):
    answer = httpx.post(f"{address}/v1/completions", content=body)
    assert answer.status_code == 400 and "object" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "", 404, "no endpoint '/v1': ask /v1/models, "),
        ("POST", "/embeddings", 404, "no endpoint '/v1/embeddings'"),
        ("GET", "/completions", 405, "Method is 'GET': /v1/completions takes POST."),
        ("DELETE", "/models/base", 405, "Method is 'DELETE': /v1/models/base takes "),
        ("OPTIONS", "/chat/completions", 405, "takes POST."),
        ("POST", "/completions", 413, "1,000,000 bytes: send less."),
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_what_the_router_refuses_is_an_error_in_openais_form(address, method, path, status, says, accept):
    content = b"x" * 1_100_000 if status == 413 else b""
    answer = httpx.request(method, f"{address}/v1{path}", content=content, headers={"accept": accept})
    error = answer.json()["error"]
    assert answer.status_code == status and says in error["message"] and error["message"].endswith(".")
    assert error["type"] == "invalid_request_error" and error.keys() == {"message", "type", "param", "code"}


def test_a_body_of_unknown_length_is_refused_in_openais_form(address):
    answer = httpx.post(f"{address}/v1/completions", content=iter([b"x" * 600_000] * 2))
    assert answer.status_code == 413 and "send less" in answer.json()["error"]["message"]


def test_the_api_of_a_model_that_is_not_there_is_an_error_in_openais_form(address):
    for path in ("models", "completions"):
        answer = httpx.get(f"{address}/models/none/v1/{path}", headers={"accept": "text/html"})
        assert answer.status_code == 404 and "no model none" in answer.json()["error"]["message"]


def test_half_an_emoji_is_answered(address):
    asked = b'{"model": "base", "prompt": "Good \\ud83d", "max_tokens": 3, "echo": true}'
    answer = httpx.post(f"{address}/v1/completions", content=asked).json()
    assert answer["choices"][0]["text"].startswith("Good �")


def test_the_name_of_a_control_token_is_read_as_text(client, library):
    asked = {"model": "base", "max_tokens": 1, "temperature": 0}
    for text in ("Bye</s>", "<s>"):
        answer = client.completions.create(prompt=text, echo=True, **asked)
        assert answer.choices[0].text.startswith(text)
        turn = [{"role": "user", "content": text}]
        chat = client.chat.completions.create(messages=turn, **asked)
        assert chat.usage.prompt_tokens == len(library.model.chat_ids("x" * len(text)))


def test_a_client_that_leaves_ends_its_rows(address, client):
    """Else 16 requests, each of 32 rows, would fill the loop for minutes."""
    asked = {"model": "base", "prompt": "Hi", "n": 32, "max_tokens": 480, "stream": True}
    for _ in range(20):
        with httpx.stream("POST", f"{address}/v1/completions", json=asked, timeout=60) as answer:
            next(answer.iter_lines())
    started = time.monotonic()
    client.completions.create(model="base", prompt="Hi", max_tokens=4)
    assert time.monotonic() - started < 5


def test_the_docs_lines_run(address, library, model_folder, capsys, monkeypatch, tmp_path):
    """docs/api.md, at this app's address in place of the one that it names, and this model in place of the default."""
    monkeypatch.setenv("TRADEWIND_MODEL", str(model_folder))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.S)
    names: dict = {}
    for block in blocks:
        if "lm_eval" in block and find_spec("lm_eval") is None:
            continue
        exec(block.replace("http://127.0.0.1:7860", address), names)
    assert len(blocks) >= 3 and len(capsys.readouterr().out.splitlines()) >= len(blocks) - 1
    answers = [
        _check_harness(library, name, evaluated["samples"]["questions"])
        for name, evaluated in names.get("evaluated", {}).items()
    ]
    assert not answers or answers[0] != answers[1]


def _check_harness(library: Library, name: str, samples: list) -> list[float]:
    """lm-evaluation-harness has the log-probabilities that the model gives, steered and not: these."""
    edits = policy(library, Plan.from_json(json.loads(name[5:]))).edits if name.startswith("plan:") else ()
    assert len(samples) == 3
    for sample in samples:
        for asked, answered in zip(sample["arguments"], sample["filtered_resps"], strict=True):
            prompt, whole = (library.model.text_ids(text) for text in (asked[0], "".join(asked)))
            [logprobs] = library.model.logprobs([whole], [len(prompt)], edits=[edits], chosen=True)
            assert float(answered[0]) == pytest.approx(float(logprobs.sum()), abs=1e-3)
    return [float(answered[0]) for sample in samples for answered in sample["filtered_resps"]]
