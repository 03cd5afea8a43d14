"""The prompt as a rival of steering: the same wish, said in words to the same model."""

from collections.abc import Sequence

from lm import LanguageModel
from lm.codec import PromptError
from lm.prompts import Asked, Chat, Continuation, Turn, read
from steering.concepts import Concept

PLACES = ("user", "system", "both")
"""Where a request stands: after the user's last message, in the system's, or, strongest, in both."""


def wish(concept: Concept, direction: str) -> str:
    """The sentence that asks for more or less of a concept."""
    if direction == "amplify":
        return concept.more or f"Answer in a way that is very {concept.high}."
    return concept.less or f"Answer in a way that is very {concept.low}."


def strongest(model: LanguageModel) -> str:
    """The strongest of PLACES for a model: some chat templates know no system message."""
    return "both" if model.codec.knows_system else "user"


def before(asked: Asked, wishes: Sequence[str]) -> Continuation:
    """Plain text to be continued, with wishes in a paragraph before it."""
    return Continuation("\n\n".join([" ".join(wishes), read(asked).text]))


def requested(asked: Asked, wishes: Sequence[str], place: str = "both") -> Chat:
    """The same prompt with wishes at a place of PLACES. Raises PromptError for plain text to be continued."""
    prompt = read(asked)
    if not isinstance(prompt, Chat):
        raise PromptError("The prompt is plain text, which holds no request: give a prompt or a chat.")
    request = " ".join(wishes)
    system, rest = "", list(prompt.turns)
    if rest[0].role == "system":
        system = rest.pop(0).content
    if place != "system":
        rest[-1] = Turn("user", f"{rest[-1].content}\n\n{request}")
    if place != "user":
        system = f"{system}\n\n{request}".strip()
    return Chat((*([Turn("system", system)] if system else []), *rest), prompt.thinking)
