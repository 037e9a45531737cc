"""What a proxy between a client and its node saw, and the figures that follow from it.

The client is judged from outside: nothing here knows how it works.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from eth_utils.crypto import keccak

Json = dict[str, Any]
SEND = "eth_sendRawTransaction"
POLL = "eth_getBlockByNumber"
CHAIN = "eth_chainId"
"""Rides along wherever the node is asked."""
HASH_CHARACTERS = 66


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One HTTP POST: one round trip, whatever the number of requests in it."""

    at_s: float
    """Monotonic clock, when it had arrived."""
    methods: tuple[str, ...]
    sent: tuple[str, ...]
    """The hashes of the transactions that it broadcasts."""
    at_blocks: frozenset[str]
    """The hashes that it names, among them those of the blocks that it reads at."""

    @property
    def asks(self) -> bool:
        """Whether it asks the node for more than its newest head."""
        return not {SEND, POLL, CHAIN}.issuperset(self.methods)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncedHead:
    """One newHeads frame."""

    at_s: float
    """Monotonic clock, before it was passed on."""
    number: int
    hash: str
    timestamp: int


@dataclass(slots=True)
class Recording:
    """Every POST and every announced head, in the order seen."""

    posts: list[Post] = field(default_factory=list)
    heads: list[AnnouncedHead] = field(default_factory=list)

    def post(self, at_s: float, requests: list[Json]) -> None:
        """Note one POST with its requests."""
        self.posts.append(
            Post(
                at_s=at_s,
                methods=tuple(str(request.get("method")) for request in requests),
                sent=tuple(_sent(requests)),
                at_blocks=frozenset(_hashes(requests)),
            )
        )

    def frame(self, at_s: float, text: str) -> None:
        """Note one WebSocket frame from the node, if it announces a head."""
        message = json.loads(text)
        header = message.get("params", {}).get("result") if isinstance(message, dict) else None
        if isinstance(header, dict) and "parentHash" in header:
            self.heads.append(
                AnnouncedHead(
                    at_s=at_s,
                    number=int(header["number"], 16),
                    hash=header["hash"],
                    timestamp=int(header["timestamp"], 16),
                )
            )

    def reads_per_block(self) -> int:
        """The most round trips for any one block, simulations included, until the first broadcast
        that follows them. A round trip is for the announced block that it reads at, however late; if
        it names none, for the newest. Broadcasts and polls for the newest head are not counted."""
        reads = Counter[str]()
        decided: set[str] = set()
        for post in self.posts:
            block = self._block_of(post)
            if post.asks and block is not None and block not in decided:
                reads[block] += 1
            if post.sent:
                decided |= reads.keys()
        return max(reads.values(), default=0)

    def broadcasts(self) -> int:
        """How many different transactions were broadcast."""
        return len({transaction for post in self.posts for transaction in post.sent})

    def head_to_broadcast_ms(self, decided_at: Mapping[str, int]) -> list[float]:
        """Per sent transaction: from its head's announcement to its first broadcast.

        `decided_at` gives the number of the head that a transaction, by its hash, was decided on;
        transactions or heads that were not seen here are left out."""
        announced = {head.number: head.at_s for head in self.heads}
        first: dict[str, float] = {}
        for post in self.posts:
            for transaction in post.sent:
                first.setdefault(transaction, post.at_s)
        return [
            (at_s - announced[decided_at[transaction]]) * 1000
            for transaction, at_s in first.items()
            if decided_at.get(transaction) in announced
        ]

    def _block_of(self, post: Post) -> str | None:
        announced = [head.hash for head in self.heads if head.at_s <= post.at_s]
        named = [block for block in announced if block in post.at_blocks]
        return next(reversed(named or announced), None)


def _sent(requests: list[Json]) -> Iterator[str]:
    for request in requests:
        if request.get("method") == SEND:
            yield "0x" + keccak(hexstr=request["params"][0]).hex()


def _hashes(requests: list[Json]) -> Iterator[str]:
    for request in requests:
        for given in request.get("params", ()):
            told = given.get("blockHash") if isinstance(given, dict) else given
            if isinstance(told, str) and len(told) == HASH_CHARACTERS:
                yield told
