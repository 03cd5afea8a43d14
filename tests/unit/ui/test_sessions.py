"""The tabs that a desk serves."""

from ui.sessions import Tab, Visitors


def test_a_newer_work_of_a_tab_ends_the_older_and_leaves_others_alone():
    tab = Tab()
    run, sweep = tab.take_over("run"), tab.take_over("sweep")
    newer = tab.take_over("run")
    assert run.is_set() and not sweep.is_set() and not newer.is_set()
    tab.stop("train", "sweep")
    assert sweep.is_set() and not newer.is_set()
    tab.stop()
    assert newer.is_set()


def test_the_longest_unseen_visitor_is_stopped_and_forgotten():
    visitors = Visitors(Tab, most=2)
    first, second = visitors.of("a"), visitors.of("b")
    stops = first.take_over("run"), second.take_over("run")
    assert visitors.of("a") is first
    visitors.of(None)
    assert stops[1].is_set() and not stops[0].is_set()
    assert visitors.of("a") is first and visitors.of("b") is not second
