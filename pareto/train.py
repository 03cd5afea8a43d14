"""Training towards several rewards at once: one sampled batch, a gradient an objective, one combined step."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from common.jsons import JsonObject
from lm import LanguageModel
from lm.adapter import MODULES
from lm.metrics import repetition
from pareto import checkpoint, combine, objectives, rollout
from pareto.combiners import COMBINERS, Evidence
from pareto.critic import Critic
from pareto.lowrank import Shape
from pareto.optimizer import Ascent, MovingGram, slow
from pareto.rewards import Head, Reward, checked, scorer
from pareto.rollout import Asked, Rollout
from pareto.settings import Settings, SettingsError, ordered


@dataclass(frozen=True)
class Judged:
    """Answers of a step, and what they are worth.

    places: which policy gave each [n]; rewards: [objectives, n], less the guard; kl: log pi / pi_ref [n];
        signal: row weights [m, n] of RLOO and DPO, or PPO's advantages [m, n, t].
    """

    batch: Rollout
    places: Tensor
    rewards: Tensor
    kl: Tensor
    signal: Tensor


class Trainer:
    """A run: model, rewards and prompts in; a checkpoint folder out.
    It goes on where a killed run stopped.
    """

    def __init__(
        self,
        model: LanguageModel,
        rewards: dict[str, Reward | Head],
        prompts: Sequence[str],
        settings: Settings,
        folder: Path,
        card: JsonObject,
    ):
        """rewards: by objective; the preference has their weights in the order of `ordered`. prompts: texts,
        of which each step draws settings.prompts. Raises SettingsError.
        """
        rewards = {name: rewards[name] for name in ordered(list(rewards))}
        self.model, self.rewards, self.prompts, self.settings = model, rewards, list(prompts), settings
        self.folder = folder.resolve()
        self.accelerator = Accelerator(cpu=model.stack.device.type == "cpu")
        self.first = self._first_block()
        self._check()
        self.shape = Shape(model.stack, settings.rank, self.first, MODULES)
        self.theta = torch.nn.Parameter(self._start().to(model.stack.device))
        self.critic = Critic(len(rewards), model.width) if settings.algorithm == "ppo" else None
        self.ascent = Ascent(settings.momentum, torch.zeros_like(self.theta.data))
        self.grams = MovingGram(settings.memory, torch.zeros(len(rewards), len(rewards), dtype=torch.float64))
        self.beta, self.step = settings.beta, 0
        self.curves: list[JsonObject] = []
        self.card = card | {
            "base_model": model.name,
            "base_hash": model.hash,
            "method": settings.method,
            "p": settings.p if settings.method == "gapo" else None,
            "preference": settings.preference,
            "objective": settings.algorithm,
            "seed": settings.seed,
            "hyperparameters": asdict(settings) | {"first": self.first, "optimizer": "normalised ascent"},
            "objectives": list(rewards),
            "rewards": {name: reward.identity for name, reward in rewards.items()},
        }
        self._resume()

    def _first_block(self) -> int:
        """The lowest block that is trained: by default the one above those that reward heads read."""
        read = [reward.block for reward in self.rewards.values() if isinstance(reward, Head)]
        lowest = 1 + max(read, default=self.model.layers // 2)
        first = lowest if self.settings.first is None else self.settings.first
        if not lowest <= first < self.model.layers:
            raise SettingsError(
                f"First is {first}: give a block from {lowest}, above the reward heads, to {self.model.layers - 1}."
            )
        return first

    def _check(self) -> None:
        settings, processes = self.settings, self.accelerator.num_processes
        if not self.prompts:
            raise SettingsError("There are no prompts: give a file with at least one.")
        if settings.preference is not None:
            combine.preference(settings.preference, len(self.rewards))
        if settings.prompts % processes:
            raise SettingsError(
                f"Prompts is {settings.prompts}: give a multiple of the {processes} processes."
            )

    def run(self, on_step: Callable[[JsonObject], None] = lambda row: None) -> None:
        """Trains to the last step; state is kept after each, the checkpoint written at the end. A finished
        run is left as it is.
        """
        if self.finished:
            return
        while self.step < self.settings.steps:
            on_step(self.advance())
        self.finish()

    def finish(self) -> None:
        """Writes the checkpoint in the place of the state."""
        if self.accelerator.is_main_process:
            self._save()
            (self.folder / checkpoint.STATE).unlink(missing_ok=True)

    @property
    def finished(self) -> bool:
        """Whether the checkpoint is written."""
        return self.step == self.settings.steps and not (self.folder / checkpoint.STATE).exists()

    def _start(self) -> Tensor:
        """Parameters before the first step."""
        return self.shape.start(self.settings.seed)

    @property
    def policies(self) -> Tensor:
        """Parameters of the policies that answer in this step [j, n]: one here, several along a curve."""
        return self.theta.detach()[None]

    def _save(self) -> None:
        adapter = self.shape.adapter(self.theta.cpu())
        checkpoint.save(self.folder, adapter, self.card | {"steps": self.step}, self.curves)

    def _finished(self) -> tuple[JsonObject, list[JsonObject]] | None:
        return checkpoint.finished(self.folder)

    def advance(self) -> JsonObject:
        """One step; what is logged of it."""
        started = time.perf_counter()
        asked = self.asked()
        batch = self._sample(asked)
        sampled = time.perf_counter() - started
        with torch.no_grad():
            parts = [
                rollout.logprobs(self.model.stack, part, self.first)
                for part in batch.parts(self.settings.rows_at_once)
            ]
        judged = self.judged(asked, batch, torch.cat(parts).cpu())
        for _ in range(self.settings.epochs):
            row = self.moved(judged, self._gradients(judged))
        row = self.logged(judged, row, sampled, time.perf_counter() - started)
        self.keep()
        return row

    def asked(self) -> Asked:
        """What this process asks in this step."""
        s, rank, processes = self.settings, self.accelerator.process_index, self.accelerator.num_processes
        rng = np.random.default_rng([s.seed, self.step])
        drawn = rng.choice(len(self.prompts), s.prompts, replace=len(self.prompts) < s.prompts)
        seeds = rng.integers(2**62, size=s.prompts * s.group)
        mine = np.arange(s.prompts * s.group).reshape(processes, -1)[rank]
        return Asked(
            [self.prompts[drawn[i // s.group]] for i in mine],
            [int(seeds[i]) for i in mine],
            torch.as_tensor(mine * len(self.policies) // (s.prompts * s.group)),
        )

    def _sample(self, asked: Asked) -> Rollout:
        adapters = [self.shape.adapter(theta.cpu()) for theta in self.policies]
        return rollout.sample(
            self.model,
            asked.prompts,
            [adapters[place] for place in asked.places],
            block=self.first - 1,
            seeds=asked.seeds,
            temperature=self.settings.temperature,
            max_new_tokens=self.settings.max_new_tokens,
        )

    def judged(self, asked: Asked, batch: Rollout, reference: Tensor) -> Judged:
        """What the answers are worth. reference: the base model's log-probability of every token [n, t]."""
        rewards, kl = self._rewards(batch), (batch.logps - reference).sum(1)
        return Judged(batch, asked.places, rewards, kl, self._signal(batch, rewards, reference, kl))

    def logged(self, judged: Judged, row: JsonObject, sampled: float, seconds: float) -> JsonObject:
        """Ends the step: what is logged of it, all processes together. sampled: seconds of the `seconds` that
        answers took.
        """
        s, tokens = self.settings, self._tokens(judged.batch)
        answers = s.prompts * s.group
        row |= {
            "step": self.step + 1,
            "kl": self._sum(float(judged.kl.sum())) / answers,
            "beta": self.beta,
            "length": tokens / answers,
            "reward": {
                name: self._sum(float(values.sum())) / answers
                for name, values in zip(self.rewards, judged.rewards, strict=True)
            },
        }
        self.beta = slow(self.beta, row["kl"], s.kl_target, s.beta)
        row |= {"sampling_seconds": sampled, "seconds": seconds, "tokens_per_second": tokens / seconds}
        self.step += 1
        self.curves.append(row)
        return row

    def _rewards(self, batch: Rollout) -> Tensor:
        """[objectives, n], less the guard. Heads read the block that the rollout kept; others score the
        texts.
        """
        pooled = batch.pooled()
        rewards = [
            reward.of_pooled(self.model, batch.prompts, pooled).cpu()
            if isinstance(reward, Head) and reward.block == self.first - 1
            else checked(scorer(self.model, reward).score(batch.prompts, batch.texts), name)
            for name, reward in self.rewards.items()
        ]
        repeated = torch.tensor(
            [repetition(ids[real].tolist()) for ids, real in zip(batch.targets, batch.mask, strict=True)]
        )
        return torch.stack(rewards) - self.settings.guard * repeated

    def _signal(self, batch: Rollout, rewards: Tensor, reference: Tensor, kl: Tensor) -> Tensor:
        """Row weights [m, n] of RLOO and DPO, or PPO's advantages [m, n, t]; with kl="outside" its own
        objective comes last.
        """
        s = self.settings
        inside = self.beta if s.kl == "inside" else 0.0
        outside = [objectives.rloo(-kl[None], kl, s.group, 0.0)] if s.kl == "outside" else []
        if s.algorithm == "rloo":
            return torch.cat([objectives.rloo(rewards, kl, s.group, inside), *outside])
        if s.algorithm == "dpo":
            return torch.cat(
                [objectives.dpo(rewards, batch.logps.sum(1), reference.sum(1), s.group, self.beta), *outside]
            )
        assert self.critic is not None  # PPO trains one
        return self._advantages(self.critic, batch, rewards, inside * (batch.logps - reference))

    def _advantages(self, critic: Critic, batch: Rollout, rewards: Tensor, penalty: Tensor) -> Tensor:
        """PPO's, centred on 0: the reward comes with the last token, the KL penalty [n, t] with each."""
        per_token = -penalty.expand(len(rewards), -1, -1).clone()
        per_token[:, torch.arange(len(batch.texts)), batch.lengths - 1] += rewards
        advantages = critic.advantages(batch, per_token, self.settings.gae_lambda)
        mean = self._reduced(advantages[:, batch.mask].sum(1)) / self._tokens(batch)
        return (advantages - mean.to(advantages)[:, None, None]) * batch.mask

    def _tokens(self, batch: Rollout) -> float:
        """Tokens of the answers of all processes."""
        return self._sum(float(batch.mask.sum()))

    def _gradients(self, judged: Judged) -> Tensor:
        """Of each objective at each policy [j, m, n], all processes together."""
        if self.settings.algorithm == "ppo":
            return self._averaged(self._token_gradients(judged))
        own = rollout.gradients(
            self.model.stack, self.shape, self.policies, judged.places, judged.batch, judged.signal,
            self.settings.rows_at_once,
        )  # fmt: skip
        return self._averaged(own)

    def _token_gradients(self, judged: Judged) -> Tensor:
        """Of PPO's surrogate, which weighs tokens: a backward pass an objective [1, m, n]."""
        s, batch, policies = self.settings, judged.batch, self.policies
        gradients = torch.zeros(1, len(judged.signal), self.shape.count, device=self.theta.device)
        for at, part in zip(
            range(0, len(batch.texts), s.rows_at_once), batch.parts(s.rows_at_once), strict=True
        ):
            leaf = policies.expand(len(part.texts), -1).clone().requires_grad_()
            logps = rollout.logprobs(self.model.stack, part, self.first, self.shape.rows(leaf))
            mine = judged.signal[:, at : at + len(part.texts)].to(logps)
            weights = objectives.ppo(logps.detach(), part.logps.to(logps), mine, part.mask.to(logps), s.clip)
            weights = weights * part.mask.sum() / (self._tokens(batch) / self.accelerator.num_processes)
            for k, weight in enumerate(weights):
                gradients[0, k] += torch.autograd.grad(
                    logps, leaf, weight, retain_graph=k + 1 < len(weights)
                )[0].sum(0)
        return gradients

    def moved(self, judged: Judged, gradients: Tensor) -> JsonObject:
        """Takes the method's step; what is logged of it. gradients: as `_gradients` gives them."""
        s, batch, signal, rewards = self.settings, judged.batch, judged.signal, judged.rewards
        direction, row = self._direction(gradients, signal, rewards)
        pace = min(1.0, (self.step + 1) / s.warmup) * (1 - self.step / s.steps)
        change, row["applied"] = self.ascent.step(direction, s.lr * pace * self.theta.numel() ** 0.5)
        self.theta.data += change
        if self.critic is not None:
            self.critic.step(self._reduced(self.critic.gradient(batch, self._tokens(batch))))
        return row

    def _direction(self, gradients: Tensor, signal: Tensor, rewards: Tensor) -> tuple[Tensor, JsonObject]:
        """What the method asks for, of gradients [1, objectives, n]; and what is logged of it."""
        s, own = self.settings, gradients[0, : len(rewards)]
        coefficients, row = self._coefficients(own, signal, rewards)
        direction = coefficients @ own
        if s.kl == "outside" and s.algorithm != "ppo":
            sound = torch.tensor([not floored for floored in row["floored"]], device=coefficients.device)
            direction = direction + self.beta * coefficients[sound].sum() * gradients[0, -1]
        return direction, row

    def _coefficients(self, gradients: Tensor, signal: Tensor, rewards: Tensor) -> tuple[Tensor, JsonObject]:
        s = self.settings
        seen = gradients[:, self.shape.last().to(gradients.device)] if s.gradients == "last" else gradients
        newest = combine.gram(seen).cpu()
        evidence = self._evidence(newest, signal[: len(gradients)])
        weights = combine.preference(s.preference or [1 / len(gradients)] * len(gradients), len(gradients))
        coefficients = COMBINERS[s.method].coefficients(evidence, weights)
        return coefficients.to(gradients), combine.summary(newest, evidence.gram, coefficients)

    def _evidence(self, newest: Tensor, signal: Tensor) -> Evidence:
        """What the method looks at, of this step's Gram matrix [m, m] and the weights
        of its answers [m, n, ...].
        """
        spread = self._reduced(signal.double().flatten(1).pow(2).mean(1)) / self.accelerator.num_processes
        return Evidence(self.grams.add(newest), spread.sqrt() * signal.shape[1], self.settings.p)

    def _sum(self, value: float) -> float:
        return float(self._reduced(torch.tensor(value, dtype=torch.float64)))

    def _averaged(self, gradients: Tensor) -> Tensor:
        """The mean over all processes."""
        mean: Tensor = self.accelerator.reduce(gradients, "mean")
        return mean

    def _reduced(self, value: Tensor) -> Tensor:
        """The sum over all processes, on the CPU."""
        total: Tensor = self.accelerator.reduce(value.to(self.accelerator.device), "sum")
        return total.cpu()

    def keep(self) -> None:
        """State after a step, then its line in the log, so that a kill in between repeats no step."""
        if not self.accelerator.is_main_process:
            return
        tensors: dict[str, Tensor] = {
            "theta": self.theta,
            "average": self.ascent.average,
            "gram": self.grams.total,
        }
        if self.critic is not None:
            tensors |= self.critic.state()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        checkpoint.save_state(
            self.folder,
            tensors,
            {
                "step": self.step,
                "beta": self.beta,
                "gram_weight": self.grams.weight,
                "card": self.card,
                "curves": self.curves,
            },
        )
        log = "".join(json.dumps(row) + "\n" for row in self.curves)
        (self.folder / checkpoint.CURVES).write_text(log)

    def _resume(self) -> None:
        """Goes on from a killed run's state, or notices that the run is finished. Raises SettingsError where
        the folder belongs to another run.
        """
        state = checkpoint.load_state(self.folder)
        finished = self._finished()
        if state is not None:
            card, curves = state[1]["card"], state[1]["curves"]
        elif finished is not None:
            card, curves = finished
        else:
            if self.folder.is_dir() and any(self.folder.iterdir()):
                raise SettingsError(
                    f"{self.folder} is not empty and holds no checkpoint, which would replace it: give another --out."
                )
            return
        theirs, mine = map(_decided, (card, json.loads(json.dumps(self.card))))
        if any(theirs.get(key) != value for key, value in mine.items()):
            raise SettingsError(
                f"{self.folder} holds a run of other settings: give another --out, or delete it."
            )
        if state is None:
            self.step, self.curves = card["steps"], curves
            return
        tensors, about = state
        self.step, self.beta, self.curves = about["step"], about["beta"], about["curves"]
        self.theta.data.copy_(tensors["theta"])
        self.ascent.average.copy_(tensors["average"])
        self.grams.total, self.grams.weight = tensors["gram"], about["gram_weight"]
        if self.critic is not None:
            self.critic.resume(tensors)


def _decided(card: JsonObject) -> JsonObject:
    """What a card says of a run but how it was started, and how many answers fit into the memory there."""
    hyperparameters = {
        name: value for name, value in card["hyperparameters"].items() if name != "rows_at_once"
    }
    return {name: value for name, value in card.items() if name != "command"} | {
        "hyperparameters": hyperparameters
    }
