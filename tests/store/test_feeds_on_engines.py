"""How far named handlers are in the records of a type, on every engine: given once, passed over, quarantined."""

from __future__ import annotations

from functools import partial

from tests.store.places import Place
from tests.unit.records_world import TYPE, Anybody, Author, Shelf

from covm.federation.dispatch import feed_jobs, inbox_queries, tables
from covm.federation.dispatch.durable import quarantined_body
from covm.federation.dispatch.feed_jobs import Advance, Late, Opened, Quarantined
from covm.federation.ports import LOCAL, SYNC, Publication, PublicationPage
from covm.federation.sync.published import Published
from covm.federation.wire.message import encode_body
from covm.federation.wire.record import SignedRecord

ASH, BIRCH = Author("ash"), Author("birch")
NAME = "archive"


class Story:
    """Eight records, of two authors in turn, and the feed of one handler."""

    def __init__(self, place: Place) -> None:
        self.authority = Anybody()
        self.shelf = Shelf(self.authority, place.store())
        self.published = Published(self.shelf.keeper, ASH.key.peer_id, lambda _types: None)
        self.records: list[SignedRecord] = []
        self.feed = Opened(0, 0, 0, is_new=True, has_passed=False)

    async def begin(self) -> Story:
        await self.shelf.open()
        last: dict[str, SignedRecord] = {}
        for number in range(8):
            author = (ASH, BIRCH)[number % 2]
            record = author.write(f"{number}", number, after=last.get(author.name))
            last[author.name] = record
            self.records.append(record)
            await self.shelf.take(record, bodies=[author.bodies[record.id]])
        self.feed = await self.reopened()
        return self

    async def reopened(self) -> Opened:
        return await self.shelf.store.write(partial(feed_jobs.open_feed, type_name=TYPE, name=NAME))

    async def page(self, after: int, limit: int = 100, limit_bytes: int = 10_000) -> PublicationPage:
        return await self.shelf.store.read(lambda tx: self.published.behind(tx, TYPE, after, limit, limit_bytes))

    async def late(self) -> list[Publication]:
        return (await self.late_page()).publications

    async def late_page(self) -> Late:
        return await self.shelf.store.read(
            lambda tx: feed_jobs.late_page(tx, self.published, TYPE, self.feed.id, 10_000)
        )

    async def advance(self, by: Advance) -> None:
        await self.shelf.store.write(lambda tx: feed_jobs.advance(tx, self.feed.id, by))

    async def ban(self, *authors: Author) -> None:
        self.authority.banned = {author.key.peer_id for author in authors}
        await self.shelf.keeper.reconsider()


def values(publications: list[Publication]) -> list[int]:
    return [each.body.payload for each in publications]


async def test_a_page_has_what_counts_in_order_and_a_feed_goes_on_where_it_was(place: Place) -> None:
    story = await Story(place).begin()
    first = await story.page(0, limit=3)
    assert values(first.publications) == [0, 1, 2]
    assert (first.upto, first.is_all) == (3, False)
    assert [each.record for each in first.publications] == [str(each.id) for each in story.records[:3]]
    assert [each.via for each in first.publications] == [LOCAL, SYNC, LOCAL]
    tight = await story.page(3, limit_bytes=1)
    assert (values(tight.publications), tight.upto, tight.is_all) == ([3], 4, False)
    await story.advance(Advance(4))
    assert (await story.reopened()).position == 4
    await story.advance(Advance(2, attempts=7))
    assert await story.reopened() == Opened(story.feed.id, 4, 0, is_new=False, has_passed=False), "it never goes back"
    await story.advance(Advance(4, attempts=2))
    assert (await story.reopened()).attempts == 2
    rest = await story.page(4)
    assert (values(rest.publications), rest.upto, rest.is_all) == ([4, 5, 6, 7], 8, True)
    assert await story.page(8) == PublicationPage([], [], 8, is_all=True)
    await story.shelf.store.close()


async def test_what_is_void_is_passed_over_and_comes_late_should_it_count_again(place: Place) -> None:
    story = await Story(place).begin()
    await story.advance(Advance(2))
    await story.ban(BIRCH)
    page = await story.page(2)
    assert (values(page.publications), page.void, page.upto) == ([2, 4, 6], [4, 6, 8], 8)
    await story.advance(Advance(8, passed=page.void))
    assert await story.late() == []
    assert (await story.reopened()).has_passed
    await story.ban()
    late = await story.late()
    assert (values(late), [each.position for each in late]) == ([3, 5, 7], [4, 6, 8])
    is_open = partial(feed_jobs.is_open, feed_id=story.feed.id, position=4, is_late=True)
    assert await story.shelf.store.read(is_open)
    await story.advance(Advance(8, late=[4, 8]))
    assert not await story.shelf.store.read(is_open)
    assert values(await story.late()) == [5]
    assert (await story.page(8)).publications == [], "a judgement anew is no new place"
    await story.shelf.store.close()


async def test_what_a_handler_may_have_been_given_before_it_was_passed_over_is_known_when_it_comes_late(
    place: Place,
) -> None:
    story = await Story(place).begin()
    await story.ban(BIRCH)
    await story.advance(Advance(8, passed=[2, -4, 6, -8]))
    await story.ban()
    doubted = await story.late_page()
    assert ([each.position for each in doubted.publications], doubted.may_come_again) == ([4, 8], True)
    await story.advance(Advance(8, late=[4, 8]))
    rest = await story.late_page()
    assert ([each.position for each in rest.publications], rest.may_come_again) == ([2, 6], False)
    await story.advance(Advance(8, late=[2], failed=[6]))
    is_open = partial(feed_jobs.is_open, feed_id=story.feed.id, position=6, is_late=True)
    assert await story.shelf.store.read(is_open)
    failed = await story.late_page()
    assert ([each.position for each in failed.publications], failed.may_come_again) == ([6], True)
    await story.advance(Advance(8, late=[6]))
    assert not await story.late()
    await story.shelf.store.close()


async def test_what_goes_into_quarantine_is_there_once_however_often_that_is_written(place: Place) -> None:
    story = await Story(place).begin()
    [publication] = (await story.page(0, limit=1)).publications
    body = quarantined_body(publication, NAME)
    data = encode_body(body)
    advance = Advance(1, quarantined=[Quarantined(5, 1, body, data, len(data), 3, "it raised", 0)])
    await story.advance(advance)
    find = partial(inbox_queries.find_entry, publications=story.published, mid=body.mid)
    found = await story.shelf.store.read(find)
    assert found is not None
    entry = found.entry
    assert (entry.author, entry.state, entry.attempts) == (publication.body.author, "quarantined", 3)
    assert found.body == body
    assert found.said is not None
    assert (body.payload, found.said.payload, found.said.gone) == (None, publication.body.payload, "")
    discard = partial(inbox_queries.discard_quarantined, inbox_id=5, forget_at_ms=0)
    assert await story.shelf.store.write(discard)
    await story.advance(advance)
    assert await story.shelf.store.read(find) is None
    await story.shelf.store.close()


async def test_a_retried_record_knows_what_it_was_and_for_whom(place: Place) -> None:
    story = await Story(place).begin()
    [publication] = (await story.page(1, limit=1)).publications
    body = quarantined_body(publication, NAME)
    quarantined = Quarantined(5, 2, body, encode_body(body), 100, 3, "it raised", 0)
    await story.advance(Advance(2, quarantined=[quarantined]))
    await story.shelf.store.write(partial(inbox_queries.retry_quarantined, inbox_id=5, new_id=6))
    lane = (publication.body.author, TYPE)
    load = partial(
        inbox_queries.load_lane, publications=story.published, lane=lane, after=0, limit=10, limit_bytes=10_000
    )
    [arrival] = (await story.shelf.store.read(load)).arrivals
    assert (arrival.only, arrival.record, arrival.via) == (NAME, publication.record, SYNC)
    assert arrival.body.payload == publication.body.payload
    assert (arrival.attempts, arrival.out_of_order) == (3, True)
    states = "SELECT count(*) FROM covm_inbox WHERE line_id = :line"
    count = await story.shelf.store.read(lambda tx: tx.execute(states, {"line": tables.NO_LINE}).scalar())
    assert count == 1
    await story.shelf.store.close()
