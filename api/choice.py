"""One choice of an answer while it grows: its text up to a stop string, its tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lm import Token


@dataclass
class Choice:
    """What a row has said so far. `finish` is set when it has ended."""

    index: int
    stops: Sequence[str] = ()
    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish: str = ""
    _held: str = ""

    def take(self, token: Token) -> str:
        """Takes in a token and returns the text that is certain now; a possible stop string is held back."""
        self.tokens.append(token)
        self._held += token.text
        ends = [at for stop in self.stops if (at := self._held.find(stop)) >= 0]
        if ends:
            self.finish = "stop"
            return self._tell(min(ends), drop=True)
        return self._tell(len(self._held) - self._doubtful())

    def end(self, finish: str) -> str:
        """The row has ended by itself. Returns the text that was held back."""
        self.finish = self.finish or finish
        return self._tell(len(self._held))

    def _doubtful(self) -> int:
        """How many characters at the end may begin a stop string."""
        sizes = (
            size for stop in self.stops for size in range(1, len(stop)) if self._held.endswith(stop[:size])
        )
        return max(sizes, default=0)

    def _tell(self, size: int, drop: bool = False) -> str:
        piece, self._held = self._held[:size], "" if drop else self._held[size:]
        self.text += piece
        return piece

    @property
    def kept(self) -> list[Token]:
        """The tokens that the text is made of, without those of a stop string."""
        if not self.stops:
            return self.tokens
        tokens, length = [], 0
        for token in self.tokens:
            if length >= len(self.text) and token.text:
                break
            tokens.append(token)
            length += len(token.text)
        return tokens
