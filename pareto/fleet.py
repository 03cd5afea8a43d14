"""Runs that make their steps together, for a GPU: thousands of answers take it little longer than a hundred.

One batch has the answers of all runs, one pass their log-probabilities and one their gradients; each run then
makes its own step from its part, as it does alone.
"""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from common.jsons import JsonObject
from lm.devices import free_bytes
from lm.engines.torch.lockstep import Lockstep
from lm.engines.torch.stack import Stack
from pareto import rollout
from pareto.rollout import Asked, Rollout
from pareto.settings import Settings, SettingsError
from pareto.train import Trainer

MEMORY_SHARE = 0.4
"""Of a GPU's free memory, for the answers of all runs; the same again for gradients."""
MOST_ROWS = 480
"""Answers whose gradients are worked out in one pass: more are no quicker on an H100."""
ACTIVATIONS = 40
"""Bytes that a trained block keeps for its gradients, of each token and each number of the residual stream."""
LONGEST = 256
"""Tokens of a prompt and its answer that memory is reckoned for."""
KEPT_EVERY = 60.0
"""Seconds between two states on disk: writing those of all runs takes longer than a step."""
ALIKE = (
    "steps", "prompts", "group", "max_new_tokens", "temperature", "rank", "first", "positions", "kl", "rows_at_once",
)  # fmt: skip
"""Settings that runs of one fleet share."""


def together(stack: Stack) -> bool:
    """Whether runs make their steps together rather than one by one: on a GPU."""
    return stack.device.type == "cuda"


def at_once(stack: Stack, settings: Settings) -> int:
    """How many runs of these settings a GPU's free memory answers for together."""
    cache = 2 * stack.layers * stack.kv_heads * stack.head_width * stack.dtype.itemsize
    answer = LONGEST * (cache + 4 * stack.width) + 12 * stack.vocabulary
    return max(1, int(MEMORY_SHARE * free_bytes(stack.device) / (settings.prompts * settings.group * answer)))


def rows_at_once(stack: Stack, first: int) -> int:
    """Answers whose gradients from block `first` on fit into a GPU's free memory, up to MOST_ROWS."""
    answer = LONGEST * ACTIVATIONS * stack.width * (stack.layers - first)
    return max(1, min(MOST_ROWS, int(MEMORY_SHARE * free_bytes(stack.device) / answer)))


class Fleet:
    """Runs of one model, of the same prompts and rewards, whose settings differ in method, preference, seed
    and length of step alone.
    """

    def __init__(self, trainers: Sequence[Trainer]):
        """Raises SettingsError where runs cannot go together."""
        first = trainers[0]
        for name in ALIKE:
            values = {getattr(trainer.settings, name) for trainer in trainers}
            if len(values) > 1:
                raise SettingsError(
                    f"{name} is {', '.join(map(str, sorted(values)))}: runs side by side need one value."
                )
        if any(trainer.settings.algorithm == "ppo" for trainer in trainers):
            raise SettingsError("Algorithm is ppo: its runs go one by one; leave --at-once out.")
        self.trainers = list(trainers)
        self.model, self.settings, self.shape = first.model, first.settings, first.shape
        self.prompt = max(
            len(self.model.chat_ids(prompt)) for trainer in trainers for prompt in set(trainer.prompts)
        )
        self._memory: tuple[Tensor, Lockstep] | None = None

    def run(self, on_step: Callable[[Trainer, JsonObject], None] = lambda trainer, row: None) -> None:
        """Trains all runs to their last steps; finished ones stay as they are."""
        saved = time.monotonic()
        left = [trainer for trainer in self.trainers if not trainer.finished]
        while running := [trainer for trainer in left if trainer.step < self.settings.steps]:
            for trainer, row in zip(running, self.advance(running), strict=True):
                on_step(trainer, row)
            if time.monotonic() - saved > KEPT_EVERY:
                for trainer in running:
                    trainer.keep()
                saved = time.monotonic()
        for trainer in left:
            trainer.keep()
            trainer.finish()

    def advance(self, trainers: Sequence[Trainer]) -> list[JsonObject]:
        """One step of each; what is logged of them. Times are a run's share."""
        started = time.perf_counter()
        asked = [trainer.asked() for trainer in trainers]
        policies = torch.cat([trainer.policies for trainer in trainers])
        batch = self._sample(asked, policies)
        sampled = time.perf_counter() - started
        with torch.no_grad():
            reference = torch.cat(
                [
                    rollout.logprobs(self.model.stack, part, self.shape.first)
                    for part in batch.parts(self.settings.rows_at_once)
                ]
            ).cpu()
        rows = self.settings.prompts * self.settings.group
        cuts = [slice(at, at + rows) for at in range(0, len(batch.texts), rows)]
        judged = [
            trainer.judged(own, batch.part(cut), reference[cut])
            for trainer, own, cut in zip(trainers, asked, cuts, strict=True)
        ]
        share = len(policies) // len(trainers)
        gradients = rollout.gradients(
            self.model.stack,
            self.shape,
            policies,
            torch.cat([own.places + k * share for k, own in enumerate(asked)]),
            batch,
            torch.cat([worth.signal for worth in judged], 1),
            self.settings.rows_at_once,
        )
        moves = [
            trainer.moved(worth, own)
            for trainer, worth, own in zip(trainers, judged, gradients.split(share), strict=True)
        ]
        shares = [seconds / len(trainers) for seconds in (sampled, time.perf_counter() - started)]
        return [
            trainer.logged(worth, move, *shares)
            for trainer, worth, move in zip(trainers, judged, moves, strict=True)
        ]

    def _sample(self, asked: Sequence[Asked], policies: Tensor) -> Rollout:
        s = self.settings
        prompts = [prompt for own in asked for prompt in own.prompts]
        theta, lockstep = self._decoder(policies)
        theta.copy_(policies)
        answers = lockstep.run(
            [self.model.chat_ids(prompt) for prompt in prompts[:: s.group]],
            [seed for own in asked for seed in own.seeds],
            s.temperature,
            self.model.stop_ids,
        )
        ids, mask = answers.ids.cpu(), answers.mask.cpu()
        texts = [self.model.codec.decode(row[real].tolist()) for row, real in zip(ids, mask, strict=True)]
        logps = answers.logps.cpu() * mask
        return Rollout(prompts, texts, answers.hidden, answers.where.cpu(), ids, logps, mask, s.temperature)

    def _decoder(self, policies: Tensor) -> tuple[Tensor, Lockstep]:
        """Parameters [j, n] that a decode reads, and the decoder for so many policies."""
        if self._memory is None or len(self._memory[0]) != len(policies):
            self._memory = None
            s, stack = self.settings, self.model.stack
            theta = torch.zeros_like(policies, dtype=stack.dtype)
            lockstep = Lockstep(
                stack,
                self.shape.groups(theta),
                rows=len(policies) * s.prompts * s.group // max(1, s.positions),
                group=s.group,
                prompt=self.prompt,
                answer=s.max_new_tokens,
                record=self.shape.first - 1,
            )
            self._memory = theta, lockstep
        return self._memory
