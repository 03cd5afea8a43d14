"""The documented endpoints, as a script calls them."""

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

PLAN = {
    "targets": [{"concept": "sports", "direction": "amplify", "p0": 0.98}],
    "layers": [10, 12],
    "method": "gcav",
}

NEVER = {"concept": "sports", "direction": "remove", "p0": 1 - 1e-6}


@pytest.fixture(scope="module")
def client(app: str) -> Client:
    return Client(app, verbose=False)


def ask(client: Client, **changes) -> dict:
    asked = {
        "prompt": "Tell me about the ocean.",
        "plan": PLAN,
        "seed": 0,
        "max_new_tokens": 12,
        "temperature": 0.0,
    }
    return client.predict(**(asked | changes), api_name="/steer")


def test_steer_answers_with_both_sides(client: Client) -> None:
    found = ask(client)
    assert set(found) == {"unsteered", "steered"}
    for side in found.values():
        assert "".join(side["tokens"]) == side["text"]
        assert {"nll", "kl", "repetition", "tokens_per_second", "scores"} <= set(side["metrics"])


def test_a_gate_that_never_fires_changes_nothing(client: Client) -> None:
    found = ask(client, plan=PLAN | {"targets": [NEVER]}, temperature=0.8, seed=5)
    assert found["unsteered"]["tokens"] == found["steered"]["tokens"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt": ""}, "empty"),
        ({"prompt": "x" * 100_000}, "characters"),
        ({"seed": -1}, "seed"),
        ({"max_new_tokens": -5}, "max_new_tokens"),
        ({"max_new_tokens": 10**9}, "max_new_tokens"),
        ({"temperature": 99.0}, "temperature"),
        ({"plan": {}}, "targets"),
        ({"plan": PLAN | {"layers": [99]}}, "Layers names 99"),
        (
            {"plan": PLAN | {"targets": [{"concept": "weather", "direction": "amplify", "p0": 0.9}]}},
            "weather",
        ),
        ({"plan": PLAN | {"targets": [{"concept": "sports", "direction": "amplify", "p0": 1}]}}, "p0"),
    ],
)
def test_every_argument_is_bounded_on_the_server(client: Client, changes: dict, says: str) -> None:
    with pytest.raises(AppError, match=f"(?i){says}"):
        ask(client, **changes)


def test_sweep_gives_a_table(client: Client) -> None:
    found = client.predict(
        prompt="Tell me about the ocean.",
        plan=PLAN,
        magnitudes=[0.5, 0.99],
        max_new_tokens=8,
        api_name="/sweep",
    )
    assert len(found["rows"]) == 3 and {"magnitude", "text", "kl"} <= set(found["columns"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"magnitudes": []}, "magnitudes"),
        ({"magnitudes": 0}, "magnitudes"),
        ({"magnitudes": ["high"]}, "magnitudes"),
        ({"magnitudes": [1.0]}, "p0"),
        ({"magnitudes": [0.5] * 1000}, "magnitudes"),
        ({"bands": 64}, "bands"),
        ({"bands": [[99]]}, "Layers names 99"),
    ],
)
def test_a_sweep_is_bounded_on_the_server(client: Client, changes: dict, says: str) -> None:
    asked = {"prompt": "Tell me about the ocean.", "plan": PLAN, "magnitudes": [0.5], "max_new_tokens": 8}
    with pytest.raises(AppError, match=f"(?i){says}"):
        client.predict(**(asked | changes), api_name="/sweep")


def test_concepts_are_listed(client: Client) -> None:
    assert "sports" in {concept["name"] for concept in client.predict(api_name="/concepts")}


def test_nothing_else_is_public(client: Client) -> None:
    shown = set(client.view_api(return_format="dict")["named_endpoints"])
    assert {"/steer", "/sweep", "/concepts"} <= shown and not {"/on_run", "/on_train", "/on_stop"} & shown
