"""The language model: where weights come from, decoding, reading and editing the residual stream."""

from lm.adapter import Adapter
from lm.caller import Stopped
from lm.devices import device_here
from lm.edits.edit import Edit
from lm.edits.trace import TRACE
from lm.loading import load
from lm.model import LanguageModel
from lm.policy import Policies, Policy
from lm.rows import Row, Run, Sampling, Token
from lm.scheduler import Decoding
from lm.sources import SourceError

__all__ = [
    "TRACE",
    "Adapter",
    "Decoding",
    "Edit",
    "LanguageModel",
    "Policies",
    "Policy",
    "Row",
    "Run",
    "Sampling",
    "SourceError",
    "Stopped",
    "Token",
    "device_here",
    "load",
]
