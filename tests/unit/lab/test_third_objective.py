"""A third objective from a Python function goes all the way: trained, scored, plotted and judged, with no line of the
library changed.
"""

from pathlib import Path

import pytest
import torch

import arena
from lm import Policy, load
from lm.engines.torch.stack import Stack
from pareto import view
from pareto.checkpoint import Checkpoint
from pareto.evaluate import evaluate
from pareto.front import Front
from pareto.policy import tuned
from pareto.rewards import FunctionReward
from pareto.train import Settings, Trainer
from tests.tiny import tiny

PROMPTS = ["How are you?", "Tell me a story.", "What is a boat?", "Why?"]
REWARDS = {
    "helpful": FunctionReward(lambda prompt, answer: len({*answer})),
    "harmless": FunctionReward(lambda prompt, answer: -answer.count("a")),
    "brevity": FunctionReward(lambda prompt, answer: -len(answer)),
}
QUESTIONS = (*arena.OPENING, arena.Question("brevity", "Which is shorter?"))


@pytest.fixture(scope="module")
def policies(tmp_path_factory) -> dict[str, Policy]:
    """The base model and two checkpoints that weigh brevity."""
    model = load(str(tiny("llama")))
    model.stack = Stack(model.torch, torch.float32)
    small = {
        "steps": 2,
        "prompts": 2,
        "group": 3,
        "max_new_tokens": 6,
        "rank": 2,
        "rows_at_once": 6,
        "lr": 0.5,
    }
    made = {"base": Policy(model)}
    for id, weights in (("brief", (0.1, 0.1, 0.8)), ("even", (0.4, 0.3, 0.3))):
        folder: Path = tmp_path_factory.mktemp(id)
        settings = Settings(**small, method="pgapo", preference=weights)
        Trainer(model, REWARDS, PROMPTS, settings, folder / id, {"id": id, "name": id}).run()
        checkpoint = Checkpoint.load(folder / id, model)
        assert checkpoint.card["objectives"] == [*REWARDS]
        made[id] = tuned(model, checkpoint)
    return made


def test_it_is_scored_and_plotted(policies) -> None:
    model = policies["base"].model
    front = Front(model.name, model.hash, (-99.0,) * 3, objectives=tuple(REWARDS))
    prompts = [("helpful", text) for text in PROMPTS[:2]] + [("unsafe", text) for text in PROMPTS[2:]]
    for name, policy in policies.items():
        scored = evaluate(policy, model, REWARDS, prompts, samples=1, max_new_tokens=6)
        facts = {
            "id": name,
            "name": name,
            "method": "base" if name == "base" else "pgapo",
            "preference": None,
            "seed": 0,
        }
        front = front.with_point(facts | scored)
    shown = view.front(front)
    assert shown["objectives"] == [*REWARDS]
    assert {"id": "brevity", "title": "brevity: reward, standard deviations"} in shown["axes"]
    assert all(point["brevity"] is not None and point["brevity_ci"] for point in shown["points"])


def test_it_is_judged(policies, tmp_path) -> None:
    """Somebody who always finds the shorter answer shorter: the votes rank the policies by mean length."""
    entrants = {name: arena.Entrant(policy, policy.spec) for name, policy in policies.items()}
    outputs = [each for part in arena.generate(entrants, PROMPTS, max_new_tokens=12) for each in part]
    length = {(each.prompt, each.text): len(each.text) for each in outputs}
    store = arena.Store(f"sqlite:///{tmp_path / 'votes.sqlite3'}")
    arena.create(store, "Three questions", outputs, questions=QUESTIONS, repeats=0.0)
    service = arena.Service(store, votes_a_minute=1000)
    while shown := service.next("Ada"):
        assert [question.key for question in shown.questions] == [*REWARDS]
        a, b = (length[shown.prompt, text] for text in (shown.a, shown.b))
        answer = "tie" if a == b else "a" if a < b else "b"
        service.vote(shown.battle, "Ada", {"helpful": "tie", "harmless": "tie", "brevity": answer})
    with store.read() as session:
        votes = arena.votes_frame(session)
    store.close()
    ranked = arena.ranking(votes, "brevity").table
    assert {*ranked["policy"]} <= {*policies} and len(ranked) > 1
    judged = arena.human_front(votes, [*REWARDS])
    assert {"brevity", "brevity_low", "brevity_high"} <= {*judged.columns} and len(judged) == len(ranked)
    wins = {name: 0.0 for name in ranked["policy"]}
    for vote in votes.itertuples():
        wins[vote.policy_a] += {"a": 1.0, "tie": 0.5}.get(vote.brevity, 0.0)
        wins[vote.policy_b] += {"b": 1.0, "tie": 0.5}.get(vote.brevity, 0.0)
    played = {
        name: sum(name in (vote.policy_a, vote.policy_b) for vote in votes.itertuples()) for name in wins
    }
    best = max(wins, key=lambda name: wins[name] / played[name])
    assert ranked.iloc[0]["policy"] == best
