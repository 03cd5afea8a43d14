"""The example study, and the same answers for practice."""

from arena import Service, example, votes_frame
from arena.studies import listing
from tests.arena_canned import both

pytest_plugins = ["tests.arena_fixtures"]


def test_the_example_is_there_once_closed_and_says_who_judged_it(lite):
    assert example.add(lite) == example.add(lite)
    (study,) = listing(lite)
    assert (study.name, study.state, study.notice) == (example.NAME, "closed", example.NOTICE)
    assert study.votes > 0


def test_practice_has_the_answers_of_the_example_none_of_its_votes_and_counts_for_nothing_else(lite):
    practice_id = example.practise(lite)
    assert example.practise(lite) == practice_id
    studies = {study.name: study for study in listing(lite)}
    practice = studies.pop(example.PRACTICE)
    assert list(studies) == [example.NAME]
    assert (practice.state, practice.votes, practice.notice) == ("open", 0, example.PRACTICE_NOTICE)
    assert practice.battles == studies[example.NAME].battles
    service = Service(lite)
    shown = service.next("Ada", practice_id)
    service.vote(shown.battle, "Ada", both("a", "b"))
    assert service.next("Ada", practice_id).done == service.judged("Ada", practice_id) == 1
    assert (service.next("Ada"), service.judged("Ada")) == (None, 0)
    with lite.read() as session:
        assert votes_frame(session).empty
        assert len(votes_frame(session, practice_id)) == 1
