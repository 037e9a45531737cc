"""Broadcasting: the same signed bytes to every endpoint that sends, one POST each, side by side.

Nothing here repeats a POST, and nothing that goes wrong here says that the bytes are not on their
way: an answer that was lost, and an error that nobody knows, are `UNANSWERED`. The caller watches
the hash, and sends the same bytes or none.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from keeper.chain.pool import Pool
from keeper.chain.rpc import EndpointUnavailableError, RateLimitedError, RpcError
from keeper.chain.send_errors import SendOutcome, classified
from keeper.chain.settings import Use

__all__ = ["Broadcaster", "Reply", "SendOutcome", "Sent", "combined"]

log = structlog.get_logger()

SEND = "eth_sendRawTransaction"
SEND_WITHIN_S = 10.0
"""A node that has not answered by then is not waited for."""
OTHERS_WITHIN_S = 0.5
"""How long the others may take when one has the bytes already; their POSTs go on meanwhile."""

KEPT_HASHES = 1_000
"""Of what was sent privately and may have to be sent to all."""

_FIRST_COUNTS = (
    SendOutcome.ACCEPTED,
    SendOutcome.ALREADY_KNOWN,
    SendOutcome.NONCE_TOO_LOW,
    SendOutcome.REPLACEMENT_UNDERPRICED,
    SendOutcome.FEE_TOO_LOW,
    SendOutcome.NONCE_TOO_HIGH,
    SendOutcome.INSUFFICIENT_FUNDS,
    SendOutcome.UNANSWERED,
    SendOutcome.LIMITED,
    SendOutcome.REJECTED,
)
"""One node that has the bytes is enough. After that the answer counts that tells most; what is done
about it uses the same nonce, and so cannot run beside bytes that another node may have taken. A
rejection counts only if it is everybody's."""


class Sender(Protocol):
    """An endpoint that takes transactions."""

    @property
    def name(self) -> str: ...
    async def call(self, method: str, *params: Any) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one endpoint made of the bytes; `reason` is empty where it took them."""

    endpoint: str
    outcome: SendOutcome
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came of a broadcast."""

    outcome: SendOutcome
    replies: tuple[Reply, ...]

    @property
    def reason(self) -> str:
        """Of the reply that counts."""
        return next((each.reason for each in self.replies if each.outcome is self.outcome), "")


class Broadcaster:
    """Sends over one or several endpoints, private ones first if there are any."""

    def __init__(
        self,
        senders: Sequence[Sender],
        *,
        private: Sequence[Sender] = (),
        private_only: bool = False,
    ) -> None:
        if private_only and not private:
            raise ValueError("there is no private endpoint, and no other may be sent to")
        self._public = () if private_only else tuple(senders)
        self._private = tuple(private)
        self._late: set[asyncio.Task[Reply]] = set()
        self._kept_private: OrderedDict[str, None] = OrderedDict()

    @classmethod
    def over(cls, pool: Pool, *, private_only: bool) -> "Broadcaster":
        """Over the endpoints of a pool that take transactions."""
        return cls(
            [each for each in pool.endpoints if each.use in (Use.ALL, Use.SEND)],
            private=[each for each in pool.endpoints if each.use is Use.PRIVATE],
            private_only=private_only,
        )

    async def send(self, raw: bytes, tx_hash: str) -> Sent:
        """One POST to each endpoint. Never raises for what a node does or fails to do.

        As soon as one has the bytes, the others get a moment and then finish behind the caller's
        back. What is sent for the first time goes to the private endpoints alone, if there are any
        and one of them takes it; the same bytes again, because no block has them yet, to all."""
        if not self._private or tx_hash in self._kept_private:
            return await self._posted_to((*self._private, *self._public), raw, tx_hash)
        sent = await self._posted_to(self._private, raw, tx_hash)
        if sent.outcome.taken:
            self._kept_private[tx_hash] = None
            if len(self._kept_private) > KEPT_HASHES:
                self._kept_private.popitem(last=False)
            return sent
        if not self._public:
            return sent
        public = await self._posted_to(self._public, raw, tx_hash)
        replies = (*sent.replies, *public.replies)
        return Sent(outcome=combined(reply.outcome for reply in replies), replies=replies)

    async def _posted_to(self, senders: Sequence[Sender], raw: bytes, tx_hash: str) -> Sent:
        posts = [
            asyncio.create_task(_posted(sender, raw, tx_hash), name="send") for sender in senders
        ]
        pending = set(posts)
        try:
            async with asyncio.timeout(SEND_WITHIN_S) as limit:
                while pending:
                    done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    if any(post.result().outcome.taken for post in done):
                        soon = asyncio.get_running_loop().time() + OTHERS_WITHIN_S
                        limit.reschedule(min(soon, limit.when() or soon))
        except TimeoutError:
            pass
        finally:
            self._leave(post for post in posts if not post.done())
        replies = tuple(
            post.result()
            if post.done()
            else Reply(
                endpoint=sender.name,
                outcome=SendOutcome.UNANSWERED,
                reason=f"{sender.name} has not answered yet",
            )
            for sender, post in zip(senders, posts, strict=True)
        )
        return Sent(outcome=combined(reply.outcome for reply in replies), replies=replies)

    async def close(self) -> None:
        """Give up what is still on its way."""
        for post in self._late:
            post.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    def _leave(self, posts: Iterable[asyncio.Task[Reply]]) -> None:
        for post in posts:
            self._late.add(post)
            post.add_done_callback(self._late.discard)


def combined(outcomes: Iterable[SendOutcome]) -> SendOutcome:
    """What several nodes' answers amount to; without any, nothing was sent and nothing is known."""
    given = set(outcomes)
    return next((each for each in _FIRST_COUNTS if each in given), SendOutcome.UNANSWERED)


async def _posted(sender: Sender, raw: bytes, tx_hash: str) -> Reply:
    outcome, reason = SendOutcome.ACCEPTED, ""
    try:
        answer = await sender.call(SEND, "0x" + raw.hex())
    except RpcError as error:
        outcome, reason = classified(error.code, error.message), str(error)
    except RateLimitedError as error:
        outcome, reason = SendOutcome.LIMITED, str(error)
    except EndpointUnavailableError as error:
        outcome, reason = SendOutcome.UNANSWERED, str(error)
    else:
        if str(answer).lower() != tx_hash.lower():
            outcome = SendOutcome.UNANSWERED
            reason = f"{sender.name} answered with another transaction's hash"
    if not outcome.taken:
        log.warning(
            "send.not_taken",
            endpoint=sender.name,
            tx_hash=tx_hash,
            outcome=outcome.value,
            reason=reason,
        )
    return Reply(endpoint=sender.name, outcome=outcome, reason=reason)
