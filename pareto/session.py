"""Who asks on the Trade-offs tab, and for what."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.bounds import MAX_NEW_TOKENS, MAX_SEED, MAX_TEMPERATURE
from common.jsons import JsonObject
from lm import Policy, Run, Sampling
from lm.policy import MIXES, SCALED, between, scaled
from lm.prompts import FIELDS, Prompt, read
from pareto.checkpoint import Checkpoint, CheckpointError
from pareto.front import Front
from pareto.policy import ends
from ui import sessions
from ui.validation import bounded, whole

MAX_PICKS = 3
BASE, PLAN = "base", "plan:"
"""The id of the base model, and the start of the ids of plans ("plan:less toxic")."""
Side = tuple[str, Policy, Run]
"""What a policy is called, the policy, and its answer."""


@dataclass(frozen=True)
class Request:
    """What a page or a script asks for; every number is within bounds. picks: ids that answer."""

    prompt: Prompt
    picks: tuple[str, ...]
    seed: int = 0
    max_new_tokens: int = 64
    temperature: float = 0.7
    top_p: float = 1.0

    @classmethod
    def parse(cls, fields: Mapping[str, Any], most: int = MAX_PICKS) -> "Request":
        """Raises ValueError with one sentence where something is missing or out of bounds."""
        prompt = read({name: fields.get(name) for name in (*FIELDS, "thinking")})
        picks = fields.get("picks")
        if not isinstance(picks, (list, tuple)) or not all(isinstance(pick, str) for pick in picks):
            raise ValueError(f"Picks is {picks!r:.80}: give a list of checkpoint ids.")
        if len(picks) > most:
            raise ValueError(f"{len(picks)} policies are picked: give {most} at most.")
        return cls(
            prompt,
            tuple(dict.fromkeys(picks)),
            whole(fields, "seed", 0, MAX_SEED),
            whole(fields, "max_new_tokens", 1, MAX_NEW_TOKENS),
            float(bounded(fields, "temperature", 0, MAX_TEMPERATURE)),
            float(bounded({"top_p": 1.0, **fields}, "top_p", 0, 1)),
        )

    @property
    def sampling(self) -> Sampling:
        """The same for every row."""
        return Sampling(self.temperature, self.seed, self.max_new_tokens, self.top_p)


@dataclass
class Session(sessions.Session):
    """One browser tab: the front and the checkpoints as it knows them, and what is under way.

    version: of the front that it has; last: request and sides of the last complete run, by pick; sent: which
        of them are in the comparison already; own: ids of the points that it added; plans: steered policies
        by their picks;
    example: whether shipped judgements stand in for people's votes.
    """

    front: Front
    checkpoints: dict[str, Checkpoint]
    version: int = 0
    last: tuple[Request, dict[str, Side]] | None = None
    sent: set[tuple[str, ...]] = field(default_factory=set)
    own: set[str] = field(default_factory=set)
    plans: dict[str, Policy] = field(default_factory=dict)
    example: bool = False

    def point(self, id: str) -> JsonObject | None:
        """The scored point of a policy, or None."""
        return next((point for point in self.front.points if point["id"] == id), None)

    def checkpoint(self, id: str) -> Checkpoint:
        """The checkpoint of an id. Raises CheckpointError."""
        if id not in self.checkpoints:
            raise CheckpointError(
                f"There is no checkpoint {id[:80]!r}: give one of {', '.join(self.checkpoints) or 'those you add'}."
            )
        return self.checkpoints[id]

    def name(self, pick: str) -> str:
        """The name of a pick's policy, as lm.policy.Policies takes it."""
        point = self.point(pick)
        if point and point["method"] == BASE:
            return BASE
        if pick not in self.checkpoints and point and point["method"] in MIXES and point.get("preference"):
            return f"{point['method']}:{point['preference'][0]:g}"
        return pick

    def answers(self, point: Mapping[str, Any]) -> bool:
        """Whether a point's policy can answer prompts here."""
        if point["id"] in self.checkpoints or point["method"] == BASE or point["id"] in self.plans:
            return True
        if point["method"] == SCALED:
            return self.holds(point["id"])
        return bool(point.get("preference")) and self.ends(point["method"]) is not None

    def holds(self, name: str) -> bool:
        """Whether the checkpoints that a scaled policy is made of are here."""
        bare = scaled(name)[0]
        if live := between(bare):
            return self.ends(live[0]) is not None
        return {*bare.partition("@")[0].split("+")} <= self.checkpoints.keys()

    def ends(self, method: str) -> tuple[Checkpoint, Checkpoint] | None:
        """The checkpoints that a method of MIXES mixes, where both are there."""
        return ends(method, self.checkpoints.values())
