"""A step of fixed memory gives what the eager pass gives, asks the CPU nothing, and can be captured and
replayed.
"""

import logging
from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lm import Adapter, Edit, LanguageModel, Row, Sampling, load
from lm.edits.push import apply
from lm.edits.table import EditTable, take
from lm.edits.trace import CAPPED, MAX_TARGETS, REACHED, TRACE, UNREACHABLE, records
from lm.engines.base import Feed
from lm.engines.torch.batched import BatchedEngine
from lm.engines.torch.graphs import cuda_graphs
from lm.engines.torch.graphs.cuda_graphs import MAX_GRAPHS, Replay
from lm.engines.torch.stack import Stack
from tests.tiny import LAYERS, NATIVE, WIDTH, tiny

CPU = torch.device("cpu")
PROMPT = tuple(b"A short prompt that is longer than the window.")
LAST = len(PROMPT) - 1


@cache
def made(family: str = "llama") -> LanguageModel:
    return load(str(tiny(family)), engine="reference")


def engine_of(family: str = "llama", replay: Replay | None = None) -> BatchedEngine:
    return BatchedEngine(Stack(made(family).torch, torch.float32), 512, replay)


def stepping(family: str = "llama", **more) -> BatchedEngine:
    return engine_of(family, Replay(CPU, **more))


def edit(layer: int, k: int, seed: int, *, goal: float = 6.0, **more) -> Edit:
    g = torch.Generator().manual_seed(seed)
    read, push = (torch.randn(k, WIDTH, generator=g) for _ in range(2))
    sense = torch.randint(0, 2, (k,), generator=g) * 2 - 1
    return Edit(
        layer,
        read,
        torch.randn(k, generator=g),
        push + read,
        torch.randn(k, generator=g) * goal,
        sense,
        **more,
    )


def adapter(
    rank: int,
    seed: int,
    modules=("q_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
    blocks=range(1, LAYERS),
) -> Adapter:
    g = torch.Generator().manual_seed(seed)
    sizes = {
        "q_proj": (WIDTH, 64),
        "k_proj": (WIDTH, 32),
        "v_proj": (WIDTH, 32),
        "o_proj": (64, WIDTH),
        "gate_proj": (WIDTH, 96),
        "up_proj": (WIDTH, 96),
        "down_proj": (96, WIDTH),
    }
    return Adapter(
        {
            (block, module): (
                torch.randn(rank, sizes[module][0], generator=g) * 0.2,
                torch.randn(sizes[module][1], rank, generator=g) * 0.1,
            )
            for block in blocks
            for module in modules
        }
    )


def opposed(layer: int) -> Edit:
    """Two goals that one direction cannot reach together."""
    read = torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(9)).repeat(2, 1)
    return Edit(layer, read, torch.zeros(2), read / 8, torch.tensor([5.0, -5.0]), torch.tensor([1, -1]))


def parallel(layer: int) -> Edit:
    """Two goals, reached together only by a push that is longer than allowed."""
    g = torch.Generator().manual_seed(10)
    read = torch.randn(1, WIDTH, generator=g) + 1e-3 * torch.randn(2, WIDTH, generator=g)
    return Edit(layer, read, torch.zeros(2), read / 8, torch.tensor([9.0, -9.0]), torch.tensor([1, -1]))


EDITS = {
    "none": (),
    "one": (edit(1, 1, 1),),
    "two": (edit(0, 2, 2),),
    "three": (edit(2, 3, 3),),
    "infeasible": (opposed(1),),
    "too long": (parallel(1),),
    "fixed": (edit(1, 2, 4, fixed=torch.tensor([0.4, -0.2])),),
    "capped": (edit(1, 1, 5, goal=1e4, cap=0.1), edit(2, 3, 6, goal=50.0, cap=0.2)),
    "of the answer": (edit(1, 2, 7, goal=20.0, answer_only=True),),
    "reads": (
        Edit(1, torch.ones(2, WIDTH), torch.zeros(2), torch.ones(2, WIDTH), torch.zeros(2), torch.zeros(2)),
    ),
    "some read": (
        Edit(
            1,
            torch.ones(2, WIDTH),
            torch.zeros(2),
            torch.ones(2, WIDTH),
            torch.tensor([9.0, 0.0]),
            torch.tensor([1, 0]),
        ),
    ),
    "one after another": (edit(1, 1, 11, goal=20.0), edit(2, 1, 12, goal=20.0), edit(1, 2, 13, goal=20.0)),
    "fixed and capped": (edit(0, 1, 14, fixed=torch.tensor([9.0]), cap=0.3),),
}


def opened(engine: BatchedEngine, rows, *, answer_from: int = LAST, record=None) -> list[Feed]:
    """Rows of (prompt length, edits, adapter), their prompts read; rows whose number is in `record` keep that
    block's output.
    """
    feeds = [
        Feed(engine.open(300, edits, low_rank, answer_from), PROMPT[:length])
        for length, edits, low_rank in rows
    ]
    engine.forward(feeds)
    return [
        Feed(feed.slot, [65 + i])
        if not record or i not in record
        else Feed(feed.slot, [65 + i], record=record[i], hidden=torch.zeros(1, WIDTH))
        for i, feed in enumerate(feeds)
    ]


def held(a: BatchedEngine, b: BatchedEngine, one: list[Feed], two: list[Feed], steps: int = 3) -> np.ndarray:
    """Advances both by the same tokens and holds them to each other: the traces of the last step, of all rows
    that have edits.
    """
    for step in range(steps):
        for feeds in (one, two):
            feeds[:] = [
                Feed(feed.slot, [(7 * step + 3 * i) % 250], feed.want, feed.record, feed.hidden)
                for i, feed in enumerate(feeds)
            ]
        (logits, traces), (others, theirs) = a.forward(one), b.forward(two)
        np.testing.assert_allclose(others, logits, atol=3e-5, rtol=1e-5)
        for i, (feed, other) in enumerate(zip(one, two, strict=True)):
            alike(theirs[i], traces[i], atol=1e-4)
            assert feed.slot.length == other.slot.length
            caches = [
                e._pool.data[:, :, f.slot.state.index, :, : f.slot.length].cpu()
                for e, f in ((a, feed), (b, other))
            ]
            torch.testing.assert_close(*caches, atol=2e-5, rtol=1e-4)
            if feed.hidden is not None:
                torch.testing.assert_close(other.hidden, feed.hidden, atol=2e-5, rtol=1e-4)
                assert feed.hidden.any()
    return np.concatenate([trace.reshape(-1) for trace in traces])


def alike(one: np.ndarray, other: np.ndarray, atol: float) -> None:
    """Holds records to each other."""
    assert one.dtype == other.dtype == TRACE and one.shape == other.shape
    for name in TRACE.names:
        np.testing.assert_allclose(one[name], other[name], atol=atol, rtol=atol)


@pytest.mark.parametrize("family", NATIVE)
def test_a_step_of_many_kinds_of_rows_is_the_eager_pass(family):
    adapters = [
        None,
        adapter(4, 1),
        adapter(2, 2, ("q_proj", "k_proj", "gate_proj")),
        None,
        adapter(3, 3, blocks=[0]),
    ]
    rows = [(5 + 3 * i, edits, adapters[i % len(adapters)]) for i, edits in enumerate(EDITS.values())]
    record = {2: 0, 3: 1, 5: 0}
    eager, stepped = engine_of(family), stepping(family)
    traces = held(eager, stepped, *(opened(engine, rows, record=record) for engine in (eager, stepped)))
    assert {REACHED, CAPPED, UNREACHABLE} == set(traces["outcome"])


@pytest.mark.parametrize(
    ("name", "outcomes", "pushes"),
    [
        ("one", {0}, True),
        ("two", {0}, True),
        ("three", {0}, True),
        ("infeasible", {2}, False),
        ("too long", {2}, False),
        ("fixed", {0}, True),
        ("capped", {1}, True),
        ("of the answer", {0}, True),
        ("reads", {0}, False),
        ("some read", {0}, True),
        ("one after another", {0}, True),
        ("fixed and capped", {1}, True),
    ],
)
def test_rows_of_one_kind_of_edit_are_those_of_the_eager_pass(name, outcomes, pushes):
    rows = [(length, EDITS[name], None) for length in (4, 30, 46)]
    eager, stepped = engine_of(), stepping()
    feeds = [opened(engine, rows, answer_from=0) for engine in (eager, stepped)]
    traces = held(eager, stepped, *feeds, steps=8)
    assert outcomes <= set(traces["outcome"]) and traces["eps"].any() == pushes


def test_an_edit_of_the_answer_waits_for_it():
    eager, stepped = engine_of(), stepping()
    feeds = [
        opened(engine, [(4, EDITS["of the answer"], None)], answer_from=6) for engine in (eager, stepped)
    ]
    assert not held(eager, stepped, *feeds, steps=2)["eps"].any()
    assert held(eager, stepped, *feeds, steps=4)["eps"].any()


@pytest.mark.parametrize("k", range(1, MAX_TARGETS + 1))
def test_edits_side_by_side_push_as_each_does_alone(k):
    g = torch.Generator().manual_seed(k)
    table, edits = EditTable(WIDTH, CPU), []
    for seed in range(50):
        own = 1 + seed % k
        more = [
            {},
            {"cap": 0.5},
            {"fixed": torch.randn(own, generator=g)},
            {"fixed": torch.randn(own, generator=g), "cap": 0.05},
        ][seed % 4]
        made = edit(0, own, 100 * k + seed, goal=30.0, **more)
        if seed % 3 == 0:
            made.sense[seed % own] = 0
        edits += [made] if seed % 5 or own < 2 else [opposed(0), parallel(0)]
    x, active = torch.randn(len(edits), WIDTH, generator=g), torch.rand(len(edits), generator=g) < 0.8
    x[:, 0] = -0.0
    places = torch.tensor([table.place(one) for one in edits])
    most = max(k, *(len(one.read) for one in edits))
    found, traces = (
        part[:, 0]
        for part in apply(x[:, None], active[:, None], take(table.vectors, table.numbers, places, most))
    )
    for i, one in enumerate(edits):
        expected, trace = one.apply(x[i : i + 1], active[i : i + 1])
        torch.testing.assert_close(found[i : i + 1], expected, atol=1e-4, rtol=1e-4)
        alike(records(traces[i : i + 1]), records(trace), atol=1e-4)
        assert torch.equal(found[i].view(torch.int), x[i].view(torch.int)) == torch.equal(
            expected[0].view(torch.int), x[i].view(torch.int)
        )
    seen = set(records(traces)["outcome"])
    assert seen == ({REACHED, CAPPED, UNREACHABLE} if k > 1 else {REACHED, CAPPED})
    assert (found == x).all(1).any() and (found != x).any(1).any()


def test_rows_that_fill_up_a_step_change_nobody():
    """Rows of a step that nobody feeds write only where nobody reads."""
    rows = [(5, EDITS["one"], None), (20, (), adapter(2, 1)), (40, EDITS["three"], None)]
    engine = stepping()
    together, apart = opened(engine, rows), opened(engine, rows)
    bystander = opened(engine, [(30, (), None)])[0].slot
    before = engine._pool.data[:, :, bystander.state.index].clone()
    for _ in range(3):
        logits, traces = engine.forward(together)
        for i, feed in enumerate(apart):
            alone, trace = engine.forward([feed])
            np.testing.assert_allclose(alone[0], logits[i], atol=2e-5, rtol=1e-5)
            alike(trace[0], traces[i], atol=1e-4)
    assert torch.equal(engine._pool.data[:, :, bystander.state.index], before)


def test_more_rows_than_a_step_takes_are_several_steps():
    eager, stepped = engine_of(), stepping()
    rows = [(3 + i % 30, EDITS["one"] if i % 2 else (), None) for i in range(70)]
    held(eager, stepped, *(opened(engine, rows) for engine in (eager, stepped)), steps=2)


def test_a_feed_that_wants_nothing_gets_nothing():
    engine = stepping()
    quiet, heard = opened(engine, [(5, EDITS["one"], None), (9, (), None)])
    logits, traces = engine.forward([Feed(quiet.slot, [3], want=0), heard])
    assert logits.shape == (1, 258) and traces[0].shape == (0, 1) and quiet.slot.length == 6


class Recorder(TorchDispatchMode):
    """Keeps every call, with the very tensors that went in and came out."""

    def __init__(self):
        super().__init__()
        self.calls: list[tuple] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, out))
        return out


def tape(function, numbers):
    """A capture for the CPU that does as a GPU's does: the same operations again, on the same memory,
    whatever Python would do now.
    """
    inputs = numbers.clone()
    with Recorder() as recorder:
        outputs = function(inputs)

    def replay(numbers):
        inputs.copy_(numbers)
        for call, args, kwargs, out in recorder.calls:
            for old, new in zip(tree_leaves(out), tree_leaves(call(*args, **kwargs)), strict=True):
                if old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                    old.copy_(new)
        return outputs.clone()

    return replay


class Counted:
    """A capture, and how often it was asked for."""

    def __init__(self, capture=tape):
        self.capture, self.times = capture, 0

    def __call__(self, function, numbers):
        self.times += 1
        return self.capture(function, numbers)


@pytest.mark.parametrize("family", ["mistral", "qwen3"])
def test_a_captured_step_serves_other_rows_and_positions(family):
    """Nothing of the rows it was captured with is left in it."""
    capture = Counted()
    eager, stepped = engine_of(family), stepping(family, capture=capture)
    first = [(5, EDITS["two"], adapter(3, 1)), (9, EDITS["one"], None), (40, (), None)]
    moves = edit(0, 2, 20, fixed=torch.tensor([0.5, 0.1]))
    other = [(30, (edit(1, 1, 21, goal=30.0),), None), (7, (moves,), None), (21, (), adapter(3, 4))]
    stepped.forward(opened(stepped, [(5, (), adapter(3, seed)) for seed in (1, 4)]))
    capture.times = 0
    keep = opened(eager, first), opened(stepped, first)
    held(eager, stepped, *keep)
    traces = held(eager, stepped, *(opened(engine, other) for engine in (eager, stepped)))
    held(eager, stepped, *keep)
    assert capture.times == 1 and traces["eps"].any()


def test_memory_that_moves_is_captured_anew():
    capture = Counted()
    eager, stepped = engine_of(), stepping(capture=capture)
    low_ranks = [adapter(2, 1, ("q_proj",))]
    feeds = [opened(engine, [(5, EDITS["one"], low_ranks[0])]) for engine in (eager, stepped)]

    def moved(change) -> int:
        times = capture.times
        kept = [change(engine) for engine in (eager, stepped)]
        held(eager, stepped, *feeds)
        del kept
        return capture.times - times

    assert moved(lambda engine: None) == 1
    assert moved(lambda engine: None) == 0
    assert moved(lambda engine: [engine.open(300, (), None, 0) for _ in range(20)]) == 1
    assert moved(lambda engine: engine.open(500, (), None, 0)) == 0
    many = tuple(edit(0, 1, 100 + i) for i in range(80))
    assert moved(lambda engine: engine.open(10, many, None, 0)) == 1
    wide = adapter(5, 2)
    assert moved(lambda engine: engine.open(10, (), wide, 0)) == 1


def test_an_adapter_that_follows_another_and_is_no_larger_needs_no_capture():
    """As training makes one each step."""
    capture = Counted()
    eager, stepped = engine_of(), stepping(capture=capture)
    for rank, *more in ((3, 0), (3, 1), (1, 2, ("q_proj",)), (2, 3, ("q_proj", "v_proj"), [2]), (3, 4)):
        row = [(9, EDITS["one"], adapter(rank, *more))]
        held(eager, stepped, *(opened(engine, row) for engine in (eager, stepped)), steps=1)
    assert capture.times == 1


def test_an_edit_that_follows_another_takes_its_place():
    eager, stepped = engine_of(), stepping()
    places = set()
    for seed in range(80):
        row = [(4, (edit(1, 1, seed, goal=20.0),), None)]
        feeds = [opened(engine, row) for engine in (eager, stepped)]
        places.add(feeds[1][0].slot.state.edits.places)
        if seed % 20 == 0:
            held(eager, stepped, *feeds, steps=1)
        del row, feeds
    assert len(places) < 5


def test_graphs_are_kept_in_number():
    captured = []

    def capture(function, numbers):
        captured.append(len(captured))
        return function

    replay = Replay(CPU, capture)
    for key in [*range(MAX_GRAPHS), 0, MAX_GRAPHS, 0, 1]:
        assert replay.run(key, lambda numbers: numbers + 1, torch.tensor([1])) == 2
    assert len(captured) == MAX_GRAPHS + 2


@pytest.mark.parametrize("replay", [Replay(CPU), Replay(CPU, capture=tape)], ids=["eager", "captured"])
@pytest.mark.parametrize("family", NATIVE)
def test_generation_is_that_of_the_eager_engine(family, replay):
    source = made(family)
    low_rank = adapter(4, 3)
    rows = [
        Row(
            PROMPT[: 9 + 5 * i],
            Sampling(max_new_tokens=20),
            edits,
            low_rank if i % 3 == 1 else None,
            1 if i % 2 else None,
        )
        for i, edits in enumerate(EDITS.values())
    ]
    eager, stepped = (
        LanguageModel(
            "tiny", source.hash, source.tokenizer, source.stop_ids, engine, lambda: source.torch
        ).generate(rows)
        for engine in (engine_of(family), engine_of(family, replay))
    )
    for one, other in zip(eager, stepped, strict=True):
        assert one.ids == other.ids
        np.testing.assert_allclose(other.logprobs, one.logprobs, atol=1e-4)
        alike(np.stack(other.trace), np.stack(one.trace), atol=1e-3)
        if one.hidden is not None:
            torch.testing.assert_close(other.hidden, one.hidden, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("k", range(1, MAX_TARGETS + 1))
def test_a_gate_that_never_fires_is_no_steering_exactly(k):
    read = torch.randn(k, WIDTH, generator=torch.Generator().manual_seed(0))
    idle = tuple(
        Edit(layer, read, torch.zeros(k), read, torch.full((k,), -1e6), torch.ones(k))
        for layer in range(LAYERS)
    )
    busy, alone = stepping(), stepping()
    feeds = opened(busy, [(20, (), None), (20, idle, None), (20, (edit(1, k, 3, goal=50.0),), adapter(2, 1))])
    plain = opened(alone, [(20, (), None)] * 3)
    for token in (3, 7, 11):
        logits, traces = busy.forward([Feed(feed.slot, [token]) for feed in feeds])
        expected, _ = alone.forward([Feed(feed.slot, [token]) for feed in plain])
        assert np.array_equal(logits[0], logits[1]) and np.array_equal(logits[1], expected[1])
        assert not np.array_equal(logits[2], logits[1]) and not traces[1]["eps"].any()


def test_a_broken_row_leaves_nothing_to_the_next():
    engine = stepping()
    rows = [(5, (), None), (40, (), None)]
    expected, _ = engine.forward(opened(engine, rows))
    engine._pool.data.fill_(float("nan"))
    engine._pool.data[:, :, engine._step._spare] = 0
    found, _ = engine.forward(opened(engine, rows))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("replay", "positions"), [(None, (192, 576)), (Replay(CPU), (256, 576))], ids=["eager", "stepping"]
)
def test_a_pass_that_needs_room_for_its_padding_leaves_caches_that_can_be_written(replay, positions):
    engine = engine_of(replay=replay)
    for capacity, room in zip((128, 512), positions, strict=True):
        long, short = engine.open(capacity, (), None, 0), engine.open(128, (), None, 0)
        engine.forward([Feed(long, (PROMPT * 11)[: capacity - 34])])
        engine.forward([Feed(long, PROMPT[:3]), Feed(short, PROMPT)])
        other = engine.fork(long, capacity, long.length)
        for token in range(30):
            found, expected = (engine.forward([Feed(slot, [token])])[0] for slot in (other, long))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert engine._pool.data.shape[4] == room


class OnDevice(TorchDispatchMode):
    """Lets no operation read or make a tensor that is not on the device, nor hand a value to Python."""

    def __init__(self, device: str):
        super().__init__()
        self.device, self.calls = device, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs or {}, out)):
            if isinstance(tensor, torch.Tensor):
                assert tensor.device.type == self.device, f"{function} with a tensor on {tensor.device}"
        self.calls += 1
        return out


@pytest.mark.parametrize("width", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", NATIVE)
def test_a_step_asks_the_cpu_nothing(family, width):
    """ "meta" stands for the device: whatever needs a value of a tensor, as .item(), nonzero or a mask for an
    index do, raises there.
    """
    watch, shapes = OnDevice("meta"), []

    def capture(function, numbers):
        numbers = numbers.to("meta")
        with watch:
            shapes.append(function(numbers).shape)
        return lambda _: torch.zeros(shapes[-1])

    engine = BatchedEngine(
        Stack(deepcopy(made(family).torch).to("meta"), width), 512, Replay(torch.device("meta"), capture)
    )
    adapters = [adapter(2, 1), None]
    feeds = [
        Feed(
            engine.open(200, edits, adapters[i % 2], 0), [i], record=i % LAYERS, hidden=torch.zeros(1, WIDTH)
        )
        for i, edits in enumerate(EDITS.values())
    ]
    logits, traces = engine.forward(feeds)
    assert logits.shape == (len(EDITS), 258) and watch.calls > 100 * LAYERS
    assert [trace.shape for trace in traces] == [(1, len(edits)) for edits in EDITS.values()]
    with pytest.raises((RuntimeError, NotImplementedError)), watch:
        torch.zeros(2, device="meta").sum().item()
    with pytest.raises(AssertionError, match="tensor on cpu"), watch:
        torch.zeros(2, device="meta") + torch.zeros(())


def broken(*_):
    raise RuntimeError("no such thing here")


def test_what_cannot_be_captured_runs_as_it_is_and_one_warning_says_why(caplog):
    eager, stepped = engine_of(), stepping(capture=broken)
    with caplog.at_level(logging.WARNING, "lm.engines.torch.graphs.cuda_graphs"):
        for rows in ([(5, EDITS["one"], None)], [(9, (), None), (11, EDITS["two"], adapter(2, 1))]):
            held(eager, stepped, *(opened(engine, rows) for engine in (eager, stepped)))
    [record] = [record for record in caplog.records if record.name == "lm.engines.torch.graphs.cuda_graphs"]
    assert "captured" in record.getMessage() and "no such thing here" in record.getMessage()


def test_a_capture_that_fails_later_leaves_the_rest_as_it_is(caplog):
    capture = Counted()
    eager, stepped = engine_of(), stepping(capture=capture)
    feeds = [opened(engine, [(5, EDITS["one"], None)]) for engine in (eager, stepped)]
    held(eager, stepped, *feeds)
    capture.capture = broken
    others = [opened(engine, [(5, EDITS["two"], None)] * 2) for engine in (eager, stepped)]
    for pair in (others, feeds, others):
        held(eager, stepped, *pair)
    assert (
        capture.times == 2
        and len([record for record in caplog.records if record.name == "lm.engines.torch.graphs.cuda_graphs"])
        == 1
    )


def both() -> tuple[BatchedEngine, BatchedEngine]:
    """The same model on the CPU and on the GPU."""
    gpu = torch.device("cuda", 0)
    source = deepcopy(made().torch).float()
    return (
        BatchedEngine(Stack(deepcopy(source).cpu(), torch.float32), 512),
        BatchedEngine(Stack(source.to(gpu), torch.float32), 512, Replay.on(gpu)),
    )


@pytest.mark.gpu
def test_a_gpu_replays_graphs_of_what_the_cpu_computes(caplog):
    engines = both()
    rows = [
        (5 + 3 * i, edits, adapter(2, i) if i % 3 == 0 else None) for i, edits in enumerate(EDITS.values())
    ]
    for chosen in ([rows[0]], rows[:3], rows):
        feeds = [opened(engine, chosen, record={0: 1}) for engine in engines]
        held(*engines, *feeds, steps=130)
    assert not [record for record in caplog.records if record.name == "lm.engines.torch.graphs.cuda_graphs"]


@pytest.mark.gpu
def test_a_gpu_answers_prompts_that_are_read_in_parts_as_the_cpu_does():
    source = made()
    rows = [Row(PROMPT * n, Sampling(max_new_tokens=20), EDITS["one"]) for n in (1, 9)]
    texts = [
        LanguageModel(
            "tiny", source.hash, source.tokenizer, source.stop_ids, engine, lambda: source.torch
        ).generate(rows)
        for engine in both()
    ]
    assert [run.ids for run in texts[0]] == [run.ids for run in texts[1]]


def test_a_gpu_replays_graphs_and_a_cpu_has_none(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "_CudaGraphs", lambda device: tape)
    assert Replay.on(torch.device("cuda", 0))._capture is tape and Replay.on(CPU)._capture is None
