"""Answers are rows of their own, to the questions of their set; who sent a battle; whether a set is open."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

PAIR = (("helpful", "Which is more helpful?"), ("harmless", "Which is more harmless?"))
"""The two questions of every set until this version."""


def upgrade() -> None:
    op.create_table(
        "questions",
        sa.Column("set_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("text", sa.String(length=200), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["sets.id"], name=op.f("fk_questions_set_id")),
        sa.PrimaryKeyConstraint("set_id", "key", name=op.f("pk_questions")),
    )
    for position, (key, words) in enumerate(PAIR):
        op.execute(
            sa.text(
                "INSERT INTO questions (set_id, key, text, position) SELECT id, :key, :words, :position FROM sets"
            ).bindparams(key=key, words=words, position=position)
        )
    # SQLite makes the table of votes anew, which it refuses while answers point to it
    op.execute("CREATE TABLE old_answers AS SELECT id, helpful, harmless FROM votes")
    with op.batch_alter_table("votes") as votes:
        for key, _ in PAIR:
            votes.drop_constraint(op.f(f"ck_votes_{key}"), type_="check")
            votes.drop_column(key)
    op.create_table(
        "answers",
        sa.Column("vote_id", sa.Integer(), nullable=False),
        sa.Column("question", sa.String(length=32), nullable=False),
        sa.Column("value", sa.String(length=8), nullable=False),
        sa.CheckConstraint("value IN ('a', 'b', 'tie', 'both_bad', 'skip')", name=op.f("ck_answers_value")),
        sa.ForeignKeyConstraint(["vote_id"], ["votes.id"], name=op.f("fk_answers_vote_id")),
        sa.PrimaryKeyConstraint("vote_id", "question", name=op.f("pk_answers")),
    )
    for key, _ in PAIR:
        op.execute(f"INSERT INTO answers (vote_id, question, value) SELECT id, '{key}', {key} FROM old_answers")
    op.drop_table("old_answers")
    op.add_column("sets", sa.Column("open", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("battles", sa.Column("sender", sa.String(length=240), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("Votes on questions of one's own have no place in the older schema. Restore the backup.")
