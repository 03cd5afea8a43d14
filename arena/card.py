"""The card of an exported data set."""

from typing import Any

from arena.questions import parsed

_HEAD = """---
pretty_name: Tradewind blind comparisons
tags:
- preference
- human-feedback
configs:
- config_name: votes
  data_files: data/votes.parquet
  default: true
- config_name: battles
  data_files: data/battles.parquet
- config_name: runs
  data_files: data/runs.parquet
---
"""

_BODY = """
# Blind side-by-side comparisons

Two texts for one prompt, on sides drawn at random, judged blind. {votes} votes of {annotators} annotators on {battles} battles of {runs} runs.

Questions, by the columns of their answers:

{questions}

| policy | what wrote it |
|---|---|
{policies}

## Tables

- **votes**: `battle`, `annotator`, a column a question (`a`, `b`, `tie`, `both_bad`, `skip`; empty where a set does not ask it), `comment`,
  `seconds` from showing to vote, `voted_at` in UTC. `undone_at`: the annotator took the vote back. `revised`:
  given anew after an undo, when the names had been seen; such votes are not blind and are left out of
  rankings.
- **battles**: `run_a` and `run_b` are the runs on the two sides. `kind`: `plain`; `repeat` shows the battle
  `of` again with its sides swapped, after its names were told, and measures consistency alone; `trap` has a
  known answer to the first question, `expected`. `questions` and `guideline` are those of the set.
- **runs**: `policy`, its `spec` (JSON: plan, checkpoint or base model), `prompt`, `text`, and `about` (JSON:
  seed,
  tokens). `leak`: words of the text that name its model; such runs enter no battle. `set_id`: the set that keeps
  it, where no battle shows it.

A vote is blind to the names of its own battle. Where a prompt has several battles, an annotator may know a text
again from the reveal of an earlier one; battles on prompts without a reveal come first.

The same tables stand in `csv/`, for spreadsheets: an apostrophe stands before a text that one would run or convert.
`python -m arena import DIR` reads the folder back; the same votes give the
same ranking.

## Guideline of the annotators

{guideline}

## Licence

The texts were written by the models named above, and the prompts come from whoever made the battles: their
licences hold.
"""


def card(rows: dict[str, list[dict[str, Any]]]) -> str:
    """The README.md of an export, from the rows of `tables.tables`."""
    specs = {row["policy"]: row["spec"] for row in rows["runs"]}
    guidelines = dict.fromkeys(row["guideline"] for row in rows["battles"])
    return _HEAD + _BODY.format(
        votes=len(rows["votes"]),
        annotators=len({row["annotator"] for row in rows["votes"]}),
        battles=len(rows["battles"]),
        runs=len(rows["runs"]),
        policies="\n".join(f"| {_cell(name)} | `{_cell(spec)}` |" for name, spec in sorted(specs.items())),
        questions="\n".join(
            f"- `{question.key}`: {question.text}"
            for listed in dict.fromkeys(row["questions"] for row in rows["battles"])
            for question in parsed(listed)
        ),
        guideline="\n\n---\n\n".join(guidelines),
    )


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ").replace("`", "'")
