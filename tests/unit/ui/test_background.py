"""Work in threads: it comes through unchanged, in turns, and ends when nobody waits for it."""

import asyncio
import logging
import threading
import time

import gradio as gr
import pytest

from lm.caller import CALLER
from ui.background import FRAME, answer, following, frame, stream
from ui.log import Discreet
from ui.visitors import MAX_WAITING, Audience, Turns


def workers() -> int:
    return sum(thread.name == "work" for thread in threading.enumerate())


def gone(within: float = 1.0) -> bool:
    until = time.monotonic() + within
    while workers() and time.monotonic() < until:
        time.sleep(0.01)
    return not workers()


async def taken(states, most: int | None = None) -> list:
    got = []
    async for state in states:
        got.append(state)
        if len(got) == most:
            break
    return got


def endless():
    number = 0
    while not CALLER.get().left.wait(0.01):
        yield number
        number += 1


def test_a_stream_gives_every_state_once_and_in_order():
    states = asyncio.run(taken(stream(lambda: iter(range(500)), Turns(1))))
    assert states == list(range(500)) and gone()


def test_an_answer_and_an_error_come_through():
    def fail():
        raise ValueError("no")

    assert asyncio.run(answer(lambda: 7, Turns(1))) == 7
    with pytest.raises(ValueError, match="no"):
        asyncio.run(answer(fail, Turns(1)))
    with pytest.raises(ValueError, match="no"):
        asyncio.run(taken(stream(fail, Turns(1))))


@pytest.mark.parametrize("inner", [False, True])
def test_a_stream_that_is_closed_leaves_no_worker(inner):
    def work():
        if not inner:
            yield from endless()
        yield from following(lambda report: [report(0.5) for _ in endless()])

    async def leave():
        states = stream(work, Turns(1))
        assert len(await taken(states, most=3)) == 3
        await states.aclose()

    asyncio.run(leave())
    assert gone()


def test_an_answer_that_is_cancelled_leaves_no_worker():
    def work():
        CALLER.get().left.wait()
        CALLER.get().check()

    async def leave():
        task = asyncio.create_task(answer(work, Turns(1)))
        await asyncio.sleep(0.05)
        assert workers() == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert gone()


def test_an_audience_that_leaves_ends_the_work(monkeypatch):
    until = time.monotonic() + 0.2
    monkeypatch.setattr(Audience, "left", lambda self: time.monotonic() > until)

    def work():
        CALLER.get().left.wait()
        CALLER.get().check()

    with pytest.raises(gr.Error, match="nobody waited"):
        asyncio.run(answer(work, Turns(1)))
    assert asyncio.run(taken(stream(endless, Turns(1)))) and gone()


def test_many_pages_share_the_updates():
    async def crowd():
        streams = [stream(endless, Turns(60)) for _ in range(60)]
        await asyncio.gather(*(taken(states, most=1) for states in streams))
        shared = frame()
        for states in streams:
            await states.aclose()
        return shared

    assert frame() == FRAME
    assert asyncio.run(crowd()) > 10 * FRAME
    assert frame() == FRAME and gone()


def ask(turns: Turns, visitor: str, order: list, hold: asyncio.Event):
    async def asked():
        audience = Audience()
        audience.visitor = visitor
        async with turns.of(audience):
            order.append(visitor)
            await hold.wait()

    return asyncio.create_task(asked())


def test_a_free_place_goes_to_whoever_has_the_fewest():
    async def line():
        turns, order, first, then = Turns(2), [], asyncio.Event(), asyncio.Event()
        tasks = [ask(turns, "many", order, first), ask(turns, "many", order, then)]
        await asyncio.sleep(0.01)
        tasks += [ask(turns, "many", order, then) for _ in range(5)] + [ask(turns, "one", order, then)]
        await asyncio.sleep(0.01)
        first.set()
        await asyncio.sleep(0.05)
        seen = list(order)
        then.set()
        await asyncio.gather(*tasks)
        return seen, order

    seen, order = asyncio.run(line())
    assert seen == ["many", "many", "one"] and order.count("many") == 7


def test_a_visitor_fills_only_a_part_of_a_line():
    async def line():
        turns, order, hold = Turns(1), [], asyncio.Event()
        tasks = [ask(turns, "many", order, hold) for _ in range(MAX_WAITING + 2)]
        await asyncio.sleep(0.01)
        other = ask(turns, "one", order, hold)
        await asyncio.sleep(0.01)
        hold.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        await other
        return outcomes, order

    outcomes, order = asyncio.run(line())
    assert [type(each) for each in outcomes].count(gr.Error) == 1 and isinstance(outcomes[-1], gr.Error)
    assert order.index("one") <= 1 + 1 and len(order) == MAX_WAITING + 2


def test_a_place_is_given_back_whatever_happens():
    async def line():
        turns, order, hold = Turns(1), [], asyncio.Event()
        tasks = [ask(turns, name, order, hold) for name in "abc"]
        await asyncio.sleep(0.01)
        for task in tasks[:2]:  # one that has the place, one that waits for it
            task.cancel()
        hold.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return order

    assert asyncio.run(line()) == ["a", "c"]


def test_a_fault_is_logged_without_what_the_visitor_wrote(capsys):
    def fail():
        raise KeyError("my secret prompt")

    handler = logging.StreamHandler()
    handler.setFormatter(Discreet())
    logging.getLogger("ui.background").addHandler(handler)
    try:
        with pytest.raises(gr.Error) as told:
            asyncio.run(answer(fail, Turns(1)))
    finally:
        logging.getLogger("ui.background").removeHandler(handler)
    logged = capsys.readouterr().err
    assert (
        "KeyError" in logged
        and "in fail" in logged
        and "secret" not in logged.replace('raise KeyError("my secret', "")
    )
    assert "secret" not in str(told.value) and told.value.print_exception is False
