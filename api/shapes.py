"""Answers as OpenAI's clients read them."""

import time
from collections.abc import Sequence
from typing import Any

from api.asked import Request
from api.choice import Choice
from lm import Token
from lm.codec import Codec

ScoredTokens = list[dict[str, Any]]
"""Tokens with id, logprob and top; see api.answering.alternatives. A logprob is None for the first of all."""


class Shape:
    """One answer's objects."""

    def __init__(self, id: str, request: Request):
        self._request, self._chat, self._codec = request, request.chat, request.policy.model.codec
        self._head = {"id": id, "created": int(time.time()), "model": request.model}

    def whole(
        self, choices: Sequence[Choice], tokens: Sequence[ScoredTokens | None], texts: Sequence[str]
    ) -> dict[str, Any]:
        """The answer in one object. tokens: those of each choice, where they are asked for."""
        return {
            **self._head,
            "object": "chat.completion" if self._chat else "text_completion",
            "choices": [
                {
                    "index": choice.index,
                    **({"message": {"role": "assistant", "content": text, "refusal": None}} if self._chat else {"text": text}),
                    "logprobs": None if own is None else self.logprobs(own),
                    "finish_reason": choice.finish,
                }
                for choice, own, text in zip(choices, tokens, texts, strict=True)
            ],
            "usage": self.usage(choices),
        }  # fmt: skip

    def chunk(self, choice: Choice, piece: str, token: Token | None, opens: bool = False) -> dict[str, Any]:
        """A piece of a streamed choice; its end where there is no token."""
        logprobs = None
        if token is not None and self._request.top is not None:
            logprobs = self.logprobs([{"id": token.id, "logprob": token.logprob, "top": []}])
        delta = ({"role": "assistant"} if opens else {}) | ({"content": piece} if piece or opens else {})
        return {
            **self._head,
            "object": "chat.completion.chunk" if self._chat else "text_completion",
            "choices": [
                {
                    "index": choice.index,
                    **({"delta": delta} if self._chat else {"text": piece}),
                    "logprobs": logprobs,
                    "finish_reason": choice.finish if token is None else None,
                }
            ],
        }

    def last(self, choices: Sequence[Choice]) -> dict[str, Any]:
        """What ends a stream whose client asks for the usage."""
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return {**self._head, "object": kind, "choices": [], "usage": self.usage(choices)}

    def usage(self, choices: Sequence[Choice]) -> dict[str, int]:
        """Tokens read and written."""
        read, written = sum(map(len, self._request.prompts)), sum(len(choice.tokens) for choice in choices)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def logprobs(self, tokens: ScoredTokens) -> dict[str, Any]:
        """Log-probabilities in the form of the endpoint."""
        if self._chat:
            return {
                "content": [
                    _entry(self._codec, each["id"], each["logprob"])
                    | {"top_logprobs": [_entry(self._codec, *other) for other in each["top"]]}
                    for each in tokens
                ],
                "refusal": None,
            }
        pieces = [self._codec.piece(each["id"]) for each in tokens]
        return {
            "tokens": pieces,
            "token_logprobs": [each["logprob"] for each in tokens],
            "top_logprobs": [
                None
                if each["logprob"] is None
                else {self._codec.piece(id): value for id, value in each["top"]}
                for each in tokens
            ],
            "text_offset": [sum(map(len, pieces[:at])) for at in range(len(pieces))],
        }


def _entry(codec: Codec, id: int, logprob: float) -> dict[str, Any]:
    piece = codec.piece(id)
    return {"token": piece, "logprob": logprob, "bytes": list(piece.encode())}
