"""The first schema: a function for each table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite numbers rows by itself only where the column says INTEGER."""


def upgrade() -> None:
    _bans()
    _contents()
    _file_nodes()
    _files_in()
    _files_out()
    _gossip_numbers()
    _gossip_windows()
    _inbox()
    _invites()
    _lines_in()
    _lines_out()
    _membership()
    _meta()
    _outbox()
    _outcomes()
    _peers()
    _seen()
    _staged()


def _bans() -> None:
    op.create_table(
        "covm_bans",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("peer", name=op.f("pk_covm_bans")),
    )


def _contents() -> None:
    op.create_table(
        "covm_contents",
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("kept_until", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("root", name=op.f("pk_covm_contents")),
    )
    op.create_index("covm_contents_kept_until", "covm_contents", ["kept_until"])


def _file_nodes() -> None:
    op.create_table(
        "covm_file_nodes",
        sa.Column("mid", sa.LargeBinary(), nullable=False),
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("mid", "level", "position", name=op.f("pk_covm_file_nodes")),
    )


def _files_in() -> None:
    op.create_table(
        "covm_files_in",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("mid", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("done_bytes", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.Column("touched_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("peer", "mid", name=op.f("pk_covm_files_in")),
    )
    op.create_index("covm_files_in_state", "covm_files_in", ["state", "ended_at"])


def _files_out() -> None:
    op.create_table(
        "covm_files_out",
        sa.Column("mid", sa.LargeBinary(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("inode", sa.BigInteger(), nullable=False),
        sa.Column("modified_ns", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("mid", name=op.f("pk_covm_files_out")),
    )
    op.create_index("covm_files_out_state", "covm_files_out", ["state", "ended_at"])


def _gossip_numbers() -> None:
    op.create_table(
        "covm_gossip_numbers",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", name=op.f("pk_covm_gossip_numbers")),
    )


def _gossip_windows() -> None:
    op.create_table(
        "covm_gossip_windows",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("highest", sa.BigInteger(), nullable=False),
        sa.Column("bits", sa.LargeBinary(), nullable=False),
        sa.Column("heard_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "author", name=op.f("pk_covm_gossip_windows")),
    )


def _inbox() -> None:
    op.create_table(
        "covm_inbox",
        sa.Column("id", _Id, autoincrement=False, nullable=False),
        sa.Column("line_id", sa.BigInteger(), nullable=False),
        sa.Column("author_id", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("mid", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("checksum", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("done", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_covm_inbox")),
    )
    op.create_index("covm_inbox_lane", "covm_inbox", ["author_id", "type", "id"])


def _invites() -> None:
    op.create_table(
        "covm_invites",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("used_by", sa.Text(), nullable=False),
        sa.Column("removals", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_covm_invites")),
    )


def _lines_in() -> None:
    op.create_table(
        "covm_lines_in",
        sa.Column("id", _Id, nullable=False),
        sa.Column("peer_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("stored_seq", sa.BigInteger(), nullable=False),
        sa.Column("stored_mid", sa.LargeBinary(), nullable=True),
        sa.Column("last_envelope", sa.LargeBinary(), nullable=True),
        sa.Column("next_outcome", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_covm_lines_in")),
        sa.UniqueConstraint("peer_id", "number", "nonce", name=op.f("uq_covm_lines_in_peer_id_number_nonce")),
    )


def _lines_out() -> None:
    op.create_table(
        "covm_lines_out",
        sa.Column("id", _Id, nullable=False),
        sa.Column("peer_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("next_seq", sa.BigInteger(), nullable=False),
        sa.Column("acked_seq", sa.BigInteger(), nullable=False),
        sa.Column("acked_mid", sa.LargeBinary(), nullable=True),
        sa.Column("released_seq", sa.BigInteger(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("acked_bytes", sa.BigInteger(), nullable=False),
        sa.Column("outcomes_upto", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_covm_lines_out")),
        sa.UniqueConstraint("peer_id", "number", "nonce", name=op.f("uq_covm_lines_out_peer_id_number_nonce")),
    )


def _membership() -> None:
    op.create_table(
        "covm_membership",
        sa.Column("number", _Id, nullable=False),
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_covm_membership")),
    )
    op.create_index("covm_membership_id", "covm_membership", ["id"], unique=True)


def _meta() -> None:
    op.create_table(
        "covm_meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_covm_meta")),
    )


def _outbox() -> None:
    op.create_table(
        "covm_outbox",
        sa.Column("id", _Id, nullable=False),
        sa.Column("line_id", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("mid", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("was_stored", sa.SmallInteger(), nullable=False),
        sa.Column("queued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_covm_outbox")),
        sa.UniqueConstraint("line_id", "seq", name=op.f("uq_covm_outbox_line_id_seq")),
    )
    op.create_index(
        "covm_outbox_expires_at",
        "covm_outbox",
        ["expires_at"],
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )
    op.create_index("covm_outbox_mid", "covm_outbox", ["mid"])


def _outcomes() -> None:
    op.create_table(
        "covm_outcomes",
        sa.Column("id", _Id, nullable=False),
        sa.Column("line_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("mid", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rule", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_covm_outcomes")),
        sa.UniqueConstraint("line_id", "number", name=op.f("uq_covm_outcomes_line_id_number")),
    )


def _peers() -> None:
    op.create_table(
        "covm_peers",
        sa.Column("id", _Id, nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_covm_peers")),
        sa.UniqueConstraint("peer", name=op.f("uq_covm_peers_peer")),
    )


def _seen() -> None:
    op.create_table(
        "covm_seen",
        sa.Column("author_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("mid", sa.LargeBinary(), nullable=False),
        sa.Column("forget_at", sa.BigInteger(), nullable=False),
        sa.Column("inbox_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("author_id", "mid", name=op.f("pk_covm_seen")),
        sqlite_with_rowid=False,
    )
    op.create_index("covm_seen_forget_at", "covm_seen", ["forget_at"])


def _staged() -> None:
    op.create_table(
        "covm_staged",
        sa.Column("id", _Id, nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("mid", sa.LargeBinary(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("queued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_covm_staged")),
    )
    op.create_index("covm_staged_mid", "covm_staged", ["mid"])
