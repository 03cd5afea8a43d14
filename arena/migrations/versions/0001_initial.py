"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "annotators",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=240), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotators")),
        sa.UniqueConstraint("key", name=op.f("uq_annotators_key")),
    )
    op.create_table(
        "policies",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_policies")),
    )
    op.create_table(
        "sets",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("guideline", sa.Text(), nullable=False),
        sa.Column("minimum", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sets")),
        sa.UniqueConstraint("name", name=op.f("uq_sets_name")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("policy_name", sa.String(length=80), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("leak", sa.String(length=80), nullable=True),
        sa.Column("about", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["policy_name"], ["policies.name"], name=op.f("fk_runs_policy_name")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_table(
        "battles",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("set_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("a_id", sa.String(length=32), nullable=False),
        sa.Column("b_id", sa.String(length=32), nullable=False),
        sa.Column("of_id", sa.String(length=32), nullable=True),
        sa.Column("expected", sa.String(length=8), nullable=True),
        sa.CheckConstraint("kind IN ('plain', 'repeat', 'trap')", name=op.f("ck_battles_kind")),
        sa.ForeignKeyConstraint(["a_id"], ["runs.id"], name=op.f("fk_battles_a_id")),
        sa.ForeignKeyConstraint(["b_id"], ["runs.id"], name=op.f("fk_battles_b_id")),
        sa.ForeignKeyConstraint(["of_id"], ["battles.id"], name=op.f("fk_battles_of_id")),
        sa.ForeignKeyConstraint(["set_id"], ["sets.id"], name=op.f("fk_battles_set_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_battles")),
    )
    op.create_index("ix_battles_set_id", "battles", ["set_id"])
    op.create_table(
        "showings",
        sa.Column("battle_id", sa.String(length=32), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("shown_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name=op.f("fk_showings_annotator_id")),
        sa.ForeignKeyConstraint(["battle_id"], ["battles.id"], name=op.f("fk_showings_battle_id")),
        sa.PrimaryKeyConstraint("battle_id", "annotator_id", name=op.f("pk_showings")),
    )
    op.create_table(
        "votes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("battle_id", sa.String(length=32), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("helpful", sa.String(length=8), nullable=False),
        sa.Column("harmless", sa.String(length=8), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("voted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revised", sa.Boolean(), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "harmless IN ('a', 'b', 'tie', 'both_bad', 'skip')", name=op.f("ck_votes_harmless")
        ),
        sa.CheckConstraint("helpful IN ('a', 'b', 'tie', 'both_bad', 'skip')", name=op.f("ck_votes_helpful")),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotators.id"], name=op.f("fk_votes_annotator_id")),
        sa.ForeignKeyConstraint(["battle_id"], ["battles.id"], name=op.f("fk_votes_battle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_votes")),
        sa.UniqueConstraint("battle_id", "annotator_id", name=op.f("uq_votes_battle_id_annotator_id")),
    )
    op.create_index("ix_votes_annotator_voted", "votes", ["annotator_id", "voted_at"])


def downgrade() -> None:
    op.drop_index("ix_votes_annotator_voted", "votes")
    op.drop_table("votes")
    op.drop_table("showings")
    op.drop_index("ix_battles_set_id", "battles")
    op.drop_table("battles")
    op.drop_table("runs")
    op.drop_table("sets")
    op.drop_table("policies")
    op.drop_table("annotators")
