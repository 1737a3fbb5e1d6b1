"""Two cooperatives in one program: one publishes a proposal, the other receives it and answers directly."""

import asyncio
from datetime import timedelta

from covm.federation import FederationConfig, FederationService, Identity, Message
from covm.governance import Proposal

PROPOSAL = Proposal(
    id="solar-roof",
    title="A solar roof for the mill",
    author="Mill Bakery",
    options=["yes", "no", "next year"],
    created_at=1_795_199_400_000,
)


def node(name: str) -> FederationService:
    """A node that lives in memory, on this machine alone, with a new key."""
    config = FederationConfig.preset("local", name=name, membership="open", network="hello")
    return FederationService(Identity.generate(), config, types=[Proposal])


async def main() -> None:
    answered = asyncio.Event()
    async with node("Mill Bakery") as mill, node("Riverside Farm") as farm:

        @farm.subscribe(Proposal)
        async def on_proposal(message: Message[Proposal]) -> None:
            author = farm.get_peer_info(message.author)
            print(f"{farm.name} received {message.payload.title!r}, signed by {author.name}")
            receipt = await farm.send_direct(message.author, "private.message", "We are in.")
            await receipt.handled(timeout=timedelta(seconds=10))
            print(f"{farm.name} knows that its answer was {receipt.state}")
            answered.set()

        @mill.subscribe("private.message")
        def on_answer(message: Message[str]) -> None:
            print(f"{mill.name} reads: {message.payload}")

        await mill.connect_peer(farm.addresses[0])
        print(f"{mill.name} publishes a proposal")
        published = await mill.publish(PROPOSAL)
        await asyncio.wait_for(answered.wait(), timeout=10)
        print(f"That was message {published.id[:8]}, to {published.peers} peer")


asyncio.run(main())
