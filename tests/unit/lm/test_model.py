"""Reading, editing and decoding on tiny random models: what holds for every family and engine."""

import platform
import threading
import time

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest

from lm import TRACE, Adapter, Edit, LanguageModel, Row, Sampling, load
from lm.devices import placement
from lm.edits.trace import CAPPED
from lm.engines.base import Engine, Feed
from lm.engines.native import build
from lm.engines.torch.batched import BatchedEngine, _Pool
from lm.engines.torch.stack import Stack, unchanged
from lm.engines.transformers import ReferenceEngine
from lm.loading import PACKED, _packed
from lm.paths import cache_folder
from lm.sampling import MAX_NOISE, draw, gumbel
from tests.matrix import decoder_layers
from tests.tiny import CONFIGS, LAYERS, NATIVE, WIDTH, tiny
from tests.unit.lm.test_native import KERNELS, OLDER

ENGINES = [(family, "reference") for family in CONFIGS] + [
    (family, engine) for family in NATIVE for engine in ("native", "packed", "batched")
]
PROMPT = tuple(b"A short prompt that is longer than the window.")


@pytest.fixture(scope="module", params=ENGINES, ids="-".join)
def model(request) -> LanguageModel:
    family, engine = request.param
    return batched(family) if engine == "batched" else load(str(tiny(family)), engine=engine)


def batched(family: str) -> LanguageModel:
    """In float32, so that it can be held to the reference."""
    made = load(str(tiny(family)), engine="reference")
    engine = BatchedEngine(Stack(made.torch, torch.float32), context=512)
    return LanguageModel(made.name, made.hash, made.tokenizer, made.stop_ids, engine, lambda: made.torch)


def edit(layer: int, *, goal: float, sense: int = 1, seed: int = 0, **more) -> Edit:
    read = torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(seed))
    return Edit(
        layer, read, torch.zeros(1), read / read.norm(), torch.tensor([goal]), torch.tensor([sense]), **more
    )


def sample(n: int = 12, seed: int = 3) -> Sampling:
    return Sampling(temperature=1.0, seed=seed, max_new_tokens=n)


@torch.no_grad()
def test_read_is_the_output_of_every_block(model):
    outputs: list[torch.Tensor] = []
    handles = [
        block.register_forward_hook(
            lambda _m, _i, out: outputs.append(out[0] if isinstance(out, tuple) else out)
        )
        for block in decoder_layers(model.torch)
    ]
    model.torch(torch.tensor([PROMPT]))
    for handle in handles:
        handle.remove()
    expected = torch.stack([out[0] for out in outputs])
    packed = isinstance(model.engine, BatchedEngine) and not model.engine.stack.differentiable
    within = 5e-3 if packed else 2e-4  # packed weights have 11 bits
    torch.testing.assert_close(model.read([PROMPT])[0], expected[:, -1], atol=within, rtol=within)
    torch.testing.assert_close(
        model.read([PROMPT], pool="mean", starts=[5])[0], expected[:, 5:].mean(1), atol=within, rtol=within
    )


def test_a_shared_prefix_changes_nothing(model):
    rows = [PROMPT, PROMPT[:20] + PROMPT, list(PROMPT[:30])]  # sequences of whatever kind
    together = model.read(rows, pool="mean", starts=[12, 15, 20])
    alone = torch.cat(
        [
            model.read([row], pool="mean", starts=[start])
            for row, start in zip(rows, (12, 15, 20), strict=True)
        ]
    )
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_a_gate_that_never_fires_leaves_the_row_as_it_is(model):
    idle = tuple(edit(layer, goal=-1e6) for layer in range(LAYERS))
    busy = tuple(edit(layer, goal=40.0) for layer in range(LAYERS))
    plain, gated, steered = model.generate([Row(PROMPT, sample(), edits) for edits in ((), idle, busy)])
    assert gated.ids == plain.ids
    if not isinstance(model.engine, BatchedEngine):
        assert gated.logprobs == plain.logprobs
    np.testing.assert_allclose(gated.logprobs, plain.logprobs, atol=1e-5)
    assert steered.ids != plain.ids
    assert not np.stack(gated.trace)["eps"].any()


def test_a_row_is_the_same_alone_and_in_a_batch(model):
    rows = [Row(PROMPT[:length], sample(seed=length), (edit(1, goal=length / 10),)) for length in (5, 17, 40)]
    assert [run.ids for run in model.generate(rows)] == [model.generate([row])[0].ids for row in rows]


def test_a_prompt_that_was_answered_before_is_not_read_again(model, monkeypatch):
    prompt = PROMPT[3:] + PROMPT[:3]
    reader = Edit(
        1,
        torch.ones(1, WIDTH),
        torch.zeros(1),
        torch.zeros(1, WIDTH),
        torch.zeros(1),
        torch.zeros(1, dtype=torch.int),
    )
    rows = [Row(prompt, sample(seed=1)), Row(prompt, sample(seed=2)), Row(prompt, sample(seed=1), (reader,))]
    first, other, read = (model.generate([row])[0] for row in rows)
    fed: list[int] = []
    decode = model.engine.sample
    monkeypatch.setattr(
        model.engine,
        "sample",
        lambda feeds, draws: fed.extend(len(feed.ids) for feed in feeds) or decode(feeds, draws),
    )
    again = [model.generate([row])[0] for row in rows]
    assert [run.ids for run in again] == [
        first.ids,
        other.ids,
        read.ids,
    ] and first.ids == read.ids != other.ids
    np.testing.assert_allclose(again[0].logprobs, first.logprobs, atol=1e-4)
    for name in TRACE.names:
        np.testing.assert_allclose(np.stack(again[2].trace)[name], np.stack(read.trace)[name], atol=1e-4)
    assert max(fed) == (1 if model.engine.rewinds else len(prompt))
    fed.clear()
    model.generate([Row(prompt, sample(), (edit(1, goal=40.0),)), Row(prompt, sample(), record=1)])
    assert max(fed) == len(prompt)


def test_rows_with_the_same_prompt_read_it_once(model, monkeypatch):
    prompt = PROMPT[5:] + PROMPT[:5]
    made = [
        Adapter({(0, "q_proj"): (torch.full((1, WIDTH), 0.1), torch.full((64, 1), scale))})
        for scale in (0.5, 1.0)
    ]
    kinds = [
        {},
        {"record": 1},
        {"adapter": made[0]},
        {"adapter": made[1], "record": 2},
        {"edits": (edit(1, goal=5.0, answer_only=True),)},
    ]
    rows = [Row(prompt, sample(8, seed), **kind) for kind in kinds for seed in range(3)]
    if not model.engine.rewinds:
        pytest.skip("a cache that cannot be cut back is not shared")
    alone = []
    for row in rows:
        model._loop._prompts.clear()
        alone += model.generate([row])
    fed: list[int] = []
    decode = model.engine.sample
    model._loop._prompts.clear()
    monkeypatch.setattr(
        model.engine,
        "sample",
        lambda feeds, draws: fed.extend(len(feed.ids) for feed in feeds) or decode(feeds, draws),
    )
    together = model.generate(rows)
    assert [run.ids for run in together] == [run.ids for run in alone]
    assert sum(count > 1 for count in fed) == 4
    for row, one, other in zip(rows, together, alone, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
        if row.record is not None:
            torch.testing.assert_close(one.hidden, other.hidden, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", NATIVE)
def test_rows_that_begin_alike_share_blocks_and_nothing_else(family):
    """Blocks before the first edit are computed once for the same tokens in one pass; every number is what it
    is alone, bit for bit.
    """
    engine = load(str(tiny(family)), engine="native").engine
    adapter = Adapter({(0, "v_proj"): (torch.full((1, WIDTH), 0.1), torch.full((32, 1), 0.5))})
    reader = edit(1, goal=0.0, sense=0)
    kinds = [
        ((), None),
        ((edit(1, goal=5.0),), None),
        ((edit(2, goal=9.0), reader), None),
        ((reader,), None),
        ((edit(1, goal=5.0),), adapter),
        ((edit(1, goal=-5.0, sense=-1),), adapter),
        ((edit(0, goal=2.0), edit(2, goal=4.0, answer_only=True)), None),
    ]

    def advance(which: list[int]) -> list[tuple]:
        slots = [engine.open(64, *kinds[i], len(PROMPT) - 1) for i in which]
        found = [
            engine.forward([Feed(slot, PROMPT, want=3) for slot in slots]),
            engine.forward([Feed(slot, [7]) for slot in slots]),
        ]
        return [
            (found[0][0][3 * n : 3 * n + 3], found[0][1][n], found[1][0][n], found[1][1][n])
            for n in range(len(which))
        ]

    every = list(range(len(kinds)))
    for which in (every, every[1:4], every[4:6], every[:1] * 3, every[::-1]):
        for i, together in zip(which, advance(which), strict=True):
            for one, other in zip(together, advance([i])[0], strict=True):
                np.testing.assert_array_equal(one, other)


def test_the_edit_reaches_its_goal_at_the_output_of_its_block(model):
    one = edit(1, goal=9.0)
    run = model.generate([Row(PROMPT, sample(6), (one,))])[0]
    trace = np.stack(run.trace)
    z, eps = trace["z"][..., 0], trace["eps"][..., 0]
    assert np.all(z + eps * float(one.gram) >= 9.0 - 1e-3)
    assert np.array_equal(eps == 0, z >= 9.0)


@torch.no_grad()
def test_an_edit_is_added_to_the_output_of_its_block_exactly(model):
    vector = torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(1))
    fixed = Edit(1, vector, torch.zeros(1), vector, torch.zeros(1), torch.ones(1), fixed=torch.tensor([0.7]))
    handle = decoder_layers(model.torch)[1].register_forward_hook(
        lambda _m, _i, out: (
            (out[0] + 0.7 * vector, *out[1:]) if isinstance(out, tuple) else out + 0.7 * vector
        )
    )
    expected = model.torch(torch.tensor([PROMPT])).logits[0].log_softmax(-1)[3:-1]
    handle.remove()
    torch.testing.assert_close(
        model.logprobs([PROMPT], [4], edits=[(fixed,)])[0], expected, atol=3e-3, rtol=3e-3
    )


def test_the_first_answer_token_is_steered_when_only_the_answer_is(model):
    row = Row(PROMPT, sample(3), (edit(1, goal=50.0, answer_only=True),))
    assert model.generate([row])[0].trace[0]["eps"][0, 0] != 0


@pytest.mark.parametrize("length", [40, 150])
def test_divergence_is_that_of_the_whole_distributions(model, length):
    ids, start, one = [*(PROMPT * 4)[:length]], 21, (edit(1, goal=20.0, answer_only=True),)
    own, plain = (model.logprobs([ids], [start], edits=[edits], temperature=0.7)[0] for edits in (one, ()))
    found = model.divergence(ids, start, edits=one, temperature=0.7)
    torch.testing.assert_close(found, (own.exp() * (own - plain)).sum(1).clamp_min(0), atol=1e-4, rtol=1e-3)
    assert found.max() > 1e-4


def test_the_cap_bounds_the_write_and_says_so(model):
    run = model.generate([Row(PROMPT, sample(4), (edit(1, goal=1e4, cap=0.1),))])[0]
    trace = np.stack(run.trace)[:, 0]
    assert np.all(np.abs(trace["eps"][:, 0]) <= 0.1 * trace["norm"] * 1.001)
    assert np.all(trace["outcome"] == CAPPED)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_teacher_forcing_gives_what_decoding_drew(model, temperature):
    row = Row(PROMPT, Sampling(temperature, max_new_tokens=12), (edit(1, goal=5.0, answer_only=True),))
    run = model.generate([row])[0]
    found = model.logprobs([[*PROMPT, *run.ids]], [len(PROMPT)], edits=[row.edits], temperature=temperature)[
        0
    ]
    chosen = found[range(len(run.ids)), run.ids]
    torch.testing.assert_close(chosen, torch.tensor(run.logprobs), atol=1e-3, rtol=1e-3)


def test_stop_ends_within_one_token_and_leaves_nothing_behind(model):
    stop, seen = threading.Event(), 0
    decoding = model.decode([Row(PROMPT, sample(400))], stop=stop)
    for _ in decoding:
        seen += 1
        stop.set()
    assert decoding.runs[0].finish == "cancelled" and seen < 400
    assert model.generate([Row(PROMPT, sample())])[0].ids == model.generate([Row(PROMPT, sample())])[0].ids


def test_an_error_in_the_middle_leaves_no_hook_behind():
    model = load(str(tiny("llama")), engine="reference")
    before = model.generate([Row(PROMPT, sample())])[0].ids
    bad = edit(1, goal=1.0)
    object.__setattr__(bad, "bias", torch.zeros(3))
    with pytest.raises(RuntimeError):
        model.generate([Row(PROMPT, sample(), (bad,))])
    assert all(not module._forward_hooks for module in model.torch.modules())
    assert model.generate([Row(PROMPT, sample())])[0].ids == before


def misfit(rank: int = 2, inner: int = 33, other: int | None = None) -> Adapter:
    return Adapter({(2, "q_proj"): (torch.ones(rank, inner), torch.ones(64, other or rank))})


def test_an_adapter_that_does_not_fit_is_refused_before_anything_is_decoded():
    for engine in ("native", "reference"):
        model = load(str(tiny("llama")), engine=engine)
        for adapter in (misfit(), Adapter({(LAYERS, "q_proj"): (torch.ones(2, WIDTH), torch.ones(64, 2))})):
            with pytest.raises(ValueError, match="does not fit"):
                model.decode([Row(PROMPT, adapter=adapter)])
            with pytest.raises(ValueError, match="does not fit"):
                model.read([PROMPT], adapter=adapter)
    with pytest.raises(ValueError, match=r"halves \(64, 64\) and \(64, 2\)"):
        misfit(64, WIDTH, 2)


@pytest.mark.parametrize("where", ["open", "logits"])
def test_a_row_that_fails_takes_nobody_with_it(where, monkeypatch):
    """Its caller is told; rows of others that are under way, or come later, are what they would be alone."""
    model = load(str(tiny("llama")), engine="native")
    alone = model.generate([Row(PROMPT, sample(60))])[0].ids
    good = model.decode([Row(PROMPT, sample(60))])
    steps = iter(good)
    next(steps)
    opened = model.engine.open

    def opens(capacity, edits, adapter, answer_from):
        if edits:
            raise RuntimeError("broken row")
        return opened(capacity, edits, adapter, answer_from)

    if where == "open":
        monkeypatch.setattr(model.engine, "open", opens)
    one = torch.ones(1, WIDTH)
    bad = Row(
        PROMPT,
        sample(),
        (Edit(1, one, one[0, :1], 10 * one, one[0, :1], one[0, :1], fixed=torch.tensor([1e38])),),
    )
    with pytest.raises((RuntimeError, ValueError), match="broken row|not finite"):
        model.generate([Row(PROMPT, sample()), bad])
    for _ in steps:
        pass
    assert good.runs[0].ids == model.generate([Row(PROMPT, sample(60))])[0].ids == alone


def test_a_prompt_may_be_a_list():
    model = load(str(tiny("llama")), engine="native")
    assert (
        model.generate([Row(list(PROMPT), sample())])[0].ids == model.generate([Row(PROMPT, sample())])[0].ids
    )


def test_an_error_of_the_loop_itself_reaches_those_who_wait(monkeypatch):
    model = load(str(tiny("llama")), engine="native")

    def broken(active, waiting):
        raise RuntimeError("broken loop")

    with monkeypatch.context() as patch:
        patch.setattr(model._loop, "_enter", broken)
        with pytest.raises(RuntimeError, match="broken loop"):
            model.generate([Row(PROMPT, sample())])
    assert len(model.generate([Row(PROMPT, sample())])[0].ids) == 12


def test_nobody_waits_for_a_prompt_that_another_caller_reads(monkeypatch):
    """A prompt's second caller enters with the others, however crowded it gets."""
    model = load(str(tiny("llama")), engine="native")
    calls: list[int] = []
    decode = model.engine.sample
    monkeypatch.setattr(
        model.engine, "sample", lambda feeds, draws: calls.append(len(feeds)) or decode(feeds, draws)
    )
    crowd = [
        [Row((*PROMPT, number, i), sample(40)) for i in range(model._loop.max_rows_of_one)]
        for number in (1, 2)
    ]
    with model.busy:
        first = model.decode([Row(PROMPT[:9], sample(2))])
        others = [model.decode(rows) for rows in crowd]
        second = model.decode([Row(PROMPT[:9], sample(2))])
    next(iter(second))
    assert len(calls) < 10
    for decoding in (first, *others):
        decoding.close()


def test_kept_prompts_are_few():
    model = load(str(tiny("llama")), engine="native")
    for i in range(model._loop.max_prompts + 9):
        model.generate([Row((5, 6, i + 7), sample(1))])
    assert len(model._loop._prompts) == model._loop.max_prompts


def test_a_crowd_of_one_callers_rows_leaves_places_for_others():
    model = load(str(tiny("llama")), engine="native")
    crowd = model.decode([Row(PROMPT, sample(100, seed)) for seed in range(2 * model._loop.max_rows)])
    steps = iter(crowd)
    next(steps)
    one = model.generate([Row(PROMPT, sample(5))])[0]
    waiting = sum(not run.ids for run in crowd.runs)
    steps.close()
    assert len(one.ids) == 5 and waiting >= 2 * model._loop.max_rows - model._loop.max_rows_of_one - 5


def test_a_decode_tells_how_far_a_long_prompt_is_read():
    model = load(str(tiny("llama")), engine="native")
    decoding = model.decode([Row((PROMPT * 8)[:300], sample(3))])
    assert [len(step) for step in decoding] == [0, 0, 1, 1, 1], "two steps of 128 tokens bring none"
    assert decoding.read == 1.0


def test_a_long_prompt_is_read_in_pieces_and_the_same(model, monkeypatch):
    prompt = (PROMPT * 8)[:300]
    whole = model.logprobs([[*prompt, 7]], [len(prompt)])[0][0]
    fed: list[int] = []
    decode = model.engine.sample
    monkeypatch.setattr(
        model.engine,
        "sample",
        lambda feeds, draws: fed.extend(len(feed.ids) for feed in feeds) or decode(feeds, draws),
    )
    run = model.generate([Row(prompt, Sampling(1.0, 3, 2), record=1)])[0]
    assert fed == [128, 128, 44, 1]
    torch.testing.assert_close(torch.tensor(run.logprobs[0]), whole[run.ids[0]], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(
        run.hidden[:300].sum(0) / 300, model.read([prompt], pool="mean")[0, 1], atol=1e-3, rtol=1e-3
    )


def test_tokens_and_positions_out_of_range_are_refused():
    model = load(str(tiny("llama")), engine="native")
    for ids in ([5, 258], [-1, 5]):
        with pytest.raises(ValueError, match="Token ids run from"):
            model.read([ids])
    with pytest.raises(ValueError, match="513 tokens cannot be read"):
        model.read([[5] * 513])
    with pytest.raises(ValueError, match="cannot be read"):
        model.logprobs([[5] * 514], [1])


@pytest.mark.parametrize("temperature", [1e-40, 1e-6])
def test_a_temperature_near_zero_is_greedy(temperature):
    logits = np.array([-3.0, 2.0, 1.9, -70.0], np.float32)
    assert draw(logits, Sampling(temperature=temperature, seed=5), 3) == (1, pytest.approx(0.0, abs=1e-6))


def test_biases_of_the_mlp_are_kept():
    from transformers import AutoModelForCausalLM

    config = CONFIGS["llama"]()
    config.mlp_bias = True
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        expected = made(torch.tensor([PROMPT])).logits[0]
    stack = Stack(made, torch.float32)
    found = stack.logits(stack.upper(stack.embed(torch.tensor([PROMPT])), 0, unchanged))[0]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_caches_that_grow_while_others_compute_lose_nothing(monkeypatch):
    """The batched engine's slots lie in one tensor, which is copied to a larger one when somebody needs more
    of it.
    """
    model = batched("llama")
    expected = model.generate([Row(PROMPT, sample(300, 0))])[0].ids
    assert len(expected) == 300
    grow = _Pool._grow

    def slowly(pool, slots, positions):
        old, until, seen = pool.data.clone(), time.monotonic() + 1, len(decoding.runs[0].ids)
        while len(decoding.runs[0].ids) < seen + 5 and time.monotonic() < until:
            time.sleep(0.01)
        grow(pool, slots, positions)
        pool.data[:, :, : old.shape[2], :, : old.shape[4]] = old

    decoding = model.decode([Row(PROMPT, sample(300, 0))])
    steps = iter(decoding)
    next(steps)
    monkeypatch.setattr(_Pool, "_grow", slowly)
    model.read([[3, *PROMPT * 9, k] for k in range(2)])
    for _ in steps:
        pass
    assert decoding.runs[0].ids == expected


def test_two_callers_at_once_get_what_they_would_get_alone(model):
    rows = [Row(PROMPT, sample(30, seed), (edit(1, goal=seed * 3.0, seed=seed),)) for seed in range(4)]
    alone = [model.generate([row])[0].ids for row in rows]
    found: dict[int, list[int]] = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: model.generate([rows[i]])[0].ids}))
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(4)] == alone


@pytest.mark.parametrize("family", NATIVE)
def test_native_logits_are_those_of_the_unpacked_model(family):
    model = load(str(tiny(family)), engine="native")
    with torch.no_grad():
        expected = model.torch(torch.tensor([PROMPT])).logits[0].log_softmax(-1)[:-1]
    torch.testing.assert_close(model.logprobs([PROMPT], [1])[0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", NATIVE)
def test_adapters_act_alike_on_both_engines(family, tmp_path):
    generator = torch.Generator().manual_seed(2)
    sizes = {
        "q_proj": (WIDTH, 64),
        "v_proj": (WIDTH, 32),
        "o_proj": (64, WIDTH),
        "up_proj": (WIDTH, 96),
        "down_proj": (96, WIDTH),
    }
    adapter = Adapter(
        {
            (1, name): (torch.randn(4, k, generator=generator), torch.randn(n, 4, generator=generator) * 0.05)
            for name, (k, n) in sizes.items()
        }
    )
    adapter.save(tmp_path, "tiny")
    again = Adapter.load(tmp_path)
    native = load(str(tiny(family)), engine="native")
    reference = LanguageModel(
        "same",
        native.hash,
        native.tokenizer,
        native.stop_ids,
        ReferenceEngine(native.torch, 512),
        lambda: native.torch,
    )
    a, b = (model.logprobs([PROMPT], [1], adapters=[again])[0] for model in (native, reference))
    torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)
    assert not torch.equal(a, native.logprobs([PROMPT], [1])[0])
    half = Adapter.mix([(adapter, 0.5), (adapter, 0.5)])
    torch.testing.assert_close(native.logprobs([PROMPT], [1], adapters=[half])[0], a, atol=1e-4, rtol=1e-4)


def test_threads_are_those_of_the_container_and_change_no_number(monkeypatch):
    threads = torch.get_num_threads()
    folder, row = str(tiny("qwen3")), Row(PROMPT, sample(20), (edit(1, goal=5.0),))
    try:
        usual = load(folder, engine="native")
        monkeypatch.setattr("lm.loading.joblib.cpu_count", lambda: 1)
        torch.set_num_threads(3)
        single = load(folder, engine="native")
        assert single.engine.threads == torch.get_num_threads() == 1
        assert single.generate([row])[0].logprobs == usual.generate([row])[0].logprobs
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Row(()), "prompt is empty"),
        (Row(PROMPT, Sampling(max_new_tokens=100_000)), "exceed the context"),
        (Row(PROMPT, edits=(edit(LAYERS, goal=0.0),)), "does not fit"),
        (Row((10**6, 5)), "Token ids run from 5 to 1000000"),
        (Row((5, -1)), "Token ids run from -1"),
        (Row(PROMPT, record=LAYERS), f"Record is {LAYERS}"),
    ],
)
def test_rows_that_cannot_be_decoded_are_refused(row, message):
    with pytest.raises(ValueError, match=message):
        load(str(tiny("llama"))).decode([row])


@pytest.mark.parametrize(
    "bad", [{"temperature": -1}, {"temperature": float("nan")}, {"seed": -1}, {"max_new_tokens": 0}]
)
def test_sampling_out_of_bounds_is_refused(bad):
    with pytest.raises(ValueError, match=f"(?i){next(iter(bad))}"):
        Sampling(**bad)


def test_a_gpu_is_used_where_there_is_one(monkeypatch):
    """ "meta" stands for the device: it takes tensors and computes nothing."""
    folder = str(tiny("llama"))
    packed = load(folder, engine="native")
    monkeypatch.setattr("lm.loading.gpu_here", lambda: torch.device("meta"))
    cached = next(cache_folder("models").glob(f"{packed.hash}-*")) / PACKED
    found = _packed("tiny", cached, packed.tokenizer, packed.stop_ids, "auto")
    assert isinstance(found.engine, BatchedEngine) and found.engine.stack.device.type == "meta"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert placement(torch.device("cuda", 1)) == {"": torch.device("cuda", 1)}


@pytest.mark.parametrize("family", NATIVE)
def test_the_first_blocks_alone_read_the_same(family):
    for model in (
        load(str(tiny(family)), engine="native"),
        load(str(tiny(family)), engine="packed"),
        load(str(tiny(family)), engine="reference"),
        batched(family),
    ):
        rows = [PROMPT, PROMPT[:20] + PROMPT]
        whole, part = (model.read(rows, pool="mean", layers=layers) for layers in (None, 2))
        torch.testing.assert_close(part, whole[:, :2], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("family", NATIVE)
def test_the_upper_blocks_on_a_recorded_state_give_the_log_probabilities_of_the_whole(family):
    model = batched(family)
    run = model.generate([Row(PROMPT, sample(), record=0)])[0]
    stack, ids = model.stack, [*PROMPT, *run.ids]
    padded = torch.nn.functional.pad(run.hidden[None], (0, 0, 0, 5))
    found = stack.logits(stack.upper(padded, 1, unchanged))[0, len(PROMPT) - 1 : len(ids) - 1].log_softmax(-1)
    torch.testing.assert_close(
        found[range(len(run.ids)), run.ids], torch.tensor(run.logprobs), atol=1e-4, rtol=1e-4
    )


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names x86 processors")
@pytest.mark.parametrize("processor", OLDER)
def test_older_processors_compute_the_same(processor, monkeypatch):
    """The engine's narrower paths: AVX2, and plain vectors; from the library that the tests of the kernels build."""
    ours = load(str(tiny("qwen3")), engine="native")
    monkeypatch.setattr(build, "TUNINGS", ((f"-march={processor}",),))
    monkeypatch.setattr("lm.engines.native.engine.library", lambda: build.load(KERNELS))
    other = load(str(tiny("qwen3")), engine="native")
    assert other.engine._library._name != ours.engine._library._name
    a, b = (model.logprobs([PROMPT], [1], edits=[(edit(1, goal=5.0),)])[0] for model in (ours, other))
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_tokens_are_drawn_as_often_as_they_are_probable():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.049, 0.001], np.float32))
    draws = [
        draw(logits, Sampling(temperature=1.0, seed=seed), step)[0]
        for seed in range(40)
        for step in range(250)
    ]
    assert chisquare(np.bincount(draws, minlength=5), 10_000 * np.exp(logits.astype(float))).pvalue > 1e-3


def test_noise_is_gumbels_and_never_larger_than_stated():
    noise = gumbel(0, 0, np.arange(2**16))
    assert kstest(noise, "gumbel_r").pvalue > 1e-3
    for other in (gumbel(1, 0, np.arange(2**16)), gumbel(0, 1, np.arange(2**16)), np.roll(noise, 1)):
        assert abs(np.corrcoef(noise, other)[0, 1]) < 0.02
    assert max(gumbel(seed, 0, np.arange(2**16)).max() for seed in range(50)) <= MAX_NOISE


def test_leaving_out_tokens_that_cannot_win_changes_no_draw():
    random = np.random.default_rng(0)
    for step in range(200):
        logits = random.normal(0, 4, 2**12).astype(np.float32)
        sampling = Sampling(temperature=0.7, seed=3)
        assert (
            draw(logits, sampling, step)[0]
            == (logits / np.float32(0.7) + gumbel(3, step, np.arange(2**12))).argmax()
        )


@pytest.mark.parametrize("temperature", [0.0, 1e-50, 1e-40, 0.3, 1.0, 10.0])
@pytest.mark.parametrize("family", NATIVE)
def test_the_native_engine_draws_what_numpy_draws(family, temperature):
    engine = load(str(tiny(family)), engine="native").engine
    prompts = [PROMPT[i:] for i in range(40)]
    samplings = [Sampling(temperature=temperature, seed=31 * i) for i in range(40)]

    held_to_numpy(engine, prompts, samplings)


def held_to_numpy(engine: Engine, prompts: list[tuple[int, ...]], samplings: list[Sampling]) -> None:
    """Asserts that an engine draws, of each prompt, what numpy draws of its logits."""

    def feeds() -> list[Feed]:
        return [Feed(engine.open(len(PROMPT), (), None, 0), ids) for ids in prompts]

    logits, _ = engine.forward(feeds())
    drawn, _ = engine.sample(feeds(), [(sampling, i) for i, sampling in enumerate(samplings)])
    for i, (token, logprob) in enumerate(drawn):
        expected, its = draw(logits[i], samplings[i], i)
        assert token == expected
        assert logprob == pytest.approx(its, abs=2e-6, rel=1e-6)


def test_no_token_wins_by_noise_alone():
    """numpy's float32 exponential, once the source of the noise, draws exact zeros, with which any token
    wins.
    """
    logits = np.full(2**16, -60.0, np.float32)
    logits[7] = 0
    assert {draw(logits, Sampling(temperature=1.0, seed=0), step)[0] for step in range(600)} == {7}
