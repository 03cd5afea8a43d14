"""A study keeps the outputs that no battle shows."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("runs", sa.Column("set_id", sa.String(length=32)))
    op.create_index(op.f("ix_runs_set_id"), "runs", ["set_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_runs_set_id"), "runs")
    op.drop_column("runs", "set_id")
