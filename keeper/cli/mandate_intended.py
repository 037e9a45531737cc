"""What a mandate of the configuration comes to on a market: its tokens, amounts and delegation."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from keeper.config.checks import check_tokens
from keeper.mandate.owner import Intended, IntendedMove
from keeper.model.units import Address, Amount, Token
from keeper.protocols import aave_v3, perp_v2
from keeper.protocols.perp_v2 import PerpVenue

if TYPE_CHECKING:
    from keeper.config.settings import MandateSettings, Settings
    from keeper.protocols.aave_v3 import AaveMarket


def intended(
    settings: Settings,
    chosen: MandateSettings,
    market: AaveMarket | PerpVenue,
    guardian: Address,
    source: AaveMarket | PerpVenue | None = None,
) -> Intended:
    """`source`: from where margin is to be moved. Raises `ConfigurationError` for what the markets do
    not have."""
    if isinstance(market, PerpVenue):
        return _of_perps(settings, chosen, market, guardian, source)
    return _of_loans(settings, chosen, market, guardian)


def _of_loans(
    settings: Settings, chosen: MandateSettings, market: AaveMarket, guardian: Address
) -> Intended:
    check_tokens(settings, aave_v3.derived_tokens(market))
    reserves = {reserve.token.address: reserve for reserve in market.reserves}
    tokens = {address: reserve.token for address, reserve in reserves.items()}
    fix = f"name one of {', '.join(f'{t.symbol} {t.address}' for t in tokens.values())}"
    why = "only what the market lends or takes as collateral can be used"
    path = ("mandates", chosen.name)
    sellable = _amounts(settings, (*path, "collaterals"), chosen.collaterals, tokens, why, fix)
    return Intended(
        guardian=guardian,
        market=market.provider,
        owner=chosen.account,
        mandate=chosen.mandate,
        oracle=market.oracle,
        a_tokens={token: reserves[token].a_token for token in sellable},
        takeable=sellable,
        from_reserve=_amounts(
            settings, (*path, "reserve_tokens"), chosen.reserve_tokens, tokens, why, fix
        ),
    )


def _of_perps(
    settings: Settings,
    chosen: MandateSettings,
    venue: PerpVenue,
    guardian: Address,
    source: AaveMarket | PerpVenue | None,
) -> Intended:
    check_tokens(settings, perp_v2.derived_tokens(venue))
    markets = {perp.token.address: perp.token.symbol for perp in venue.perps}
    for token in chosen.mandate.collaterals:
        if token not in markets:
            raise settings.error(
                *("mandates", chosen.name, "base_tokens"),
                what=f"{token} is none of the markets that [markets.{venue.name}] lists",
                why="keeper would not watch a position there, and could not make it smaller",
                fix=f"name one of {', '.join(f'{s} {a}' for a, s in markets.items())}, or list it "
                f"in [markets.{venue.name}] as well",
            )
    dollars, a_tokens = venue.settlement, dict[Address, Address]()
    takeable, move = dict[Address, Amount](), None
    if chosen.move is not None and isinstance(source, aave_v3.AaveMarket):
        path = ("mandates", chosen.name, "move")
        move = IntendedMove(
            market=source.provider, floor=chosen.move.floor, limit_max=chosen.move.limit_max
        )
        a_tokens = {
            r.token.address: r.a_token
            for r in source.reserves
            if r.token.address == dollars.address
        }
        takeable = _amounts(
            settings,
            path,
            {dollars.address: chosen.move.allowance},
            dict.fromkeys(a_tokens, dollars),
            f"margin is moved in {dollars.symbol}, in which {venue.name} settles",
            "name a market that lends it, or take the section away",
        )
    return Intended(
        guardian=guardian,
        market=venue.clearing_house,
        owner=chosen.account,
        mandate=chosen.mandate,
        a_tokens=a_tokens,
        takeable=takeable,
        from_reserve=_amounts(
            settings,
            ("mandates", chosen.name, "reserve_tokens"),
            chosen.reserve_tokens,
            {dollars.address: dollars},
            "a perp guardian pays in the venue's settlement token alone",
            f"name {dollars.symbol} {dollars.address}",
        ),
        delegation=venue.delegate_approval,
        move=move,
    )


def _amounts(
    settings: Settings,
    path: tuple[str, ...],
    written: Mapping[Address, Decimal],
    tokens: Mapping[Address, Token],
    why: str,
    fix: str,
) -> dict[Address, Amount]:
    found = {}
    for address, amount in written.items():
        token = tokens.get(address)
        if token is None:
            raise settings.error(
                *path, what=f"{address} is no asset of this market", why=why, fix=fix
            )
        raw = amount.scaleb(token.decimals)
        if raw != raw.to_integral_value():
            raise settings.error(
                *path,
                what=f"{amount} {token.symbol} has more than {token.decimals} decimals",
                why="there is no such part of the token",
                fix="write fewer decimals",
            )
        found[address] = Amount(raw=int(raw), token=token)
    return found
