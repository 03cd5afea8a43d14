"""How unsafe a prompt sounds to the model: what lets a linear head prefer refusals to some prompts
and answers to others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lm import LanguageModel
from pareto.pairs import Prompt, messages

PENALTY, FOLDS, TWIN_WEIGHT = 1e-2, 5, 4.0
"""Inverse L2 strength on standardised states; a prompt of a pair of twins counts four times."""


@dataclass(frozen=True, eq=False)
class Gate:
    """tanh of half the log-odds that a prompt is unsafe: -1 safe, 1 unsafe. weight: [width], of the state of
    the prompt's last token.
    """

    weight: Tensor
    bias: float

    def of(self, asked: Tensor) -> Tensor:
        """The gate [n] of prompts' last states [n, width]."""
        return torch.tanh((asked.float() @ self.weight.to(asked.device) + self.bias) / 2)


def asked(model: LanguageModel, prompts: Sequence[Prompt], block: int) -> Tensor:
    """The output of block `block` on each chat's last token before the answer: float32 [n, width]."""
    distinct = list(dict.fromkeys(prompts))
    ids = [model.chat_ids(messages(prompt)) for prompt in distinct]
    states = model.read(ids, pool="last", layers=block + 1)[:, block]
    place = {prompt: i for i, prompt in enumerate(distinct)}
    return states[[place[prompt] for prompt in prompts]]


def fit_gate(
    states: np.ndarray, unsafe: np.ndarray, groups: np.ndarray, twins: np.ndarray
) -> tuple[Gate, np.ndarray]:
    """Fits a gate by logistic regression.

    Parameters
    ----------
    states : [n, width], of prompts; unsafe : [n] whether each is; groups : [n], prompts of one number stay
        together when a fold is left out; twins : [n], whether a prompt is one of a pair of twins.

    Returns
    -------
    The gate, and each prompt's value [n] by a gate that did not see its fold.
    """
    weights, crossed = np.where(twins, TWIN_WEIGHT, 1.0), np.zeros(len(states))
    for fold in range(FOLDS):
        out = groups % FOLDS == fold
        gate = _fitted(states[~out], unsafe[~out], weights[~out])
        crossed[out] = gate.of(torch.from_numpy(states[out])).numpy()
    return _fitted(states, unsafe, weights), crossed


def _fitted(states: np.ndarray, unsafe: np.ndarray, weights: np.ndarray) -> Gate:
    from sklearn.linear_model import LogisticRegression  # a second that the app's start need not wait for

    mean, scale = states.mean(0), states.std(0) + 1e-6
    regression = LogisticRegression(C=PENALTY, max_iter=1000)
    regression.fit((states - mean) / scale, unsafe, sample_weight=weights)
    weight = regression.coef_[0] / scale
    return Gate(torch.from_numpy(weight).float(), float(regression.intercept_[0] - mean @ weight))
