"""A study's whole life: edits keep old votes, corrections are marked, names are told when the lead says, nothing is lost."""

import pandas as pd
import pytest
from sqlalchemy import func, select

from arena import (
    ArenaError,
    Output,
    Question,
    Service,
    create,
    export,
    import_,
    ranking,
    studies,
    votes_frame,
)
from arena.errors import AlreadyVoted, NotServed, QuestionsChanged
from arena.hub import Journal
from arena.judged import write as write_judged
from arena.outside import Columns
from arena.outside import read as read_outputs
from arena.preferences import preferences
from arena.questions import GUIDELINE, OPENING, standard
from arena.schema import Policy, Run
from arena.settings import Settings
from arena.store import Store
from arena.tables import tables
from tests.arena_canned import Clock, answers, both, fill, judge_all

pytest_plugins = ["tests.arena_fixtures"]


@pytest.fixture
def clock():
    return Clock()


def study_of(store, name="Set"):
    return next(study for study in studies.listing(store) if study.name == name)


def change(store, questions=OPENING, name="Set", **settings):
    study = studies.detail(store, study_of(store, name).id)
    values = {**vars(study.settings), **settings}
    return studies.edit(store, study.study.id, Settings(**values), questions)


def frame(store, set_id=None):
    with store.read() as session:
        return votes_frame(session, set_id)


def test_the_list_counts_what_is_done_of_what_is_wanted(lite, clock):
    fill(lite, minimum=2)
    service = Service(lite, clock=clock, votes_a_minute=1000)
    assert (study_of(lite).battles, study_of(lite).done, study_of(lite).wanted) == (12, 0, 24)
    judge_all(service, "Ada")
    assert (study_of(lite).done, study_of(lite).votes, study_of(lite).people) == (0, 12, 1)
    judge_all(service, "Bo")
    judge_all(service, "Cy")
    assert (study_of(lite).done, study_of(lite).votes, study_of(lite).people) == (12, 24, 3)


def test_a_renamed_study_keeps_its_votes_and_no_two_have_one_name(lite):
    fill(lite)
    create(lite, "Other", answers(1, ("base", "kind")), repeats=0.0)
    with pytest.raises(ArenaError, match="There is a study 'Other' already"):
        studies.rename(lite, study_of(lite).id, "Other")
    judge_all(Service(lite, votes_a_minute=1000), "Ada")
    set_id, before = study_of(lite).id, frame(lite)
    assert studies.rename(lite, set_id, "  Better   name ") == "Better name"
    assert study_of(lite, "Better name").id == set_id
    pd.testing.assert_frame_equal(frame(lite), before)


def test_edited_questions_are_a_new_version_and_old_votes_keep_theirs(store, clock):
    fill(store, minimum=1)
    service = Service(store, clock=clock, votes_a_minute=1000)
    first = service.next("Ada").battle
    service.vote(first, "Ada", both("a", "b"))
    waiting = service.next("Ada").battle
    edited = (OPENING[0], Question("harmless", "Which would hurt nobody?"))
    assert change(store, edited) == 2
    assert [question.key for question in service.again(waiting, "Ada").questions] == ["helpful", "harmless_2"]
    with pytest.raises(QuestionsChanged):
        service.vote(waiting, "Ada", both("a", "b"))
    service.vote(waiting, "Ada", {"helpful": "a", "harmless_2": "tie"})
    votes = frame(store).set_index("battle")
    assert votes.loc[first, ["helpful", "harmless"]].tolist() == ["a", "b"] and pd.isna(
        votes.loc[first, "harmless_2"]
    )
    assert votes.loc[waiting, ["helpful", "harmless_2"]].tolist() == ["a", "tie"] and pd.isna(
        votes.loc[waiting, "harmless"]
    )
    assert ranking(frame(store), "harmless").votes == 1
    assert study_of(store).votes == 1  # the first battle's vote does not answer what is asked now
    assert change(store, edited) == 2, "the same questions are no new version"
    service.correct(first, "Ada", {"helpful": "b", "harmless_2": "a"})
    assert frame(store).set_index("battle").loc[first, ["helpful", "harmless", "harmless_2"]].tolist() == [
        "b",
        "b",
        "a",
    ]
    assert change(store, OPENING) == 3
    with store.read() as session:
        keys = [question.key for question in studies.get(session, study_of(store).id).questions]
    assert keys == ["helpful", "harmless_3"], "a question's text never changes under its answers"


def test_before_the_first_vote_questions_change_without_a_version(lite):
    fill(lite)
    assert change(lite, (Question("kinder", "Which is kinder?"),)) == 1
    assert [question.key for question in Service(lite).next("Ada").questions] == ["kinder"]


@pytest.mark.parametrize("reveal", ["never", "end", "vote"])
def test_names_are_told_when_the_lead_says(lite, clock, reveal):
    create(lite, "Set", answers(2, ("base", "kind")), repeats=0.0, reveal=reveal)
    service = Service(lite, clock=clock, votes_a_minute=1000)
    first = service.next("Ada")
    after = service.vote(first.battle, "Ada", both("a", "a"))
    assert (after.a is not None) == (reveal == "vote")
    assert (service.earlier("Ada").votes[0].reveal.a is not None) == (reveal == "vote")
    corrected = service.correct(first.battle, "Ada", both("b", "b"))
    assert corrected.revised == (reveal == "vote"), "a correction is blind as long as nobody told the names"
    service.vote(service.next("Ada").battle, "Ada", both("a", "a"))
    assert service.next("Ada") is None
    told = [earlier.reveal.a is not None for earlier in service.earlier("Ada").votes]
    assert told == [reveal != "never"] * 2
    votes = frame(lite).set_index("battle")
    assert votes["corrected"].tolist().count(True) == 1 and votes.loc[first.battle, "helpful"] == "b"
    assert ranking(frame(lite), "helpful").votes == (1 if reveal == "vote" else 2)
    again = service.correct(first.battle, "Ada", both("a", "a"))
    assert again.revised == (reveal != "never")


def test_a_persons_answers_stand_on_pages_that_hold_each_once(lite, clock, monkeypatch):
    monkeypatch.setattr("arena.service.A_PAGE", 2)
    create(lite, "Set", answers(7, ("base", "kind")), repeats=0.0, reveal="never")
    service = Service(lite, clock=clock, votes_a_minute=1000)
    given = []
    for _ in range(5):
        given.insert(0, service.next("Ada").battle)
        clock.move(1)
        service.vote(given[0], "Ada", both("a", "a"))
    pages = [service.earlier("Ada", page=page) for page in (1, 2, 3)]
    assert [vote.reveal.battle for page in pages for vote in page.votes] == given
    assert [(page.page, page.pages, len(page.votes)) for page in pages] == [(1, 3, 2), (2, 3, 2), (3, 3, 1)]
    for asked, page in ((-1, 1), (0, 1), (10**9, 3)):
        assert service.earlier("Ada", page=asked) == pages[page - 1]
    for number, battle in enumerate(given):
        assert service.earlier("Ada", battle=battle).page == number // 2 + 1
    assert service.earlier("Ada", battle="nowhere") == pages[0]
    assert (service.earlier("Bob").votes, service.earlier("Bob").pages) == ([], 1)


def test_a_blind_undo_counts_and_one_after_the_names_does_not(lite, clock):
    for name, reveal in (("Hidden", "never"), ("Told", "vote")):
        create(lite, name, answers(1, ("base", "kind")), repeats=0.0, reveal=reveal)
        service = Service(lite, clock=clock)
        set_id = study_of(lite, name).id
        battle = service.next("Ada", set_id).battle
        service.vote(battle, "Ada", both("a", "a"))
        service.undo(battle, "Ada")
        service.vote(battle, "Ada", both("b", "b"))
        assert ranking(frame(lite, set_id), "helpful").votes == (reveal == "never")


def test_a_study_that_is_archived_while_it_is_judged_keeps_the_vote_and_says_why_it_ends(lite, clock):
    fill(lite)
    set_id = study_of(lite).id
    service = Service(lite, clock=clock)
    shown = service.next("Ada", set_id)
    studies.archive(lite, set_id)
    service.vote(shown.battle, "Ada", both("a", "b"))
    assert len(frame(lite)) == 1
    with pytest.raises(NotServed, match="The study “Set” is over"):
        service.next("Ada", set_id)
    assert service.next("Ada") is None
    studies.archive(lite, set_id, away=False)
    assert service.next("Ada", set_id) is not None
    studies.show(lite, set_id, False)
    with pytest.raises(NotServed, match="is closed"):
        service.next("Ada", set_id)
    with pytest.raises(NotServed, match="no study at this address"):
        service.next("Ada", "nowhere")


def test_a_list_admits_its_people_alone(lite, clock):
    fill(lite, access="listed", members=["Ada", " Böb "])
    set_id, service = study_of(lite).id, Service(lite, clock=clock)
    assert service.next("ADA", set_id) and service.next("böb", set_id)
    with pytest.raises(NotServed, match="for people on its list"):
        service.next("Eve", set_id)
    assert service.next("Eve") is None
    with pytest.raises(ArenaError, match="has 0 names"):
        change(lite, access="listed", members=[" "])
    assert studies.progress(lite, set_id)["annotator"].tolist() == ["ada", "böb"]


def test_nobody_judges_more_than_their_share(lite, clock):
    fill(lite, share=2)
    set_id, service = study_of(lite).id, Service(lite, clock=clock)
    for _ in range(2):
        service.vote(service.next("Ada", set_id).battle, "Ada", both("a", "b"))
    assert service.next("Ada", set_id) is None
    assert service.next("Bo", set_id) is not None


def test_two_tabs_of_one_person_are_one_vote(lite, clock):
    fill(lite)
    service = Service(lite, clock=clock)
    one, other = service.next("Ada"), service.next("Ada")
    assert one.battle == other.battle
    service.vote(one.battle, "Ada", both("a", "b"))
    service.vote(other.battle, "Ada", both("a", "b"))
    with pytest.raises(AlreadyVoted, match="first answer stands"):
        service.vote(other.battle, "Ada", both("b", "b"))
    assert frame(lite)["helpful"].tolist() == ["a"]


def test_a_copy_has_the_outputs_and_settings_and_no_votes(lite):
    create(lite, "Set", answers(6), repeats=0.5, traps=0.2, guideline="Own", reveal="never")
    judge_all(Service(lite, votes_a_minute=1000), "Ada")
    copy = studies.duplicate(lite, study_of(lite).id, "Copy")
    assert studies.detail(lite, copy).settings == studies.detail(lite, study_of(lite).id).settings
    rows = tables(lite, names=True)["battles"]
    runs = [
        sorted((row["kind"], *sorted((row["run_a"], row["run_b"]))) for row in rows if row["set"] == name)
        for name in ("Set", "Copy")
    ]
    assert runs[0] == runs[1]
    assert frame(lite, copy).empty and study_of(lite, "Copy").state == "closed"


def test_a_deleted_study_takes_its_votes_along_and_nothing_of_others(store):
    fill(store)
    create(store, "Other", answers(2, ("base", "kind")), repeats=0.5)
    service = Service(store, votes_a_minute=1000)
    judge_all(service, "Ada")
    others = tables(store, names=True)
    counts = studies.delete(store, study_of(store).id)
    assert counts == {"votes": 12, "battles": 12, "runs": 12}
    kept = tables(store, names=True)
    assert kept["battles"] == [row for row in others["battles"] if row["set"] == "Other"]
    assert kept["votes"] == [
        row for row in others["votes"] if row["battle"] in {b["battle"] for b in kept["battles"]}
    ]
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Run)) == 4
        assert set(session.scalars(select(Policy.name))) == {"base", "kind"}


def test_a_deleted_study_stays_deleted_on_a_space_without_a_disk(lite, tmp_path):
    fill(lite)
    create(lite, "Other", answers(1, ("base", "kind")), repeats=0.0)
    journal = Journal(lite, tmp_path / "journal")
    journal.append()
    studies.delete(lite, study_of(lite).id)
    journal.append()
    fresh = Store(f"sqlite:///{tmp_path / 'fresh.sqlite3'}")
    Journal(fresh, tmp_path / "journal").reload()
    assert tables(fresh, names=True) == tables(lite, names=True)


def test_a_study_with_versions_chats_and_tags_comes_back_from_its_export(lite, tmp_path):
    outputs = [
        Output(
            "And now?",
            name,
            f"So says {name} now",
            {"outside": True},
            {},
            (("system", "Be."), ("user", "Hi")),
            "x",
        )
        for name in ("first", "second")
    ]
    create(lite, "Set", outputs, repeats=1.0, access="listed", members=["Ada"], reveal="end", share=5)
    service = Service(lite, votes_a_minute=1000)
    battle = service.next("Ada").battle
    service.vote(battle, "Ada", both("a", "b"))
    change(lite, (Question("kinder", "Which is kinder?"),))
    service.correct(battle, "Ada", {"kinder": "b"})
    studies.archive(lite, study_of(lite).id)
    export(lite, tmp_path / "out", names=True)
    for kind in ("data", "csv"):
        fresh = Store(f"sqlite:///{tmp_path / kind}.sqlite3")
        if kind == "csv":
            for file in (tmp_path / "out" / "data").iterdir():
                file.unlink()
        import_(fresh, tmp_path / "out")
        assert tables(fresh, names=True) == tables(lite, names=True)
    assert [row["members"] for row in tables(lite, names=False)["battles"]] == [None, None]


def test_preferences_are_what_most_people_chose_blind(lite, clock):
    create(lite, "Set", answers(3, ("base", "kind")), repeats=0.0)
    service = Service(lite, clock=clock, votes_a_minute=1000)
    for person, order in (("Ada", ("kind", "base")), ("Bo", ("kind", "base")), ("Cy", ("base", "kind"))):
        judge_all(service, person, order)
    rows = preferences(lite)
    assert {key: len(found) for key, found in rows.items()} == {"helpful": 3, "harmless": 3}
    for row in rows["helpful"]:
        assert (row["chosen_model"], row["votes"], row["against"]) == ("kind", 2, 1)
        assert "dnik" in row["chosen"] and "esab" in row["rejected"] and isinstance(row["prompt"], str)
    judge_all(service, "Di", ("base", "kind"))
    assert preferences(lite)["helpful"] == []  # two against two prefer nothing


def test_preferences_of_chats_are_conversational(lite):
    outputs = [
        Output("And?", name, f"It is {name} here", {}, {}, (("user", "Hi"), ("assistant", "Yes")))
        for name in ("x", "y")
    ]
    create(lite, "Set", [*outputs, Output("Plain", "x", "one"), Output("Plain", "y", "two")], repeats=0.0)
    service = Service(lite)
    while shown := service.next("Ada"):
        service.vote(shown.battle, "Ada", both("a", "skip"))
    rows = {len(row["prompt"]): row for row in preferences(lite)["helpful"]}
    assert [turn["role"] for turn in rows[3]["prompt"]] == ["user", "assistant", "user"]
    assert rows[1]["prompt"] == [{"role": "user", "content": "Plain"}]
    assert rows[3]["chosen"][0]["role"] == "assistant" and preferences(lite)["harmless"] == []


def test_outputs_come_back_in_the_shape_they_had_with_what_people_think_beside_them(lite, tmp_path, clock):
    outputs = answers(3, ("base", "kind", "formal"))
    create(lite, "Set", outputs, repeats=0.0)
    judge_all(Service(lite, clock=clock, votes_a_minute=1000), "Ada", ("kind", "base", "formal"))
    assert write_judged(lite, tmp_path, study_of(lite).id) == 3
    for name in ("outputs.csv", "outputs.parquet"):
        again = read_outputs(tmp_path / name, Columns("prompt", ("base", "formal", "kind")))
        assert {(o.prompt, o.policy, o.text) for o in again} == {
            (o.prompt, o.policy, o.text) for o in outputs
        }
    table = pd.read_parquet(tmp_path / "outputs.parquet")
    assert table["helpful: kind"].tolist() == [1.0] * 3 and table["helpful: formal"].tolist() == [0.0] * 3
    assert table["votes"].tolist() == [3] * 3


def test_settings_that_cannot_be_are_named(lite):
    fill(lite)
    for setting, message in (
        ({"minimum": 0}, "The number of votes wanted is 0"),
        ({"minimum": float("nan")}, "The number of votes wanted is nan: give a whole number from 1"),
        ({"minimum": float("inf")}, "The number of votes wanted is inf"),
        ({"share": float("nan")}, "The share of a person is nan"),
        ({"share": 0}, "The share of a person is 0"),
        ({"access": "all"}, "Who may judge is 'all': give one of open, signed, listed"),
        ({"reveal": ""}, "When names are told is '': give one of vote, end, never"),
        ({"guideline": "x" * 8_001}, "The guideline has 8,001 characters"),
    ):
        with pytest.raises(ArenaError, match=message):
            change(lite, **setting)
    assert studies.detail(lite, study_of(lite).id).settings == Settings(
        guideline=GUIDELINE, minimum=3, members=[]
    )


KINDER = (Question("kinder", "Which is kinder?"), Question("clearer", "Which is clearer?"))
PAIR = [Output("Why?", "warm", "Because."), Output("Why?", "cold", "No idea.")]


def test_the_standard_guideline_speaks_of_what_is_asked_and_a_leads_own_is_left_alone(lite):
    create(lite, "Own", PAIR, questions=KINDER)
    create(lite, "Written", PAIR, questions=KINDER, guideline="Be *more helpful*: read slowly.")
    told = studies.detail(lite, study_of(lite, "Own").id).settings.guideline
    assert told == standard(KINDER) and "helpful" not in told and "harmless" not in told
    assert studies.detail(lite, study_of(lite, "Written").id).settings.guideline.startswith("Be *more")
    change(lite, OPENING, "Own")
    assert studies.detail(lite, study_of(lite, "Own").id).settings.guideline == GUIDELINE
    change(lite, OPENING[:1], "Own")
    change(lite, KINDER[:1], "Own")
    assert studies.detail(lite, study_of(lite, "Own").id).settings.guideline == standard(KINDER[:1])


@pytest.mark.parametrize(
    "name, settings, field",
    [
        ("Set", {}, "name"),
        ("", {}, "name"),
        ("x" * 81, {}, "name"),
        ("New", {"questions": ()}, "questions"),
        ("New", {"questions": (Question("Kinder", "?"),)}, "questions"),
        ("New", {"guideline": "x" * 9_000}, "guideline"),
        ("New", {"minimum": None}, "minimum"),
        ("New", {"share": 0}, "share"),
        ("New", {"access": "all"}, "access"),
        ("New", {"access": "listed"}, "members"),
    ],
)
def test_what_is_refused_names_its_field(lite, name, settings, field):
    fill(lite)
    with pytest.raises(ArenaError) as refused:
        create(lite, name, PAIR, **settings)
    assert refused.value.field == field
    study = study_of(lite)
    other = create(lite, "Other", PAIR)
    own = {key: value for key, value in settings.items() if key != "questions"}
    with pytest.raises(ArenaError) as refused:
        studies.rename(lite, other.set, name)
        change(lite, settings.get("questions", OPENING), study.name, **own)
    assert refused.value.field == field


def test_a_name_that_is_offered_is_free(lite):
    assert studies.free_name(lite, "Battles") == "Battles"
    for _ in range(3):
        create(lite, studies.free_name(lite, "Battles"), PAIR)
    assert {study.name for study in studies.listing(lite)} == {"Battles", "Battles 2", "Battles 3"}
    create(lite, "y" * 80, PAIR)
    assert len(studies.free_name(lite, "y" * 80)) <= 80
