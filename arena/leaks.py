"""Does a text give away which model wrote it?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from arena.schema import NAME

_FAMILIES = (
    "chat ?gpt|gpt[- ]?[0-9][\\w.]*|openai|anthropic|claude|gemini|gemma|bard|llama|mistral|mixtral|"
    "qwen|tongyi|alibaba cloud|deepseek|smollm\\w*|hugging ?face|phi-?[0-9]|command[- ]r|cohere|grok|falcon|"
    "vicuna|alpaca|tülu|tulu|olmo"
)
_CLAIM = re.compile(
    rf"\b(?:I am|I'm|I’m|my name is|this is|called|known as|named|trained by|created by|developed by|made by)"
    rf"\s+(?:an?\s+|the\s+)?(?:\w+\s+){{0,3}}?({_FAMILIES})\b",
    re.IGNORECASE,
)


def leak(text: str, policy: str, spec: Mapping[str, Any]) -> str | None:
    """The words of `text` that name its model, or None.

    Looked for: the names of the policy, its model and its checkpoint where they look like a name
    ("SmolLM2-135M", not "formal"), and claims such as "I am Claude" or "trained by OpenAI".
    """
    given = [policy, *(spec[field] for field in ("model", "checkpoint") if isinstance(spec.get(field), str))]
    for name in sorted({part for full in given for part in _names(full)}, key=len, reverse=True):
        if found := re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE):
            return found.group()[:NAME]
    claim = _CLAIM.search(text)
    return claim.group()[:NAME] if claim else None


def _names(full: str) -> list[str]:
    """The forms under which a text may name `full`: whole, without its owner, and its family."""
    tail = full.rsplit("/", 1)[-1]
    family = re.split(r"[-_ ]", tail)[0]
    return [name for name in (full, tail, family, family.rstrip("0123456789.")) if _distinctive(name)]


def _distinctive(name: str) -> bool:
    """A made-up name rather than a word: it has a digit, a joint or a capital inside, and four characters."""
    return len(name) >= 4 and bool(re.search(r"\d|\w[-_/]\w|[a-z][A-Z]", name))
