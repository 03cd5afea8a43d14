"""Votes as a preference dataset, the form in which reward models and DPO learn:
prompt, chosen, rejected, a question each.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from arena.records import blind, questions, votes_frame
from arena.schema import Battle
from arena.store import Store

Rows = list[dict[str, Any]]


def preferences(store: Store, set_id: str | None = None) -> dict[str, Rows]:
    """By each question's key, a row for every battle in which more votes are for one output than for the
    other.

    Rows: `prompt`, `chosen`, `rejected`, `question` (its text), `chosen_model`, `rejected_model`, `votes`
        (for the chosen), `against`, `ties`, `study`, `battle`. Only blind votes on plain battles count. Where
        a prompt has turns before it, prompts are lists of turns and outputs lists of one, as TRL's
        conversational form has them.
    """
    with store.read() as session:
        votes, listed = votes_frame(session, set_id), questions(session, set_id)
        query = select(Battle).options(joinedload(Battle.a), joinedload(Battle.b), joinedload(Battle.set))
        battles = {battle.id: battle for battle in session.scalars(query.where(Battle.kind == "plain"))}
    rows = {
        question.key: [
            _row(battles[battle], question.text, answers.value_counts())
            for battle, answers in blind(votes).groupby("battle", sort=False)[question.key]
        ]
        for question in listed
    }
    return {key: _shaped([row for row in listed if row]) for key, listed in rows.items()}


def write(store: Store, folder: str | Path, set_id: str | None = None) -> dict[str, int]:
    """Writes `QUESTION.jsonl` and `QUESTION.parquet` for every question with a row, and a card; returns the
    rows of each. Nothing where no battle has more votes for one output than for the other.
    """
    target = Path(folder)
    rows = {key: listed for key, listed in preferences(store, set_id).items() if listed}
    if not rows:
        return {}
    target.mkdir(parents=True, exist_ok=True)
    for key, listed in rows.items():
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in listed)
        (target / f"{key}.jsonl").write_text(lines, encoding="utf-8")
        pd.DataFrame(listed).to_parquet(target / f"{key}.parquet", index=False)
    (target / "README.md").write_text(_card(rows), encoding="utf-8")
    return {key: len(listed) for key, listed in rows.items()}


def _row(battle: Battle, question: str, counts: pd.Series) -> dict[str, Any] | None:
    a, b = int(counts.get("a", 0)), int(counts.get("b", 0))
    if a == b:
        return None
    chosen, rejected = (battle.a, battle.b) if a > b else (battle.b, battle.a)
    return {
        "prompt": battle.a.prompt,
        "chosen": chosen.text,
        "rejected": rejected.text,
        "question": question,
        "chosen_model": chosen.policy_name,
        "rejected_model": rejected.policy_name,
        "votes": max(a, b),
        "against": min(a, b),
        "ties": int(counts.get("tie", 0) + counts.get("both_bad", 0)),
        "study": battle.set.name,
        "battle": battle.id,
        "turns": battle.a.turns,
    }


def _shaped(rows: Rows) -> Rows:
    """All prompts as texts or, where one of them has turns, all as lists of turns:
    a table's column has one type.
    """
    chats = any(row["turns"] for row in rows)
    for row in rows:
        turns = row.pop("turns")
        if chats:
            row["prompt"] = [_turn(*turn) for turn in [*turns, ("user", row["prompt"])]]
            row["chosen"], row["rejected"] = (
                [_turn("assistant", row[side])] for side in ("chosen", "rejected")
            )
    return rows


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _card(rows: dict[str, Rows]) -> str:
    configs = "\n".join(f"- config_name: {key}\n  data_files: {key}.parquet" for key in rows)
    listed = "\n".join(
        f"| `{key}` | {_cell(shown[0]['question'])} | {len(shown)} | {sum(row['votes'] + row['against'] for row in shown)} |"
        for key, shown in rows.items()
    )
    studies = ", ".join(sorted({_cell(row["study"]) for shown in rows.values() for row in shown}))
    return f"""---
pretty_name: Preferences from blind comparisons
tags:
- preference
- human-feedback
configs:
{configs}
---

# Preferences from blind comparisons

Studies: {studies}. A row is a battle in which more blind votes are for `chosen` than for `rejected`; ties and both bad
are for neither. `votes` and `against` count the votes for each, `ties` those for neither. Corrections after the names
were seen, repeats and traps are left out. Who voted is not in here.

| file | question | pairs | decided votes |
|---|---|---|---|
{listed}

```bash
python -m pareto rewards --fit {next(iter(rows))} --pairs {next(iter(rows))}.jsonl --out heads
```

```python
datasets.load_dataset("parquet", data_files="{next(iter(rows))}.parquet")  # prompt, chosen, rejected: as TRL's DPOTrainer and RewardTrainer read them
```

The texts were written by the models named in the rows; their licences, and those of the prompts, hold.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
