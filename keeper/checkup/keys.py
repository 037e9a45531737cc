"""Keys, their gas money, and what their owners allow them."""

from collections.abc import AsyncIterator, Sequence

from keeper.admission import is_local, opened
from keeper.chain.pool import Pool
from keeper.chain.reader import Reader
from keeper.chain.signer import Signer
from keeper.checkup.line import Line, of_error
from keeper.config.checks import check_signer
from keeper.config.settings import PositionSettings, Settings
from keeper.engine.watch import Watched
from keeper.mandate.charter import Charter, read_charter
from keeper.mandate.guardian import objection
from keeper.model.errors import ConfigurationError, TemporaryError
from keeper.model.reading import ReadingError
from keeper.model.units import Wad
from keeper.model.values import Head
from keeper.watching import guardian_code, watched_positions

VERIFY = "keeper mandate verify"


async def key_lines(settings: Settings, pool: Pool, head: Head) -> AsyncIterator[Line]:
    """Every signer once, as the first position that it signs for needs it."""
    local = await is_local(pool)
    seen: set[str] = set()
    for position in settings.positions:
        if position.signer in seen:
            continue
        seen.add(position.signer)
        topic = f"key {position.signer}"
        try:
            signer = await opened(settings, position.signer)
        except (ConfigurationError, TemporaryError) as error:
            line = of_error(topic, "warn", error)
            what = f"{line.what} (a dry run needs no key)"
            yield Line(topic=topic, verdict="warn", what=what, fix=line.fix)
            continue
        try:
            check_signer(settings, position, signer.address, local=local)
            yield Line(topic=topic, verdict="ok", what=f"it opens, and is {signer.address}")
            yield await _gas(settings, pool, head, signer)
        except ConfigurationError as error:
            yield of_error(topic, "fail", error)
        finally:
            await signer.close()


async def _gas(settings: Settings, pool: Pool, head: Head, signer: Signer) -> Line:
    held = int(await pool.read("eth_getBalance", signer.address, {"blockHash": head.hash}), 16)
    least = settings.service.min_gas_wei
    enough = held >= least
    return Line(
        topic="gas money",
        verdict="ok" if enough else "fail",
        what=f"{signer.name} holds {held / 1e18:,.4f} of the chain's coin, of which {least / 1e18:.4f} "
        "are wanted",
        fix="" if enough else f"send {(least - held) / 1e18:.4f} or more to {signer.address}",
    )


async def mandate_lines(
    settings: Settings, pool: Pool, head: Head, watched: Sequence[Watched]
) -> AsyncIterator[Line]:
    """Whether each position's guardian would let the keeper act now. `watched`: with the policies in
    force; those of the configuration hold for what is not among them."""
    rows = {each.label: each for each in (*watched_positions(settings), *watched)}
    reader = Reader(pool, multicall=settings.chain.multicall)
    for position in settings.positions:
        topic = f"mandate {position.label}"
        if position.guardian is None:
            what = "none is needed: the account's own key acts, and allows the pool what it pays"
            yield Line(topic=topic, verdict="ok", what=what)
            continue
        market = settings.markets[position.market].entry
        (charter,), _ = await reader.read([read_charter(position.guardian, market)], at=head.hash)
        code = await pool.read("eth_getCode", position.guardian, {"blockHash": head.hash})
        row = rows[position.label]
        yield _mandate(settings, topic, position, row, charter, bytes.fromhex(code[2:]), head)


def _mandate(
    settings: Settings,
    topic: str,
    position: PositionSettings,
    row: Watched,
    charter: Charter | ReadingError,
    code: bytes,
    head: Head,
) -> Line:
    if isinstance(charter, ReadingError):
        return of_error(topic, "fail", charter, fix=VERIFY)
    protocol = settings.markets[position.market].protocol
    if not guardian_code(protocol).is_at(position.account, code):
        what = f"the code at {position.guardian} is not this version's guardian"
        return Line(topic=topic, verdict="fail", what=what, fix=VERIFY)
    assert row.guard is not None
    why = objection(
        row.guard,
        charter,
        account=position.account,
        # Below it any mandate that fits the policy lets the keeper act.
        health=Wad(row.policy.floor - 1),
        now=head.timestamp,
        until=head.timestamp,
    )
    if why is not None:
        return Line(topic=topic, verdict="fail", what=why, fix=VERIFY)
    return Line(topic=topic, verdict="ok", what=f"it allows {charter.available / 1e8:,.0f} USD now")
