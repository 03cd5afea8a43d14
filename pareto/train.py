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
from pareto.lowrank import Shape
from pareto.optimizer import Ascent, MovingGram, slow
from pareto.rewards import Head, HeadReward, Reward, checked
from pareto.rollout import Asked, Rollout
from pareto.settings import Settings, SettingsError, ordered

CRITIC_LR = 1e-2
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Judged:
    """Answers of a step, and what they are worth.

    places: which policy gave each [n]; rewards: [objectives, n], less the guard; kl: log pi / pi_ref [n]; signal: row
    weights [m, n] of RLOO and DPO, or PPO's advantages [m, n, t].
    """

    batch: Rollout
    places: Tensor
    rewards: Tensor
    kl: Tensor
    signal: Tensor


class Trainer:
    """A run: model, rewards and prompts in; a checkpoint folder out. It goes on where a killed run stopped."""

    def __init__(
        self,
        model: LanguageModel,
        rewards: dict[str, Reward | Head],
        prompts: Sequence[str],
        settings: Settings,
        folder: Path,
        card: JsonObject,
        accelerator: Accelerator | None = None,
    ):
        """rewards: by objective; the preference has their weights in the order of `ordered`. prompts: texts; each step draws
        settings.prompts of them.
        """
        if not prompts:
            raise SettingsError("There are no prompts: give a file with at least one.")
        rewards = {name: rewards[name] for name in ordered(list(rewards))}
        self.model, self.rewards, self.prompts, self.settings = model, rewards, list(prompts), settings
        self.folder, self.accelerator = (
            folder.resolve(),
            accelerator or Accelerator(cpu=model.stack.device.type == "cpu"),
        )
        if settings.preference is not None:
            combine.preference(settings.preference, len(rewards))
        if settings.prompts % self.accelerator.num_processes:
            raise SettingsError(
                f"Prompts is {settings.prompts}: give a multiple of the {self.accelerator.num_processes} processes."
            )
        self.block = max(
            [reward.block for reward in rewards.values() if isinstance(reward, Head)],
            default=model.layers // 2,
        )
        self.first = self.block + 1 if settings.first is None else settings.first
        if not self.block < self.first < model.layers:
            raise SettingsError(
                f"First is {self.first}: give a block from {self.block + 1}, above the reward heads, to {model.layers - 1}."
            )
        self.shape = Shape(model.stack, settings.rank, self.first, MODULES)
        self.theta = torch.nn.Parameter(self._start().to(model.stack.device))
        self.critic = (
            torch.nn.Parameter(torch.zeros(len(rewards), model.width + 1))
            if settings.algorithm == "ppo"
            else None
        )
        self.critics = torch.optim.Adam([self.critic], lr=CRITIC_LR) if self.critic is not None else None
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
        adapters = [self.shape.adapter(each.cpu()) for each in self.policies]
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
        """Ends the step: what is logged of it, all processes together. sampled: seconds of the `seconds` that answers
        took.
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
        pooled, asked = batch.pooled(), batch.asked()
        rewards = [
            reward.of_pooled(pooled, asked).cpu()
            if isinstance(reward, Head) and reward.block == self.first - 1
            else checked(self._scorer(reward).score(batch.prompts, batch.texts), name)
            for name, reward in self.rewards.items()
        ]
        repeated = torch.tensor(
            [repetition(ids[real].tolist()) for ids, real in zip(batch.targets, batch.mask, strict=True)]
        )
        return torch.stack(rewards) - self.settings.guard * repeated

    def _scorer(self, reward: Reward | Head) -> Reward:
        return HeadReward(self.model, reward) if isinstance(reward, Head) else reward

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
        return self._advantages(batch, rewards, inside * (batch.logps - reference))

    def _advantages(self, batch: Rollout, rewards: Tensor, penalty: Tensor) -> Tensor:
        """PPO: the reward comes with the last token, the KL penalty [n, t] with each; a value head an
        objective learns from both.
        """
        values = self._values(batch).detach()
        per_token = -penalty.expand(len(rewards), -1, -1).clone()
        per_token[:, torch.arange(len(batch.texts)), batch.lengths - 1] += rewards
        advantages = objectives.gae(per_token, values, batch.mask, 1.0, self.settings.gae_lambda)
        self.returns = advantages + values
        mean = self._reduced(advantages[:, batch.mask].sum(1)) / self._tokens(batch)
        return (advantages - mean.to(advantages)[:, None, None]) * batch.mask

    def _values(self, batch: Rollout) -> Tensor:
        """What the value heads expect from each token on [m, n, t]."""
        states = batch.hidden.gather(1, batch.where[..., None].expand(-1, -1, batch.hidden.shape[2]))
        states = torch.nn.functional.normalize(states, dim=-1) * states.shape[-1] ** 0.5
        return torch.einsum("ntw,mw->mnt", torch.nn.functional.pad(states, (0, 1), value=1.0), self.critic)

    def _tokens(self, batch: Rollout) -> float:
        """Tokens of the answers of all processes."""
        return self._sum(float(batch.mask.sum()))

    def _gradients(self, judged: Judged) -> Tensor:
        """Of each objective at each policy [j, m, n], all processes together."""
        s, batch, policies = self.settings, judged.batch, self.policies
        if s.algorithm != "ppo":
            own = rollout.gradients(
                self.model.stack,
                self.shape,
                policies,
                judged.places,
                batch,
                judged.signal,
                s.rows_at_once,
            )
            return self._averaged(own)
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
        return self._averaged(gradients)

    def moved(self, judged: Judged, gradients: Tensor) -> JsonObject:
        """Takes the method's step; what is logged of it. gradients: as `_gradients` gives them."""
        s, batch, signal, rewards = self.settings, judged.batch, judged.signal, judged.rewards
        direction, row = self._direction(gradients, signal, rewards)
        pace = min(1.0, (self.step + 1) / s.warmup) * (1 - self.step / s.steps)
        change, row["applied"] = self.ascent.step(direction, s.lr * pace * self.theta.numel() ** 0.5)
        self.theta.data += change
        if self.critic is not None and self.critics is not None:
            error = ((self._values(batch) - self.returns) * batch.mask).pow(2).sum() / self._tokens(batch)
            self.critic.grad = self._reduced(torch.autograd.grad(error, self.critic)[0]).to(self.critic)
            self.critics.step()
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
        gram = self.grams.add(newest)
        spread = signal[: len(gradients)].flatten(1).pow(2).mean(1).double()
        spread = self._reduced(spread) / self.accelerator.num_processes
        evidence = Evidence(gram, spread.sqrt() * signal.shape[1], s.p)
        weights = combine.preference(s.preference or [1 / len(gradients)] * len(gradients), len(gradients))
        coefficients = COMBINERS[s.method].coefficients(evidence, weights)
        shares = coefficients * combine.norms(gram)
        row = {
            "norms": newest.diagonal().clamp_min(0).sqrt().tolist(),
            "cosine": mean_cosine(combine.cosines(newest)),
            "cosine_over_steps": mean_cosine(combine.cosines(gram)),
            "coefficients": coefficients.tolist(),
            "shares": (shares / shares.sum().clamp_min(torch.finfo(torch.float64).tiny)).tolist(),
            "floored": combine.floored(gram),
        }
        return coefficients.to(gradients), row

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
        if self.critic is not None and self.critics is not None:
            moments = self.critics.state[self.critic]
            tensors |= {"critic": self.critic, **{f"critic.{key}": moments[key] for key in MOMENTS}}
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
        """Takes up a killed run, or finds that it is finished. Raises SettingsError where the folder is not
        this run's.
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
        mine = json.loads(json.dumps(self.card))
        if any(card.get(key) != value for key, value in mine.items() if key != "command"):
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
        if self.critic is not None and self.critics is not None:
            self.critic.data.copy_(tensors["critic"])
            self.critics.state[self.critic] = {key: tensors[f"critic.{key}"] for key in MOMENTS}


def mean_cosine(cosines: Tensor) -> float:
    """Mean of the cosines [m, m] between different objectives; 1 where there is one alone."""
    m = len(cosines)
    return float((cosines.sum() - cosines.trace()) / (m * (m - 1))) if m > 1 else 1.0
