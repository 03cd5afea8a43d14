"""One prompt, unsteered and steered, from one batch and one seed."""

import dataclasses
import json
import threading
from dataclasses import dataclass
from functools import partial

from lm import Decoding, Edit, Policy, Row, Run, Sampling
from lm.prompts import MAX_NEW_TOKENS, Asked, prompt_ids
from steering.edits import Steering, edits, feasible, steering
from steering.library import Library
from steering.metrics import Metrics, history, measure
from steering.plan import Plan, PlanError


@dataclass(frozen=True)
class Pair:
    """A decode of two rows, unsteered (0) and steered (1), of a plan on a model."""

    decoding: Decoding
    steering: Steering
    temperature: float

    @property
    def edits(self) -> tuple[tuple[Edit, ...], tuple[Edit, ...]]:
        """The edits of each row."""
        return self.steering.readers, self.steering.edits


@dataclass(frozen=True)
class Steered:
    """One side of a comparison, ready to be shown."""

    run: Run
    metrics: Metrics
    edits: tuple[Edit, ...]

    def to_dict(self) -> dict:
        """The contract's object: text, tokens, metrics; and what each token's edits read and wrote."""
        return {
            "text": self.run.text,
            "tokens": self.run.pieces,
            "metrics": dataclasses.asdict(self.metrics),
            "trace": history(self.run, self.edits),
        }


def pair(
    library: Library,
    prompt: Asked,
    plan: Plan,
    *,
    seed: int = 0,
    max_new_tokens: int = 96,
    temperature: float = 0.0,
    stop: threading.Event | None = None,
) -> Pair:
    """Starts both rows. Raises PlanError or PromptError before anything is computed."""
    if not 1 <= max_new_tokens <= MAX_NEW_TOKENS:
        raise PlanError(f"max_new_tokens is {max_new_tokens}: give a number from 1 to {MAX_NEW_TOKENS}")
    ids = prompt_ids(library.model, prompt)
    sampling = Sampling(temperature=temperature, seed=seed, max_new_tokens=max_new_tokens)
    applied = feasible(steering(plan, library, prompt))
    rows = [Row(ids, sampling, edit) for edit in (applied.readers, applied.edits)]
    return Pair(library.model.decode(rows, stop=stop), applied, temperature)


def finish(library: Library, pair: Pair) -> tuple[Steered, Steered]:
    """Measures what a decode has brought so far."""
    concepts = [library.concepts[target.concept] for target in pair.steering.plan.targets]
    runs = pair.decoding.runs
    unsteered, steered = measure(library.model, runs, pair.edits, concepts, temperature=pair.temperature)
    return Steered(runs[0], unsteered, pair.edits[0]), Steered(runs[1], steered, pair.edits[1])


def steer(library: Library, prompt: Asked, plan: Plan, **settings) -> dict[str, dict]:
    """Both texts with tokens, metrics and trace, as the endpoint /steer gives them; settings as for `pair`.

    The steered side has "plan" too: the layers, the cosines between the targets' directions, feasible.
    """
    started = pair(library, prompt, plan, **settings)
    for _ in started.decoding:
        pass
    unsteered, steered = finish(library, started)
    return {
        "unsteered": unsteered.to_dict(),
        "steered": steered.to_dict() | {"plan": started.steering.to_dict()},
    }


def policy(library: Library, plan: Plan) -> Policy:
    """The model steered by a plan, whose vectors are made when it first answers."""
    return Policy(
        library.model,
        f"plan:{plan.to_json()}",
        partial(edits, plan, library),
        parts={"plan": json.loads(plan.to_json())},
        about={"id": f"plan:{plan.title}", "name": plan.title, "method": "steered", "preference": None},
    )
