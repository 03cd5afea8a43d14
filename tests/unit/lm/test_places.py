"""Several models share the places in memory: who sleeps, who waits, and what a caller keeps."""

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest
from transformers import LlamaConfig

from lm import Row, Sampling, SourceError, load, places
from lm.caller import CALLER, Caller, Stopped
from lm.places import NotInMemory, Occupied, Places, Sleeper, release
from tests.tiny import save, tiny

PROMPT = (1, 2, 3, 4)


def sleeper(shared: Places, family: str = "llama", engine: str = "auto") -> Sleeper:
    return shared.model(family, lambda: load(str(tiny(family)), engine=engine))


@contextmanager
def visiting() -> Iterator[Caller]:
    """A caller who stays for the block."""
    caller = Caller(object())
    token = CALLER.set(caller)
    try:
        yield caller
    finally:
        caller.left.set()
        CALLER.reset(token)


def answer(model: Sleeper) -> list[int]:
    with visiting():
        return model.generate([Row(PROMPT, Sampling(max_new_tokens=6))])[0].ids


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Work of a visitor of its own, and what comes of it."""
    outcome: list[object] = []

    def body() -> None:
        with visiting():
            try:
                outcome.append(work())
            except Exception as error:
                outcome.append(error)

    thread = threading.Thread(target=contextvars.Context().run, args=(body,))
    thread.start()
    return thread, outcome


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_a_model_answers_the_same_after_it_slept(family: str) -> None:
    shared = Places()
    own, other = sleeper(shared, family), sleeper(shared, "qwen2")
    plain = load(str(tiny(family)))
    expected = plain.generate([Row(PROMPT, Sampling(max_new_tokens=6))])[0].ids
    assert answer(own) == expected
    assert (
        own.hash == plain.hash and own.layers == plain.layers and own.text_ids("Hi") == plain.text_ids("Hi")
    )
    answer(other)
    assert (own.awake, other.awake) == (False, True)
    assert own.hash == plain.hash and own.text_ids("Hi") == plain.text_ids("Hi")
    assert not own.awake  # what takes no memory wakes nobody
    assert answer(own) == expected
    assert (own.awake, other.awake) == (True, False)


def test_the_longest_unasked_sleeps_and_no_more_than_places_are_awake() -> None:
    shared = Places(2)
    first, second, third = (sleeper(shared, family) for family in ("llama", "qwen2", "mistral"))
    answer(first)
    answer(second)
    assert first.awake and second.awake
    answer(first)
    while first.at_work or second.at_work:  # a loop ends its round after its last token was taken
        time.sleep(0.01)
    answer(third)
    assert [model.awake for model in (first, second, third)] == [True, False, True]


def test_whoever_works_is_never_put_to_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PATIENCE", 0.3)
    shared = Places()
    own, other = sleeper(shared), sleeper(shared, "qwen2")
    with visiting():
        _ = own.engine
        thread, outcome = in_thread(lambda: other.engine)
        thread.join()
        assert isinstance(outcome[0], Occupied) and "llama" in str(outcome[0])
        assert own.awake and not other.awake
    assert answer(other) and not own.awake


def test_who_waits_for_a_place_comes_before_those_who_ask_later() -> None:
    shared = Places()
    own, other = sleeper(shared), sleeper(shared, "qwen2")
    order: list[str] = []

    def asked(model: Sleeper) -> None:
        _ = model.engine
        order.append(model.name)

    with visiting():
        _ = own.engine
        waiting, _ = in_thread(lambda: asked(other))
        while not shared._line:
            time.sleep(0.01)
        later, _ = in_thread(lambda: asked(own))
        time.sleep(0.2)
        assert order == []
        _ = own.engine  # who works goes on
    waiting.join()
    later.join()
    assert order == ["qwen2", "llama"]


def test_two_who_ask_at_once_load_a_model_once() -> None:
    loads: list[float] = []

    def slowly():
        loads.append(time.monotonic())
        time.sleep(0.3)
        return load(str(tiny("llama")))

    shared = Places()
    model = shared.model("llama", slowly)
    both = [in_thread(lambda: model.engine) for _ in range(2)]
    for thread, _ in both:
        thread.join()
    assert len(loads) == 1 and both[0][1][0] is both[1][1][0] is not None


def test_two_who_switch_at_once_are_both_answered() -> None:
    shared = Places()
    own, other = sleeper(shared), sleeper(shared, "qwen2")
    expected = answer(own), answer(other)
    threads = [in_thread(lambda model=model: answer(model)) for model in (own, other) * 4]
    for thread, _ in threads:
        thread.join()
    assert [outcome[0] for _, outcome in threads] == [*expected] * 4
    assert own.awake + other.awake == 1


def test_a_load_that_fails_is_a_sentence_and_the_others_live_on() -> None:
    def broken():
        raise SourceError("The weight files of X are cut short: fetch the model again.")

    shared = Places()
    own, other = sleeper(shared), shared.model("X", broken)
    expected = answer(own)
    for _ in range(2):
        with pytest.raises(NotInMemory, match="cut short: fetch"):
            answer(other)
    assert not other.at_work and not other.awake
    assert answer(own) == expected


def test_another_model_in_the_folder_is_refused() -> None:
    shared, families = Places(), iter(["llama", "qwen3"])
    own, other = shared.model("own", lambda: load(str(tiny(next(families))))), sleeper(shared, "qwen2")
    answer(own)
    answer(other)
    with pytest.raises(NotInMemory, match="changed since the app began"):
        answer(own)


def test_who_leaves_while_waiting_stops() -> None:
    shared = Places()
    own, other = sleeper(shared), sleeper(shared, "qwen2")
    with visiting():
        _ = own.engine
        thread, outcome = in_thread(lambda: (CALLER.get().left.set(), other.engine))
        thread.join()
    assert isinstance(outcome[0], Stopped)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model that is seen in the memory of the process."""
    config = LlamaConfig(
        vocab_size=258, hidden_size=1024, intermediate_size=4096, num_hidden_layers=8, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=128, tie_word_embeddings=True,
    )  # fmt: skip
    return str(save(tmp_path_factory.mktemp("large"), config))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_memory_falls_when_a_model_sleeps(large: str, engine: str) -> None:
    shared = Places()

    def warm():
        model = load(large, engine=engine)
        model.give_way()  # decodes a token, which reads the file that is mapped
        return model

    big, small = shared.model("big", warm), sleeper(shared, "qwen2")
    answer(small)
    answer(big)  # packs it, once
    answer(small)
    release()
    memory = psutil.Process().memory_info
    before = memory().rss
    answer(big)
    grown = memory().rss - before
    answer(small)
    release()
    assert grown > 100e6 * (0.9 if engine == "native" else 3)
    assert memory().rss - before < 0.2 * grown
    assert big.cost is not None and big.cost.bytes > 0.5 * grown
