"""Decoding without a C compiler: PyTorch's kernels on packed weights."""

import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from lm import load
from lm.engines.native import build
from lm.engines.native.pack import GROUP, Packed, grids, pack, quantize, unpack
from lm.engines.torch import packed
from lm.engines.torch.batched import BatchedEngine
from lm.engines.torch.packed import Codes, Halves, PackedStack, matrix
from tests.tiny import tiny


def of_codes(seed: int, n: int, groups: int) -> Packed:
    """A matrix of 4 bits whose scales and least values are powers of two and small whole numbers, so that sums are exact."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 16, (n, groups * GROUP)).astype(np.uint8)
    return pack(codes, 2.0 ** random.integers(-2, 2, (n, groups)), random.integers(-4, 4, (n, groups)), 4)


def whole_numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(-3, 4, shape)).float()


@given(
    seed=st.integers(0, 2**31), n=st.integers(1, 80), groups=st.integers(1, 5), bits=st.sampled_from([4, 8])
)
def test_grids_are_what_was_packed(seed, n, groups, bits):
    random = np.random.default_rng(seed)
    codes = random.integers(0, 2**bits, (n, groups * GROUP)).astype(np.uint8)
    scale, least = random.normal(size=(2, n, groups)).astype(np.float16)
    least = least if bits == 4 else -128 * scale
    found = grids(pack(codes, scale, least, bits))
    for part, want in zip(found, (codes, scale, least), strict=True):
        assert np.array_equal(part[:n], want)


@pytest.mark.parametrize(("bits", "steps"), [(4, 15), (8, 254)])
def test_packing_moves_no_number_by_more_than_half_a_step(bits, steps):
    weight = torch.randn(40, 64) * 10.0 ** torch.arange(-3, 2).repeat(8)[:, None]
    groups = weight.unflatten(1, (-1, GROUP))
    spread = groups.amax(-1) - groups.amin(-1) if bits == 4 else 2 * groups.abs().amax(-1)
    moved = (unpack(quantize(weight, bits)) - weight).unflatten(1, (-1, GROUP)).abs().amax(-1)
    ends = groups.abs().amax(-1) / 1024  # what float16 leaves of a scale and a least value
    assert (moved <= 0.5 * spread / steps + ends).all()


def test_a_matrix_of_4_bits_is_packed_as_it_is():
    codes = np.random.default_rng(0).integers(0, 16, (50, 3, GROUP)).astype(np.uint8)
    codes[..., 0], codes[..., 1] = 0, 15  # so that each group uses its whole range
    scale, least = 2.0 ** np.random.default_rng(1).integers(-6, 2, (2, 50, 3))
    given = pack(codes.reshape(50, -1), scale, -least, 4)
    again = quantize(unpack(given), 4)
    assert torch.equal(again.codes, given.codes) and torch.equal(again.grid, given.grid)


@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 80),
    groups=st.integers(1, 5),
    rows=st.lists(st.integers(1, 9), max_size=2),
)
def test_products_of_4_bit_codes_are_exact_but_for_their_last_rounding(seed, n, groups, rows):
    weights = of_codes(seed, n, groups)
    x = whole_numbers(seed, *rows, weights.k)
    assert torch.equal(Codes(weights)(x), F.linear(x, unpack(weights)).bfloat16().float())


@pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="this PyTorch has no FBGEMM"
)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 80),
    k=st.integers(1, 100),
    rows=st.lists(st.integers(1, 9), min_size=1, max_size=2),
)
def test_products_of_16_bit_numbers_are_exact(seed, n, k, rows):
    weight, x = whole_numbers(seed, n, k), whole_numbers(seed + 1, *rows, k)
    assert torch.equal(Halves(weight)(x), F.linear(x, weight))


def test_4_bit_kernels_are_taken_where_they_are_quick_alone(monkeypatch):
    four, eight = of_codes(0, 64, 2), quantize(torch.randn(64, 64))
    x = whole_numbers(1, 3, 64)
    for quick in (True, False):
        monkeypatch.setattr(packed, "quick_codes", lambda quick=quick: quick)
        assert isinstance(matrix(four), Codes) == quick
        assert not isinstance(matrix(eight), Codes)
        assert torch.equal(matrix(four)(x).bfloat16(), F.linear(x, unpack(four)).bfloat16())


def test_float32_is_left_where_pytorch_has_neither(monkeypatch):
    monkeypatch.setattr(packed, "quick_codes", lambda: False)
    monkeypatch.setattr(
        type(torch.backends.quantized), "supported_engines", property(lambda _: ["qnnpack"]), raising=False
    )
    four = of_codes(0, 64, 2)
    assert torch.equal(matrix(four), unpack(four))


@pytest.mark.parametrize("engine", ["auto", "rows"])
def test_without_a_compiler_packed_weights_answer(monkeypatch, caplog, engine):
    ids = tuple(b"What is to be said of the sea?")
    want = load(str(tiny("qwen3")), engine="native").logprobs([ids], [1])[0]
    monkeypatch.setattr(build, "compiler", lambda: None)
    monkeypatch.setattr("lm.loading.matrix_units", lambda: False)
    build.library.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            model = load(str(tiny("qwen3")), engine=engine)
    finally:
        build.library.cache_clear()
    assert isinstance(model.engine, BatchedEngine) and isinstance(model.engine.stack, PackedStack)
    assert "install gcc or clang" in caplog.text
    torch.testing.assert_close(model.logprobs([ids], [1])[0], want, atol=2e-2, rtol=0)


def test_training_has_a_stack_with_gradients():
    model = load(str(tiny("llama")), engine="packed")
    x = model.stack.embed(torch.tensor([[1, 2, 3]])).requires_grad_()
    model.stack.upper(x, 0, lambda *_: None).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
