"""A prompt as token ids, within the bounds that the page and the command line keep."""

from lm.codec import PromptError
from lm.model import LanguageModel

MAX_CHARACTERS, MAX_PROMPT_TOKENS, MAX_NEW_TOKENS = 4_000, 1_024, 512


def prompt_ids(model: LanguageModel, prompt: str) -> tuple[int, ...]:
    """The prompt within the chat template. Raises PromptError where it is empty or too long."""
    if not prompt.strip():
        raise PromptError("the prompt is empty: write what the model shall answer")
    if len(prompt) > MAX_CHARACTERS:
        raise PromptError(f"the prompt has {len(prompt):,} characters: at most {MAX_CHARACTERS:,} are taken")
    ids = model.chat_ids(prompt)
    if len(ids) > MAX_PROMPT_TOKENS:
        raise PromptError(f"the prompt has {len(ids):,} tokens: at most {MAX_PROMPT_TOKENS:,} are taken")
    return tuple(ids)
