"""What a transactional handler may ask of its transaction, and for how long."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.schema import DropTable
from tests.unit.inbox_world import NOTE, accounting, opened
from tests.unit.simulated_world import leaping

from covm.federation import Message
from covm.federation.dispatch import tables
from covm.federation.dispatch.transaction import Tx, check_statement


@leaping
async def test_a_transaction_is_over_with_its_handler() -> None:
    async with accounting(await opened()) as (w, stream):
        kept: list[Tx] = []

        def keeps(message: Message[Any], tx: Tx) -> None:
            kept.append(tx)

        w.subscribe(keeps, transactional=True)
        stream.send(1)
        await stream.until_told(1)
        for use in (
            lambda: kept[0].execute("SELECT 1"),
            lambda: kept[0].send_direct("cleo", NOTE, 1),
            lambda: kept[0].publish(NOTE, 1),
        ):
            with pytest.raises(RuntimeError, match="this transaction is over"):
                use()


@pytest.mark.parametrize(
    "text",
    [
        "COMMIT",
        " rollback ",
        "-- nothing\nBEGIN",
        "/* x */ savepoint a",
        "PRAGMA journal_mode=DELETE",
        "attach 'x' as y",
        "RELEASE a",
        "END",
        "SET TRANSACTION READ ONLY",
        "SELECT 1; COMMIT",
        "VACUUM",
    ],
)
def test_a_handler_may_not_begin_or_end_transactions(text: str) -> None:
    with pytest.raises(ValueError, match=r"not for handlers|one statement a call"):
        check_statement(text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'a; COMMIT'",
        "INSERT INTO notes VALUES (1);",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; END",
        "CREATE FUNCTION f() RETURNS int AS $x$ BEGIN; END $x$ LANGUAGE plpgsql",
        "UPDATE commits SET begin = 1",
    ],
)
def test_what_only_looks_like_it_is_no_trouble(text: str) -> None:
    check_statement(text)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE covm_inbox",
        'delete from "covm_seen"',
        "/* all */ UPDATE [COVM_OUTBOX] SET state = 1",
        "WITH gone AS (DELETE FROM covm_inbox RETURNING id) SELECT * FROM gone",
        "CREATE TRIGGER t AFTER INSERT ON covm_inbox BEGIN DELETE FROM covm_seen; END",
        "CREATE TABLE covm_mine (a int)",
        tables.inbox.delete(),
        DropTable(tables.seen),
    ],
    ids=str,
)
@leaping
async def test_a_handler_may_not_write_to_the_nodes_own_tables(statement: Any) -> None:
    """One that did would lose messages, or have their effects twice, and break the node that goes on with it."""
    async with accounting(await opened()) as (w, _):
        with pytest.raises(ValueError, match="are the node's"):
            await w.dispatcher.transaction(lambda tx: tx.execute(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM covm_inbox",
        "SELECT 'DROP TABLE covm_inbox'",
        select(func.count()).select_from(tables.seen),
    ],
    ids=str,
)
@leaping
async def test_a_handler_may_read_the_nodes_own_tables(statement: Any) -> None:
    async with accounting(await opened()) as (w, _):
        assert await w.dispatcher.transaction(lambda tx: tx.execute(statement).scalar()) is not None
