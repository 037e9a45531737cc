"""The book of a Perp v2 venue: up to four rows for each account, whose danger is the nearest.

    margin       C = margin + Σ size × (mark − entry) − funding,   D = maintenance rate × Σ |size| × mark
    collateral   the same against the higher rate at which margin tokens are sold
    debt         C − D = settlement value + allowed share × haircut value of the margin tokens
    threshold    C − D = settlement value + the debt allowed in any case

The last three exist only where an account holds margin tokens. Their D is the maintenance margin
too, so that a row without debt yet has a boundary: its health differs from the protocol's integer,
its distance does not. In the first two rows health differs by rounding below one unit of the
settlement token.
"""

from dataclasses import dataclass

import numpy as np

from keeper.model.book import QUOTE, Book, Column, Floats, carry_between
from keeper.model.reading import ReadingError
from keeper.model.units import Address
from keeper.protocols.perp_v2_math import RATIO, WAD18
from keeper.protocols.perp_v2_position import PerpPosition
from keeper.protocols.perp_v2_reading import PerpSnapshot, mark_label

HOUR_S = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRows:
    """Row i of the book is of `accounts[i]`. Accounts that cannot be read are left out."""

    accounts: tuple[Address, ...]
    book: Book


def book_rows(snapshot: PerpSnapshot) -> BookRows:
    """Every account that can be read. Columns: the quote currency, the mark of each market, the
    price of each margin token."""
    columns, prices, at = _columns(snapshot)
    accounts: list[Address] = []
    covered, owed = [], []
    later: tuple[list[Floats], list[Floats]] = ([], [])
    for account, position in snapshot.positions.items():
        if isinstance(position, ReadingError):
            continue
        for C, D in _rows(position, len(columns), at):
            accounts.append(account)
            covered.append(C)
            owed.append(D)
        for C, D in _rows(position.accrued(position.timestamp + HOUR_S), len(columns), at):
            later[0].append(C)
            later[1].append(D)
    shape = (len(accounts), len(columns))
    C, D, C_later, D_later = (np.array(each).reshape(shape) for each in (covered, owed, *later))
    return BookRows(
        accounts=tuple(accounts),
        book=Book(
            C=C,
            D=D,
            p=np.array(prices),
            columns=tuple(columns),
            carry=carry_between((C, D), (C_later, D_later), np.array(prices), HOUR_S),
        ),
    )


def _columns(snapshot: PerpSnapshot) -> tuple[list[Column], list[float], dict[Address, int]]:
    """With the place of each base and margin token."""
    venue, columns, prices, at = snapshot.venue, [QUOTE], [1.0], {}
    for state in snapshot.perps:
        if state is not None:
            at[state.perp.token.address] = len(columns)
            columns.append(Column(source=state.perp.aggregator, label=mark_label(venue, state)))
            prices.append(state.price / WAD18)
    for margin in snapshot.margins:
        if margin is not None:
            token = margin.margin.token
            at[token.address] = len(columns)
            source = margin.margin.aggregator or margin.margin.price_feed
            columns.append(
                Column(source=source, label=f"{venue.name} margin {token.address} {token.symbol}")
            )
            prices.append(margin.price / 10**margin.margin.price_decimals)
    return columns, prices, at


def _rows(
    position: PerpPosition, width: int, at: dict[Address, int]
) -> list[tuple[Floats, Floats]]:
    settled, held, size = (np.zeros(width) for _ in range(3))
    unit = position.venue.settlement.unit
    settled[0] = position.balance / unit + position.owed_pnl / WAD18
    for leg in position.legs:
        k = at[leg.state.perp.token.address]
        settled[0] += (leg.open_notional - leg.funding) / WAD18
        settled[k] += leg.counted / WAD18
        size[k] += abs(leg.counted) / WAD18
    for holding in position.holdings:
        token = holding.state.margin.token
        share = holding.state.collateral_ratio / RATIO
        held[at[token.address]] += holding.balance / token.unit * share
    terms = position.terms
    maintenance = terms.mm_ratio / RATIO * size
    rows = [(settled + held, maintenance)] if size.any() else []
    if held.any():
        buffered = (terms.mm_ratio + terms.mm_ratio_buffer) / RATIO * size
        beside = maintenance if size.any() else _one(width)
        threshold = _one(width) * (position.debt_threshold / unit)
        if size.any():
            rows.append((settled + held, buffered))
        rows.append((settled + terms.debt_ratio / RATIO * held + beside, beside))
        rows.append((settled + threshold + beside, beside))
    return rows or [(settled, np.zeros(width))]


def _one(width: int) -> Floats:
    found = np.zeros(width)
    found[0] = 1.0
    return found
