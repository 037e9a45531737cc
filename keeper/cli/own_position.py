"""A live account's position, as rows to replay over the past."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keeper.model.errors import ConfigurationError, Problem, TemporaryError

if TYPE_CHECKING:  # the chain's modules take their second when the command runs, not in its help
    from keeper.backtest.positions import Known, Row
    from keeper.scouting import Seen

GAS_USD: Final = 20.0
LATENCY_MIN: Final = 1.0
PRICED_LIKE: Final = {"wstETH": "stETH"}
"""A wrapped token, whose price is the other's times a number that hardly moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPosition:
    """`threshold` is the share of its collateral's value that counts."""

    market: str
    pair: str
    health: float
    debt_usd: float
    threshold: float


def own_positions(config: Path | None, account: str) -> list[OwnPosition]:
    """The account's loans in the configured Aave markets. Raises `ConfigurationError` where there is
    nothing that can be replayed."""
    from eth_utils.address import is_address, to_checksum_address

    from keeper.chain.rpc import EndpointUnavailableError
    from keeper.config import default_path, load_settings
    from keeper.model.units import Address
    from keeper.scouting import scout

    if not is_address(account):
        raise _wrong(f"{account} is no address", "write 0x and 40 hexadecimal digits")
    settings = load_settings(config or default_path())
    where = Address(to_checksum_address(account))
    markets = {
        name: market for name, market in settings.markets.items() if market.protocol == "aave_v3"
    }
    try:
        scouted = asyncio.run(scout(settings.chain.rpc_url, [where], markets.values()))
    except EndpointUnavailableError as error:
        raise TemporaryError(str(error)) from None
    owing = [seen for seen in scouted.positions if seen.state.debt_usd8]
    if not owing:
        raise _wrong(
            f"{where} owes nothing in {', '.join(markets) or 'any market'}",
            "name an account that has debt, or give --positions",
        )
    return [_own(seen) for seen in owing]


def _own(seen: Seen) -> OwnPosition:
    from keeper.forecast.names import Asset
    from keeper.model.units import float_from_wad

    names = []
    for amounts, what in ((seen.collaterals, "collateral"), (seen.debts, "debt")):
        symbols = [amount.token.symbol for amount in amounts]
        asset = Asset.of(f"{symbols[0]} / USD") if len(symbols) == 1 else None
        if asset is None:
            raise _wrong(
                f"the position in {seen.market.name} has as {what} {', '.join(symbols) or 'nothing'}",
                "only one collateral against one debt can be replayed; give --positions",
            )
        names.append(PRICED_LIKE.get(asset.name, asset.name))
    base, quote = names
    if base == quote:
        raise _wrong(
            f"the position in {seen.market.name} owes {quote} against {base}: no price moves it",
            "name another account, or give --positions",
        )
    health = seen.state.health
    assert health is not None
    debt_usd, collateral_usd = seen.state.debt_usd8 / 1e8, seen.state.collateral_usd8 / 1e8
    now = float_from_wad(health)
    if now <= 1.0:
        raise _wrong(
            f"the position in {seen.market.name} is below health 1 now", "it cannot be replayed"
        )
    return OwnPosition(
        market=seen.market.name,
        pair=f"{base}/{quote}",
        health=now,
        debt_usd=debt_usd,
        threshold=now * debt_usd / collateral_usd,
    )


def rows_of(own: list[OwnPosition], known: Known, begin: float, stop: float) -> list[Row]:
    """The same health, debt in dollars and threshold from every day of the prices on."""
    from keeper.backtest.positions import EPISODE_S, Row, quote_usd
    from keeper.forecast.realised import DAY_S

    rows: list[Row] = []
    for each in own:
        first = int(-(-begin // DAY_S)) * DAY_S
        for start in range(first, int(stop) - EPISODE_S + 1, DAY_S):
            track = next((t for t in known[each.pair] if t.has(start, start + EPISODE_S)), None)
            if track is None:
                continue
            place = f"the position in {each.market} as of day {start // DAY_S}"
            debt = each.debt_usd / quote_usd(each.pair, start, known, place)
            price = float(track.oracle[track.step(start)])
            rows.append(
                Row(
                    place=place,
                    pair=each.pair,
                    collateral_amount=each.health * debt / (each.threshold * price),
                    debt_amount=debt,
                    health_start=each.health,
                    gas_usd=GAS_USD,
                    latency_min=LATENCY_MIN,
                    reserve_share=0.0,
                    start=float(start),
                )
            )
        print(
            f"{each.market}: {each.pair} at health {each.health:.4f}, debt {each.debt_usd:,.2f} USD, "
            f"threshold {each.threshold:.4f}; started anew on every day, with gas at {GAS_USD:g} USD, "
            f"{LATENCY_MIN:g} min of latency and no reserve",
            file=sys.stderr,
        )
    return rows


def _wrong(what: str, fix: str) -> ConfigurationError:
    why = "the account's own position is what is replayed"
    return ConfigurationError(Problem(where="--address", what=what, why=why, fix=fix))
