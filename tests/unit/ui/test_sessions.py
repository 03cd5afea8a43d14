"""The tabs that a controller serves."""

from ui.sessions import Session, Sessions


def test_a_newer_work_of_a_tab_ends_the_older_and_leaves_others_alone():
    tab = Session()
    run, sweep = tab.take_over("run"), tab.take_over("sweep")
    newer = tab.take_over("run")
    assert run.is_set() and not sweep.is_set() and not newer.is_set()
    tab.stop("train", "sweep")
    assert sweep.is_set() and not newer.is_set()
    tab.stop()
    assert newer.is_set()


def test_the_longest_unseen_tab_is_forgotten():
    visitors = Sessions(Session, most=2)
    first, second = visitors.of("a"), visitors.of("b")
    assert visitors.of("a") is first
    visitors.of(None)
    assert visitors.of("a") is first and visitors.of("b") is not second and len(visitors) == 2


def test_a_tab_at_work_outlives_any_number_of_strangers():
    visitors = Sessions(Session, most=8)
    tab = visitors.of("a")
    stop = tab.take_over("run")
    for number in range(300):
        visitors.of(f"made up {number}")
    assert visitors.of("a") is tab and not stop.is_set() and len(visitors) == 8
    del stop
    for number in range(300):
        visitors.of(f"made up {number}")
    assert visitors.of("a") is not tab


def test_a_stop_makes_no_tab_and_ends_only_its_own():
    visitors = Sessions(Session)
    mine, yours = visitors.of("mine").take_over("run"), visitors.of("yours").take_over("run")
    for number in range(260):
        visitors.stop(f"made up {number}", "run")
    assert len(visitors) == 2 and not mine.is_set() and not yours.is_set()
    visitors.stop("mine", "run")
    assert mine.is_set() and not yours.is_set()


def test_an_idle_tab_is_forgotten_in_time():
    visitors = Sessions(Session, idle=-1)
    stop = visitors.of("busy").take_over("run")
    for number in range(20):
        visitors.of(f"idle {number}")
    assert len(visitors) == 2 and not stop.is_set()
