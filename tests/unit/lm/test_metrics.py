"""Divergences against a library, and files that are replaced at once."""

import pytest
import torch

from lm.metrics import kl
from lm.paths import replacing


def test_kl_is_torchs():
    logits = torch.randn(2, 5, 90, generator=torch.Generator().manual_seed(0))
    own, base = logits.log_softmax(-1)
    theirs = torch.nn.functional.kl_div(base, own, reduction="none", log_target=True).sum(-1)
    assert torch.allclose(kl(own, base), theirs, atol=1e-6) and (kl(own, own) == 0).all()


def test_a_file_is_replaced_when_it_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file"
    with replacing(path) as part:
        part.write_text("old")
        assert not path.exists()
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_text("ne")
        raise RuntimeError
    assert path.read_text() == "old" and [*path.parent.iterdir()] == [path]
