"""A tuned model as a policy."""

from collections.abc import Sequence
from dataclasses import dataclass

from lm import Adapter, LanguageModel, Row, Run, Sampling


@dataclass(frozen=True)
class TunedPolicy:
    """The model with an adapter (None: the model as it is)."""

    model: LanguageModel
    adapter: Adapter | None = None
    temperature: float = 0.7

    def respond(self, prompts: Sequence[str], *, seed: int, max_new_tokens: int) -> list[Run]:
        """One run a prompt; see lm.policy.Policy."""
        sampling = [Sampling(self.temperature, seed + i, max_new_tokens) for i in range(len(prompts))]
        return self.model.generate(
            [
                Row(tuple(self.model.chat_ids(prompt)), drawn, (), self.adapter)
                for prompt, drawn in zip(prompts, sampling, strict=True)
            ]
        )
