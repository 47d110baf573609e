"""The tables behind the jobs, as SQLAlchemy sees them."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("task", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("parent_id", String(36)),
    Column("dataset_id", String(36)),
    Column("on_lost", String(16), nullable=False),
    Column("tags", JSON, nullable=False),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Column("stop_sent", Float),
    Column("gpu_ids", JSON, nullable=False),
    Column("progress", JSON, nullable=False),
    Column("exit_code", Integer),
    Column("error", Text),
    Column("idempotency_key", String(200), unique=True),
    Column("request_sha256", String(64), nullable=False),
    # Numbers that were given to removed jobs are not given again: a cursor may stand on one.
    sqlite_autoincrement=True,
)
Index("jobs_by_status", jobs.c.status, jobs.c.number)

# Apart from the table above, so that listing jobs does not read their specs.
job_details = Table(
    "job_details",
    metadata,
    Column("job_id", String(36), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("spec", JSON, nullable=False),
    Column("command", JSON, nullable=False),
)

state_changes = Table(
    "state_changes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("job_id", String(36), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("time", Float, nullable=False),
    Column("status", String(16), nullable=False),
    Column("message", Text, nullable=False),
    sqlite_autoincrement=True,
)

datasets = Table(
    "datasets",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    Column("name", String(200), nullable=False),
    Column("task", String(64), nullable=False),
    Column("path", Text, nullable=False),
    Column("owned", Boolean, nullable=False),
    Column("status", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("created", Float, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    sqlite_autoincrement=True,
)

tokens = Table(
    "tokens",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created", Float, nullable=False),
)
