"""Export, import, the mirror on the hub and the command line: what goes out comes back the same."""

import copy
import json
import shutil
import sys
import time
from contextlib import closing
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import yaml
from huggingface_hub import HfApi
from sqlalchemy import func, select

from arena import (
    ArenaError,
    Output,
    Service,
    Store,
    archive,
    create,
    export,
    import_,
    outside,
    ranking,
    sheet,
    studies,
    votes_frame,
)
from arena.__main__ import main
from arena.hub import Journal, Mirror
from arena.outside import Columns
from arena.questions import Question
from arena.readers import read_policies, read_prompts, read_runs
from arena.records import questions
from arena.restoring import load
from arena.schema import Run
from arena.tables import tables
from lm import SourceError
from tests.arena_canned import answers, both, judge_all
from tests.arena_fixtures import copied, either
from tests.arena_hub import FolderHub
from tests.arena_postgres import new_database
from tests.scratch import scratch

pytest_plugins = ["tests.arena_fixtures"]


def judge(store):
    """Two people judge everything; one vote is given anew, one undone, one comment is awkward."""
    create(store, "Set", answers(5), repeats=0.2, traps=0.1)
    service = Service(store, votes_a_minute=1000)
    shown = service.next("Ada")
    service.vote(shown.battle, "Ada", both("a", "tie"), 'a "quoted", comma\nand line; =1+1')
    service.undo(shown.battle, "Ada")
    service.vote(shown.battle, "Ada", both("b", "tie"), 'a "quoted", comma\nand line; =1+1')
    for person in ("Ada", "Bob"):
        judge_all(service, person, ("base", "kind", "formal", "scrambled"))
    shown = service.next("Eve")
    service.vote(shown.battle, "Eve", both("skip", "both_bad"))
    service.undo(shown.battle, "Eve")
    return store


@pytest.fixture(scope="module")
def judged_file(fresh, tmp_path_factory):
    """An SQLite file with what was judged."""
    file = tmp_path_factory.mktemp("judged") / "arena.sqlite3"
    shutil.copyfile(fresh, file)
    judge(Store(f"sqlite:///{file}", journal="DELETE")).close()
    return file


@pytest.fixture(scope="module")
def judged_template(postgres, template):
    """The name of a PostgreSQL database with what was judged."""
    url = new_database(postgres, template)
    judge(Store(url)).close()
    return url.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def judged(request, tmp_path):
    yield from either(request, tmp_path, "judged_file", "judged_template")


@pytest.fixture
def judged_lite(judged_file, tmp_path):
    """For what does not depend on the database."""
    with closing(Store(copied(judged_file, tmp_path / "judged.sqlite3"))) as store:
        yield store


@pytest.fixture(scope="module")
def rows(judged_file):
    """The tables of what was judged."""
    with closing(Store(f"sqlite:///{judged_file}", journal="DELETE")) as store:
        return tables(store, names=True)


@cache
def stranger() -> Path:
    """An SQLite file as it is after set-up, with a secret of its own."""
    file = scratch("arena-stranger-") / "arena.sqlite3"
    Store(f"sqlite:///{file}", journal="DELETE").close()
    return file


def empty(folder: Path, name: str = "empty") -> Store:
    return Store(copied(stranger(), folder / f"{name}.sqlite3"))


def rank(store):
    with store.read() as session:
        votes = votes_frame(session)
    return [ranking(votes, question).to_json() for question in ("helpful", "harmless")]


@pytest.mark.parametrize("kept", ["data", "csv"])
def test_an_import_into_an_empty_database_gives_the_same_tables_and_ranking(judged, tmp_path, kept):
    counts = export(judged, tmp_path / "out", names=True)
    shutil.rmtree(tmp_path / "out" / ({"data", "csv"} - {kept}).pop())
    other = empty(tmp_path)
    assert import_(other, tmp_path / "out") == counts
    assert tables(other, names=True) == tables(judged, names=True)
    assert rank(other) == rank(judged)
    assert import_(other, tmp_path / "out") == {"runs": 0, "battles": 0, "votes": 0}


def test_names_stay_at_home_unless_asked_for(judged, tmp_path):
    export(judged, tmp_path / "out")
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert not any(name in everything for name in (b"Ada", b"Bob", b"Eve"))
    assert pd.read_parquet(tmp_path / "out/data/votes.parquet")["annotator"].nunique() == 3
    other = empty(tmp_path)
    import_(other, tmp_path / "out")
    assert rank(other) == rank(judged)


def test_an_export_without_names_adds_nothing_to_its_own_database_even_after_a_correction(judged, tmp_path):
    service = Service(judged, votes_a_minute=1000)
    shown = service.next("Zoe")
    service.vote(shown.battle, "Zoe", both("a", "a"))
    export(judged, tmp_path / "out")
    service.undo(shown.battle, "Zoe")
    service.vote(shown.battle, "Zoe", both("b", "b"))
    before = tables(judged, names=True)
    assert import_(judged, tmp_path / "out") == {"runs": 0, "battles": 0, "votes": 0}
    assert tables(judged, names=True) == before


def test_an_export_with_names_adds_nothing_to_one_without(judged, tmp_path):
    other = empty(tmp_path)
    for names in (False, True):
        export(judged, tmp_path / str(names), names=names)
        votes = import_(other, tmp_path / str(names))["votes"]
        assert votes == (0 if names else len(tables(judged, names=True)["votes"]))


def test_pseudonyms_stay_and_those_of_two_databases_are_nobody_in_common(judged_lite, tmp_path):
    other = judge(empty(tmp_path))
    people = [
        {row["annotator"] for row in tables(store, names=False)["votes"]}
        for store in (judged_lite, other, judged_lite)
    ]
    assert people[0] == people[2] and not people[0] & people[1]


def test_the_card_points_at_the_tables(judged_lite, tmp_path):
    counts = export(judged_lite, tmp_path)
    head = yaml.safe_load((tmp_path / "README.md").read_text().split("---")[1])
    for part in head["configs"]:
        assert len(pd.read_parquet(tmp_path / part["data_files"])) == counts[part["config_name"]]


@pytest.mark.parametrize(
    ("table", "field", "value", "message"),
    [
        ("votes", "helpful", "c", r"Row \d+ of votes: helpful is 'c': give one of a, b, tie, both_bad, skip"),
        ("votes", "comment", "x" * 1001, "1,001 characters"),
        ("votes", "battle", "f" * 32, "which the export lacks"),
        ("votes", "voted_at", "2026-01-31T12:00:00", "write a time with its zone"),
        ("votes", "voted_at", "yesterday", "voted_at is 'yesterday': write a time"),
        ("votes", "undone_at", 5, "undone_at is 5: write a time"),
        ("votes", "seconds", float("nan"), "seconds is nan: give a number from 0"),
        ("votes", "seconds", -1.0, "seconds is -1.0: give a number from 0"),
        ("battles", "minimum", -3, "minimum is -3: give a whole number from 1 to 1,000,000"),
        ("battles", "minimum", 10**12, "minimum is 1000000000000"),
        ("battles", "expected", "left", "expected is 'left': give (nothing|one of a, b)"),
        ("battles", "set_created_at", None, "set_created_at is None: write a time"),
        ("votes", "helpful", ["a"], "helpful is .*: give one of a, b, tie"),
        ("votes", "revised", "WAHR", "revised is 'WAHR': write True or False"),
        ("votes", "revised", None, "revised is None: write True or False"),
        ("votes", "seconds", "1,234", "seconds is '1,234': give a number"),
        ("votes", "seconds", "12. Mai", "seconds is '12. Mai': give a number"),
        ("battles", "minimum", float("inf"), "minimum is inf: give a whole number"),
        ("battles", "minimum", [3], "minimum is .*: give a whole number"),
        ("runs", "spec", "[" * 50_000, "spec is .*: give a JSON object"),
        ("runs", "spec", '{"a":' * 900 + "1" + "}" * 900, "a JSON object holds at most 20 levels"),
        ("runs", "about", '{"seed": NaN}', "about is .*: give a JSON object"),
        ("runs", "spec", {"x": "y" * 200_000}, "JSON object of at most 100,000 characters"),
        ("runs", "spec", [], "spec is .*: give a JSON object"),
        ("runs", "leak", "x" * 81, "A leak has 81 characters"),
        ("runs", "run", 3.5, "run is 3.5: an id has"),
        ("battles", "kind", "odd", "kind is 'odd': give one of"),
        ("battles", "run_a", "f" * 32, "a run that the export lacks"),
        ("battles", "battle", "<b>", "battle is '<b>': an id has"),
        ("runs", "text", "x" * 20_001, "20,001 characters"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_stored(rows, tmp_path, table, field, value, message):
    changed = copy.deepcopy(rows)
    changed[table][-1][field] = value
    other = empty(tmp_path)
    with pytest.raises(ArenaError, match=message):
        load(other, changed)
    with other.read() as session:
        assert session.scalar(select(func.count(Run.id))) == 0


@pytest.mark.parametrize("kept", ["data", "csv"])
def test_a_carriage_return_comes_back(lite, tmp_path, kept):
    create(lite, "Set", [Output("p", "x", "one\rline\r\nand\nmore"), Output("p", "y", "two\r")], repeats=0.0)
    service = Service(lite)
    service.vote(service.next("Ada").battle, "Ada", both("a", "b"), "so\rwhat")
    export(lite, tmp_path / "out", names=True)
    shutil.rmtree(tmp_path / "out" / ({"data", "csv"} - {kept}).pop())
    other = empty(tmp_path)
    import_(other, tmp_path / "out")
    assert tables(other, names=True) == tables(lite, names=True)


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("battles", "battle,minimum\n1,x", "The table battles lacks the columns"),
        ("runs", '"', "runs.csv, row 1 is no CSV"),
        ("runs", b"\xff\xfe", "runs.csv is empty"),
        (
            "runs",
            "run,policy,spec,prompt,text,leak,about\n1,x,{,p,t,,{}",
            "Row 2 of runs: run|spec is '{': give a JSON object",
        ),
    ],
)
def test_a_bad_table_is_one_sentence(judged_lite, tmp_path, table, text, message):
    export(judged_lite, tmp_path)
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "csv" / f"{table}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ArenaError, match=message):
        import_(empty(tmp_path), tmp_path)


def test_an_archive_comes_back_and_takes_no_more_than_it_may(judged_lite, tmp_path, monkeypatch):
    file = archive.pack(judged_lite, tmp_path)
    other = empty(tmp_path)
    assert archive.unpack(other, file)["votes"] == len(tables(judged_lite, names=True)["votes"])
    (study,) = studies.listing(judged_lite)
    studies.rename(judged_lite, study.id, "Drei Köche: 1/2?")
    assert file.name == "arena.zip"
    assert archive.pack(judged_lite, tmp_path, study.id).name == "Drei-Köche-1-2.zip"
    studies.rename(judged_lite, study.id, "🙂")
    assert archive.pack(judged_lite, tmp_path, study.id).name == "study.zip"
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    with pytest.raises(ArenaError, match="unpacks to .* bytes of tables; the most is 1,000"):
        archive.unpack(other, file)
    monkeypatch.setattr("arena.parquet.MAX_ROWS", 3)
    with pytest.raises(ArenaError, match="runs.parquet has .* rows; the most is 3"):
        export(judged_lite, tmp_path / "out"), import_(other, tmp_path / "out")


@pytest.mark.parametrize("content", [b"no archive", b"PK\x03\x04 broken"])
def test_what_is_no_archive_is_one_sentence(lite, tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    says = "The archive cannot be unpacked: it is none, or it is damaged. Give a .zip that was exported here."
    with pytest.raises(ArenaError, match=f"^{says}$"):
        archive.unpack(lite, tmp_path / "a.zip")


def test_a_folder_that_is_no_export_is_named(lite, tmp_path):
    with pytest.raises(ArenaError, match="holds neither data/runs.parquet nor csv/runs.csv"):
        import_(lite, tmp_path)


def pushed(mirror: Mirror) -> None:
    mirror.trigger().result(timeout=30)


def test_a_space_without_a_disk_finds_its_votes_again(judged, tmp_path):
    hub = FolderHub(tmp_path / "hub")
    mirror = Mirror(judged, "lab/votes", tmp_path / "first", minutes=60, api=hub)
    pushed(mirror)
    reborn = empty(tmp_path, "reborn")
    second = Mirror(reborn, "lab/votes", tmp_path / "second", minutes=60, api=hub)
    assert second.reloaded["votes"] == len(tables(judged, names=True)["votes"])
    assert tables(reborn, names=True) == tables(judged, names=True)
    assert rank(reborn) == rank(judged)
    before = hub.commits
    pushed(second)
    assert hub.commits == before  # what was reloaded is not written again
    mirror.stop(), second.stop()


def test_the_mirror_pushes_by_itself_what_is_voted_later(lite, tmp_path):
    create(lite, "Set", answers(2), repeats=0.0)
    hub = FolderHub(tmp_path / "hub")
    mirror = Mirror(lite, "lab/votes", tmp_path / "first", minutes=0.005, api=hub)
    service = Service(lite)
    service.vote(service.next("Ada").battle, "Ada", both("a", "b"))
    end = time.monotonic() + 20
    while '"table": "votes"' not in "".join(
        file.read_text() for file in (hub.root / "lab/votes").rglob("*.jsonl")
    ):
        assert time.monotonic() < end, "no vote was pushed within 20 s"
        time.sleep(0.05)
    mirror.stop()


def test_the_journal_only_grows_and_the_last_line_on_a_row_holds(lite, tmp_path):
    create(lite, "Set", answers(2), repeats=0.0)
    journal = Journal(lite, tmp_path / "lines")
    first = journal.append()
    (file,) = (tmp_path / "lines").glob("*.jsonl")
    before = file.read_text()
    service = Service(lite)
    shown = service.next("Ada")
    service.vote(shown.battle, "Ada", both("a", "b"))
    assert journal.append() == 1
    service.undo(shown.battle, "Ada")
    assert (journal.append(), journal.append()) == (1, 0)
    assert file.read_text().startswith(before)
    assert len(file.read_text().splitlines()) == first + 2
    other = empty(tmp_path)
    Journal(other, tmp_path / "lines").reload()
    (vote,) = tables(other, names=True)["votes"]
    assert vote["undone_at"] is not None


def test_what_could_not_be_written_is_written_later_and_half_a_line_is_taken_back(
    lite, tmp_path, monkeypatch
):
    create(lite, "Set", answers(2), repeats=0.0)
    journal = Journal(lite, tmp_path / "lines")
    (tmp_path / "lines" / "torn.jsonl").write_text('{"table": "votes", "at": "2026')
    journal.append()
    service = Service(lite)
    service.vote(service.next("Ada").battle, "Ada", both("a", "b"))
    opened = Path.open

    def full(path, *mode, **settings):
        file = opened(path, *mode, **settings)
        write = file.write

        def half(text):
            write(text[: len(text) // 2])
            file.flush()
            raise OSError("no space left on device")

        file.write = half
        return file

    with monkeypatch.context() as disk:
        disk.setattr(Path, "open", full)
        with pytest.raises(OSError, match="no space"):
            journal.append()
    assert journal.append() == 1
    other = empty(tmp_path)
    assert Journal(other, tmp_path / "lines").reload()["votes"] == 1
    assert tables(other, names=True) == tables(lite, names=True)


@pytest.mark.parametrize("repo", ["a/b/c/d", "lab/votes"])
def test_a_repository_that_cannot_be_reached_is_named(lite, tmp_path, repo):
    nowhere = HfApi(endpoint="http://127.0.0.1:9", token=False)
    with pytest.raises(
        ArenaError, match=f"votes '{repo}' cannot be reached.*Give the name of a dataset repository"
    ):
        Mirror(lite, repo, tmp_path / "votes", api=nowhere)


def write(path: Path, content: object) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_policies_file_names_one_kind_of_policy_each(tmp_path):
    entries = [
        {"name": "base", "base": True},
        {"name": "mix", "mix": "a+b@0.5"},
        {"name": "plan", "plan": {}},
    ]
    assert read_policies(Path(write(tmp_path / "good.json", entries))) == entries
    for wrong in ({"name": "two", "mix": "a+b@0.5", "checkpoint": "a"}, {"name": "none"}):
        with pytest.raises(ArenaError, match="policy 4 .* plan, checkpoint, mix, base"):
            read_policies(Path(write(tmp_path / "wrong.json", [*entries, wrong])))


def test_the_command_line_creates_from_policies_exports_imports_and_ranks(tmp_path, capsys, monkeypatch):
    module = """
from types import SimpleNamespace
from arena import Entrant
class Echo:
    def __init__(self, name): self.name = name
    def check(self, prompt, max_new_tokens): pass
    def respond(self, prompts, *, seed, max_new_tokens, stop):
        run = {"ids": [1], "finish": "stop", "seconds": 0.1}
        return [SimpleNamespace(text=f"{self.name[::-1]} {prompt}", **run) for prompt in prompts]
def policies(entries):
    return {entry["name"]: Entrant(Echo(entry["name"]), entry) for entry in entries}
"""
    write(tmp_path / "canned.py", module)
    monkeypatch.syspath_prepend(tmp_path)
    prompts = write(tmp_path / "prompts.txt", "one\n\ntwo\none\n")
    policies = write(
        tmp_path / "policies.json",
        [
            {"name": "base", "base": True},
            {"name": "kind", "plan": {}},
            {"name": "formal", "checkpoint": "c1"},
        ],
    )
    database, other = (f"sqlite:///{tmp_path / name}.sqlite3" for name in ("first", "second"))
    asked = ["--prompts", prompts, "--policies", policies, "--resolver", "canned:policies", "--repeats", "0"]
    assert main(["create", *asked, "--database", database]) == 0
    assert json.loads(capsys.readouterr().out)["plain"] == 6
    judge_all(Service(Store(database)), "Ada")
    assert main(["export", str(tmp_path / "out"), "--names", "--database", database]) == 0
    assert capsys.readouterr().out == "6 runs, 6 battles, 6 votes\n"
    assert main(["import", str(tmp_path / "out"), "--database", other]) == 0
    capsys.readouterr()
    reports = []
    for address in (database, other):
        assert main(["ranking", "--json", "--database", address]) == 0
        reports.append(json.loads(capsys.readouterr().out))
    assert reports[0] == reports[1]
    assert [row["policy"] for row in reports[0]["questions"]["helpful"]["table"]] == [
        "base",
        "kind",
        "formal",
    ]
    assert [row["front"] for row in reports[0]["front"]] == [True, False, False]
    assert main(["migrate", "--database", database]) == 0
    assert capsys.readouterr().out == "schema 0005\n"
    sys.modules.pop("canned")


def test_runs_made_elsewhere_need_no_model(tmp_path, capsys):
    lines = "\n".join(json.dumps({"prompt": "p", "policy": name, "text": name}) for name in ("x", "y"))
    database = f"sqlite:///{tmp_path / 'a.sqlite3'}"
    assert main(["create", "--runs", write(tmp_path / "runs.jsonl", lines), "--database", database]) == 0
    assert json.loads(capsys.readouterr().out)["plain"] == 1


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"--runs": '{"prompt": "p", "policy": "x"}'}, "line 1 lacks text"),
        ({"--runs": "[]\nnonsense"}, "is no JSON object"),
        (
            {"--prompts": "p"},
            "Give just one of --outputs FILE, --runs FILE, or --prompts FILE with --policies FILE",
        ),
        ({"--prompts": "p", "--policies": "{"}, "is not JSON"),
        ({"--prompts": "p", "--policies": "[]"}, "at least two policies"),
        ({"--prompts": "p", "--policies": "[1, 2]"}, "policy 1 must have"),
        (
            {"--runs": '{"prompt": "p", "policy": "x", "text": "t", "spec": 3}'},
            "spec and about must be JSON objects",
        ),
        (
            {"--prompts": "p", "--policies": '[{"name": "x"}, {"name": "y", "base": true}]'},
            "policy 1 must have",
        ),
        (
            {"--prompts": "p", "--policies": '[{"name": "x", "base": true}, {"name": "x", "base": true}]'},
            "two policies have the same name",
        ),
    ],
)
def test_a_wrong_file_is_one_line_on_stderr(tmp_path, capsys, files, message):
    options = [part for name, text in files.items() for part in (name, write(tmp_path / f"{name}.txt", text))]
    options += ["--resolver", "json:loads", "--database", f"sqlite:///{tmp_path / 'a.sqlite3'}"]
    assert main(["create", *options]) == 2
    told = capsys.readouterr().err
    assert message in told and told.startswith("error: ") and len(told.splitlines()) == 1


@pytest.mark.parametrize("line", ['{"text": "p"}', '{"prompt": 3}', '{"prompt": " "}'])
def test_a_line_without_a_prompt_is_named(tmp_path, line):
    path = tmp_path / "prompts.jsonl"
    path.write_text(f'{{"prompt": "p"}}\n\n{line}\n')
    with pytest.raises(ArenaError, match='line 3 has no "prompt"'):
        read_prompts(path)


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "prompts.txt").write_bytes(b"\xff")
    with pytest.raises(ArenaError, match="is no UTF-8 text"):
        read_prompts(tmp_path / "prompts.txt")


def test_a_model_that_cannot_be_had_is_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch):
    def load():
        raise SourceError("there is no model: give a folder")

    monkeypatch.setattr("lab.policies.load", load)
    policies = write(tmp_path / "p.json", [{"name": "x", "base": True}, {"name": "y", "plan": {}}])
    files = ["--prompts", write(tmp_path / "p.txt", "p"), "--policies", policies]
    assert main(["create", *files, "--database", f"sqlite:///{tmp_path / 'a.sqlite3'}"]) == 2
    assert capsys.readouterr().err == "error: There is no model: give a folder.\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_prompts_and_answers_may_begin_with_a_mark(tmp_path, encoding):
    lines = [
        {"prompt": f"p {n}\u2028q", "policy": name, "text": f"{name} {n}"} for n in range(2) for name in "xy"
    ]
    for name, text in {
        "prompts.txt": "first\u2028still\r\nsecond\r\n",
        "prompts.jsonl": "\n".join(json.dumps(line, ensure_ascii=False) for line in lines),
        "policies.json": json.dumps([{"name": "x", "base": True}, {"name": "y", "checkpoint": "z"}]),
    }.items():
        (tmp_path / name).write_bytes(text.encode(encoding))
    assert read_prompts(tmp_path / "prompts.txt") == ["first\u2028still", "second"]
    assert read_prompts(tmp_path / "prompts.jsonl") == ["p 0\u2028q", "p 1\u2028q"]
    assert [run.text for run in read_runs(tmp_path / "prompts.jsonl")] == ["x 0", "y 0", "x 1", "y 1"]
    assert [entry["name"] for entry in read_policies(tmp_path / "policies.json")] == ["x", "y"]


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "9" * 5_000])
@pytest.mark.parametrize("option", ["--runs", "--policies"])
def test_json_that_no_reader_takes_is_one_line_on_stderr(tmp_path, capsys, content, option):
    files = {"--runs": content} if option == "--runs" else {"--policies": content, "--prompts": "p"}
    options = [part for name, text in files.items() for part in (name, write(tmp_path / f"{name}.txt", text))]
    assert main(["create", *options, "--database", f"sqlite:///{tmp_path / 'a.sqlite3'}"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


AWKWARD = ("votes", "prompt", "tag", "helpful: base", "base", "votes (model)", "=1+1", "'@x", 'a,b"c')


def test_models_that_are_called_as_columns_are_come_back_as_they_went(lite, tmp_path):
    outputs = [
        Output(f"p {n}", name, f"it says {place}, {n}")
        for n in range(2)
        for place, name in enumerate(AWKWARD)
    ]
    study = create(lite, "Set", outputs)
    service = Service(lite, votes_a_minute=1000)
    while (shown := service.next("Ada")) is not None:
        service.vote(shown.battle, "Ada", both("a", "tie"))
    export(lite, tmp_path / "out", set_id=study.set)
    for file in ("outputs.csv", "outputs.parquet"):
        table = sheet.read(tmp_path / "out" / file)
        columns = [
            name
            for name in table.columns
            if isinstance(table.rows[0].cells[name], str) and "says" in table.rows[0].cells[name]
        ]
        assert {"=1+1", "'@x", "base"} < {*columns}
        again = outside.read(tmp_path / "out" / file, Columns("prompt", tuple(columns)))
        assert {(each.prompt, each.text) for each in again} == {(each.prompt, each.text) for each in outputs}
        assert all(int(row.cells["votes"]) == len(AWKWARD) * (len(AWKWARD) - 1) // 2 for row in table.rows)


def test_a_question_is_one_line_however_it_was_typed(lite, tmp_path):
    asked = [Question("warm", "Which is\u2028 kinder,\r\nor \x0bwarmer?"), Question("sure", "a\x85b: c")]
    create(lite, "Set", answers(1), questions=asked)
    export(lite, tmp_path / "out")
    other = empty(tmp_path)
    import_(other, tmp_path / "out")
    with other.read() as session:
        assert questions(session) == [
            Question("warm", "Which is kinder, or warmer?"),
            Question("sure", "a b: c"),
        ]
