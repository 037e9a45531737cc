"""Several endpoints as one: asked in their order of preference, each failing over to the next.

The chain's id rides along in every POST that reads, so that an endpoint which serves another chain,
from the beginning or after a fail-over behind its URL, is caught before any of its answers is used.
Which endpoint is asked follows from how each stands; the last one is asked however it stands, since
a keeper without endpoint protects nobody.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from keeper.chain import standing
from keeper.chain.rpc import (
    EndpointUnavailableError,
    RateLimitedError,
    Request,
    Rpc,
    RpcError,
)
from keeper.chain.send_errors import limited
from keeper.chain.settings import ChainSettings, Use
from keeper.chain.simulate import NOT_SUPPORTED
from keeper.chain.standing import EndpointState, Standing

log = structlog.get_logger()

Clock = Callable[[], float]

CHAIN_ID = Request(method="eth_chainId", params=())
STATE_METHODS = frozenset(
    {
        "eth_call",
        "eth_simulateV1",
        "eth_getBalance",
        "eth_getTransactionCount",
        "eth_getCode",
        "eth_getStorageAt",
    }
)
"""What a node without the state of a block refuses. What rides along, such as receipts and the fee
history, it answers all the same."""
PATIENCE_S = 3.0
"""How long an endpoint may take where another one could answer; alone it has the HTTP timeout."""


class WrongChainError(EndpointUnavailableError):
    """The endpoint serves another chain; nothing that it said has been used."""


class Endpoint:
    """One endpoint whose answers are held against the chain, and which knows how it stands."""

    def __init__(
        self,
        rpc: Rpc,
        *,
        chain_id: int,
        ws_url: str | None = None,
        use: Use = Use.ALL,
        clock: Clock = time.monotonic,
    ) -> None:
        self.name = rpc.name
        self.ws_url = ws_url
        self.use = use
        self.state = EndpointState()
        self.alone = False
        """Whether there is no other that reads: then it is taken back when it is right again."""
        self._rpc = rpc
        self._chain_id = chain_id
        self._clock = clock

    async def batch(
        self, requests: Sequence[Request], *, patience_s: float | None = None
    ) -> list[Any | RpcError]:
        """As `Rpc.batch`. Raises `WrongChainError` where another chain answered, and
        `RateLimitedError` where every answer is that we ask too often."""
        try:
            async with asyncio.timeout(patience_s):
                told, *answers = await self._rpc.batch([CHAIN_ID, *requests])
            limits = self._limits([told, *answers])
            if limits is not None and all(map(_is_limit, answers)):
                raise limits
            self._check_chain(told)
        except TimeoutError:
            error = EndpointUnavailableError(f"{self.name} is unavailable: timed out")
            self._lose(error)
            raise error from None
        except EndpointUnavailableError as error:
            self._lose(error)
            raise
        if limits is not None:
            self._lose(limits)
        else:
            known = EndpointState() if self.alone else self.state
            self._turn(standing.answered(known, now_s=self._clock()))
        return answers

    async def call(self, method: str, *params: Any) -> Any:
        """One request in a POST of its own, such as a send: nothing rides along."""
        if self.state.standing is Standing.WRONG_CHAIN:
            raise WrongChainError(f"{self.name} serves another chain")
        return await self._rpc.call(method, *params)

    async def read(self, method: str, *params: Any, patience_s: float | None = None) -> Any:
        """As `Rpc.read`."""
        (answer,) = await self.batch([Request(method=method, params=params)], patience_s=patience_s)
        return _answer_of(self.name, answer)

    async def chain_id(self) -> int:
        """The chain that it serves, whichever it is. Raises `EndpointUnavailableError`."""
        return _chain_id(self.name, await self._rpc.read("eth_chainId"))

    async def close(self) -> None:
        """Close the connections."""
        await self._rpc.close()

    def showed_head(self, number: int, pool_head: int) -> None:
        """It told its newest head."""
        self._turn(standing.showed_head(self.state, number, pool_head=pool_head))

    def contradicted(self) -> None:
        """Most of the others said otherwise at the same block."""
        self._turn(standing.contradicted(self.state, now_s=self._clock()))

    def put_last(self) -> None:
        """It refused, or did not tell, what another may: it is asked after the others for a while."""
        if not self.comes_last:
            log.warning("endpoint.put_last", endpoint=self.name)
        self.state = standing.put_last(self.state, now_s=self._clock())

    @property
    def comes_last(self) -> bool:
        """Whether it was put last of late."""
        return self._clock() < self.state.after_others_until_s

    @property
    def posted(self) -> int:
        """How many requests have been posted to it."""
        return self._rpc.posted

    @property
    def pause_s(self) -> float:
        """How long it should be left in peace. One that is outvoted answers as it should, and may at
        any moment be the last that does."""
        if self.state.standing is Standing.OUTVOTED:
            return 0.0
        return max(0.0, self.state.retry_at_s - self._clock())

    def _check_chain(self, told: Any) -> None:
        found = _chain_id(self.name, told)
        if found != self._chain_id:
            raise WrongChainError(f"{self.name} serves chain {found}, not {self._chain_id}")

    def _limits(self, answers: Sequence[Any | RpcError]) -> RateLimitedError | None:
        refusals = [each for each in answers if _is_limit(each)]
        return RateLimitedError(f"{self.name} limits us: {refusals[0]}") if refusals else None

    def _lose(self, error: EndpointUnavailableError) -> None:
        now_s = self._clock()
        match error:
            case WrongChainError():
                after = standing.of_another_chain(self.state, now_s=now_s)
            case RateLimitedError():
                after = standing.limited(self.state, now_s=now_s, retry_after_s=error.retry_after_s)
            case _:
                after = standing.failed(self.state, now_s=now_s)
        self._turn(after, reason=str(error))

    def _turn(self, after: EndpointState, *, reason: str = "") -> None:
        before, self.state = self.state.standing, after
        if after.standing is not before:
            bad = {Standing.WRONG_CHAIN, Standing.OUTVOTED}
            say = (
                log.info
                if after.standing is Standing.ALIVE
                else log.error
                if after.standing in bad
                else log.warning
            )
            say(
                "endpoint.state",
                endpoint=self.name,
                state=after.standing.name.lower(),
                before=before.name.lower(),
                reason=reason,
            )


class Pool:
    """The endpoints of one chain, asked as if they were one."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        """`endpoints` in order of preference; at least one reads."""
        self.endpoints = tuple(endpoints)
        self.readers = tuple(each for each in endpoints if each.use.reads)
        self.readers[0].alone = len(self.readers) == 1

    @classmethod
    def of(cls, chain: ChainSettings, *, clock: Clock = time.monotonic) -> "Pool":
        """Over the configured endpoints."""
        return cls(
            [
                Endpoint(
                    Rpc(each.url, name=each.name),
                    chain_id=chain.chain_id,
                    ws_url=each.ws_url,
                    use=each.use,
                    clock=clock,
                )
                for each in chain.endpoints
            ]
        )

    @property
    def name(self) -> str:
        """Of the endpoint that would be asked now."""
        return self.in_order()[0].name

    @property
    def posted(self) -> int:
        """How many requests have been posted to all of them."""
        return sum(each.posted for each in self.endpoints)

    def in_order(self) -> list[Endpoint]:
        """Those that read, from the one to be asked first: by how they stand, then those first that
        have state and the newest head, then as configured. One of another chain only if all are."""
        newest = max(each.state.head_number for each in self.readers)
        ranked = sorted(
            self.readers,
            key=lambda each: (
                each.state.standing,
                each.comes_last,
                each.state.head_number < newest,
            ),
        )
        usable = [each for each in ranked if each.state.standing is not Standing.WRONG_CHAIN]
        return usable or ranked

    def beside(self, reader: Endpoint | None) -> list[Endpoint]:
        """The live endpoints but the one that was read, whichever would be asked first by now."""
        return [
            each
            for each in self.in_order()
            if each is not reader and each.state.standing is Standing.ALIVE
        ]

    def is_outvoted(self, endpoint: Endpoint) -> bool:
        """Whether most others contradicted it, and one that is alive can be followed instead."""
        alive = any(each.state.standing is Standing.ALIVE for each in self.readers)
        return endpoint.state.standing is Standing.OUTVOTED and alive

    async def batch(self, requests: Sequence[Request]) -> list[Any | RpcError]:
        """As `Rpc.batch`, by the first endpoint that answers."""
        answers, _ = await self.answered(requests)
        return answers

    async def answered(self, requests: Sequence[Request]) -> tuple[list[Any | RpcError], Endpoint]:
        """The answers, and the first endpoint that gave them. One that refuses all that asks for the
        state of a block, as it does at a block that it does not know or has forgotten, or that runs no
        call, is passed over unless all do."""
        refusals: list[tuple[list[Any | RpcError], Endpoint]] = []
        failure: EndpointUnavailableError | None = None
        candidates = self.in_order()
        patience_s = PATIENCE_S if len(candidates) > 1 else None
        for endpoint in candidates:
            try:
                answers = await endpoint.batch(requests, patience_s=patience_s)
            except EndpointUnavailableError as error:
                failure = failure or error
                continue
            refused = _refused(requests, answers)
            if not refused:
                for asked, without in refusals:
                    if _lacks_state(_refused(requests, asked)):
                        without.put_last()
                return answers, endpoint
            refusals.append((answers, endpoint))
        if not refusals:
            assert failure is not None
            raise failure
        return refusals[0]

    async def call(self, method: str, *params: Any) -> Any:
        """As `Rpc.call`, by the endpoint that is asked first: one POST, which nobody repeats."""
        return await self.in_order()[0].call(method, *params)

    async def read(self, method: str, *params: Any) -> Any:
        """As `Rpc.read`, by the first endpoint that answers."""
        (answer,) = await self.batch([Request(method=method, params=params)])
        return _answer_of(self.name, answer)

    async def ask_all(self, request: Request) -> list[Any]:
        """What the endpoints that read say, asked side by side, one POST each. Those that do not
        answer and those that refuse are left out."""
        asked = [each for each in self.readers if each.state.standing is not Standing.WRONG_CHAIN]
        given = await asyncio.gather(
            *(each.read(request.method, *request.params, patience_s=PATIENCE_S) for each in asked),
            return_exceptions=True,
        )
        for each in given:
            if isinstance(each, BaseException) and not isinstance(each, EndpointUnavailableError):
                raise each
        return [each for each in given if not isinstance(each, BaseException)]

    async def close(self) -> None:
        """Close all connections."""
        for endpoint in self.endpoints:
            await endpoint.close()


def _refused(requests: Sequence[Request], answers: Sequence[Any | RpcError]) -> list[RpcError]:
    """The refusals, if nothing was told of the state of a block, or no call was run, whatever else
    was told; of anything at all, where none of the requests asks for state."""
    asked = list(zip(requests, answers, strict=True))
    of_state = [answer for request, answer in asked if request.method in STATE_METHODS]
    calls = [answer for request, answer in asked if request.method == "eth_call"]
    for group in (of_state or list(answers), calls):
        refusals = [answer for answer in group if isinstance(answer, RpcError)]
        if refusals and len(refusals) == len(group):
            return refusals
    return []


def _lacks_state(refusals: Sequence[RpcError]) -> bool:
    """Whether these are of a node without the state: not of one that does not know the method, and
    no reverts, which are answers."""
    return not any(
        each.code in NOT_SUPPORTED or each.revert or "revert" in each.message.lower()
        for each in refusals
    )


def _is_limit(answer: Any | RpcError) -> bool:
    return isinstance(answer, RpcError) and limited(answer.code, answer.message)


def _chain_id(name: str, told: Any) -> int:
    try:
        return int(told, 16)
    except (TypeError, ValueError):
        raise EndpointUnavailableError(f"{name} does not tell its chain: {told!r:.80}") from None


def _answer_of(name: str, answer: Any | RpcError) -> Any:
    """What every node can answer: an error is then the node's trouble."""
    if isinstance(answer, RpcError):
        raise EndpointUnavailableError(f"{name} refused {answer}") from answer
    return answer
