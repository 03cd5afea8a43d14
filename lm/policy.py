"""What steered models and tuned checkpoints have in common."""

from collections.abc import Sequence
from typing import Protocol

from lm.rows import Run


class Policy(Protocol):
    """Anything that answers prompts. temperature: at which its tokens are drawn."""

    @property
    def temperature(self) -> float: ...

    def respond(self, prompts: Sequence[str], *, seed: int, max_new_tokens: int) -> list[Run]:
        """One run a prompt; the same seed gives the same runs. Prompt i is answered with seed + i, so that no
        two share their noise.
        """
        ...
