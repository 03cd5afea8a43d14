"""Studies: who judges, when names are told, versions of questions, corrections; chats and tags of prompts."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    for table, columns in {
        "sets": (
            sa.Column("archived_at", time),
            sa.Column("access", sa.String(length=8), nullable=False, server_default="signed"),
            sa.Column("members", sa.JSON(), nullable=False, server_default="[]"),
            sa.Column("reveal", sa.String(length=8), nullable=False, server_default="vote"),
            sa.Column("share", sa.Integer()),
            sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
            sa.Column("notice", sa.String(length=200), nullable=False, server_default=""),
        ),
        "questions": (
            sa.Column("since", sa.Integer(), nullable=False, server_default="1"),
            sa.Column("until", sa.Integer()),
        ),
        "runs": (
            sa.Column("turns", sa.JSON(), nullable=False, server_default="[]"),
            sa.Column("tag", sa.String(length=80)),
        ),
        "votes": (
            sa.Column("corrected_at", time),
            sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
            sa.Column("told", sa.Boolean(), nullable=False, server_default=sa.true()),
        ),
    }.items():
        for column in columns:
            op.add_column(table, column)
    # until now answers were given anew only after the names had been seen
    op.execute("UPDATE votes SET corrected_at = voted_at WHERE revised")


def downgrade() -> None:
    for table, names in {
        "votes": ("told", "version", "corrected_at"),
        "runs": ("tag", "turns"),
        "questions": ("until", "since"),
        "sets": ("notice", "version", "share", "reveal", "members", "access", "archived_at"),
    }.items():
        for name in names:
            op.drop_column(table, name)
