"""The book of an Aave 3.0 market: all accounts of a snapshot with a few array operations.

    C = collateral × liquidation threshold,   D = debt,   one column per price the pool would ask for

Health differs from the protocol's integer by the rounding of the average liquidation threshold to
whole basis points (GenericLogic.sol, calculateUserAccountData): the book's may be the higher one
by up to 1 bps divided by that threshold. All other rounding is below one smallest unit of each
token and 10^-8 USD, which only dust positions notice.
"""

from dataclasses import dataclass

import numpy as np

from keeper.abi.multicall import float64_from_words
from keeper.model.book import QUOTE, Book, Column, Floats, carry_between
from keeper.model.units import BPS, RAY, SECONDS_PER_YEAR, Address
from keeper.protocols.aave_v3_market import USD_UNIT, ZERO_ADDRESS
from keeper.protocols.aave_v3_reading import AaveSnapshot
from keeper.protocols.aave_v3_readset import Field, Flags, Ints

_MODES = 256
DAY_S = 24 * 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRows:
    """Row i of the book is `accounts[i]`. Accounts that cannot be read are left out."""

    accounts: tuple[Address, ...]
    book: Book


def book_rows(snapshot: AaveSnapshot) -> BookRows:
    """Every account that can be read. Columns: the quote currency, one price per reserve, one per
    efficiency mode with a price of its own."""
    reads = snapshot.reads
    account, reserve = reads.leg_account, reads.leg_reserve
    index = np.array([state.reserve.index for state in snapshot.reserves], np.intp)[reserve]
    borrowed, used = snapshot.bits[account, 2 * index], snapshot.bits[account, 2 * index + 1]
    pricing = _pricing(snapshot)
    column, threshold = _valuation(snapshot, pricing)

    def matrices(at: int) -> tuple[Floats, Floats]:
        collateral, debt = _amounts(snapshot, at)
        covered, owed = np.zeros((2, len(reads.accounts), len(pricing.columns)))
        np.add.at(covered, (account, column), np.where(used, collateral * threshold, 0.0))
        np.add.at(owed, (account, column), np.where(borrowed, debt, 0.0))
        return covered, owed

    covered, owed = matrices(snapshot.timestamp)
    later = matrices(snapshot.timestamp + DAY_S)
    readable = snapshot.answered & pricing.mode_priced[snapshot.e_modes]
    np.logical_and.at(readable, account, pricing.priced[column] | ~(used | borrowed))
    return BookRows(
        accounts=tuple(np.array(reads.accounts, object)[readable]),
        book=Book(
            C=covered[readable],
            D=owed[readable],
            p=pricing.prices,
            columns=pricing.columns,
            carry=carry_between((covered, owed), later, pricing.prices, DAY_S)[readable],
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pricing:
    """The columns, and which of them values the members of each efficiency mode."""

    columns: tuple[Column, ...]
    prices: Floats
    """0 where there is no price: no readable row uses it."""
    priced: Flags
    mode_column: Ints
    """By mode; 0 where each asset keeps its own price."""
    mode_priced: Flags


def _pricing(snapshot: AaveSnapshot) -> _Pricing:
    market = snapshot.market
    columns, answers = [QUOTE], [USD_UNIT]
    priced, mode_priced = [True], np.ones(_MODES, np.bool_)
    mode_column = np.zeros(_MODES, np.intp)
    sources = [
        (f"{token.symbol} {token.address}", state.reserve.price_source, state.price)
        for state in snapshot.reserves
        for token in (state.reserve.token,)
    ]
    for category in market.categories:
        if category.price_source is not None:
            price = snapshot.categories[category.index].price
            mode_priced[category.index] = price is not None
            mode_column[category.index] = len(columns) + len(sources) if price != 0 else 0
            sources.append((f"e-mode {category.index}", category.price_source, price))
    for label, source, price in sources:
        feed = market.oracle if source == ZERO_ADDRESS else source
        columns.append(Column(source=feed, label=f"{market.name} {label}"))
        answers.append(price or 0)
        priced.append(price is not None)
    return _Pricing(
        columns=tuple(columns),
        prices=np.array(answers, np.float64) / USD_UNIT,
        priced=np.array(priced),
        mode_column=mode_column,
        mode_priced=mode_priced,
    )


def _valuation(snapshot: AaveSnapshot, pricing: _Pricing) -> tuple[Ints, Floats]:
    """Each leg's column and liquidation threshold."""
    reserve, configurations = (
        snapshot.reads.leg_reserve,
        [state.configuration for state in snapshot.reserves],
    )
    mode = snapshot.e_modes[snapshot.reads.leg_account]
    own_mode = np.array([configuration.e_mode_category for configuration in configurations])
    own_threshold = np.array([c.liquidation_threshold for c in configurations], np.float64)
    mode_threshold = np.zeros(_MODES)
    for category in snapshot.categories.values():
        mode_threshold[category.index] = category.liquidation_threshold
    in_mode = (mode != 0) & (own_mode[reserve] == mode)
    column = np.where(
        in_mode & (pricing.mode_column[mode] > 0), pricing.mode_column[mode], reserve + 1
    )
    threshold = np.where(in_mode, mode_threshold[mode], own_threshold[reserve])
    return column, np.where(own_threshold[reserve] == 0, 0.0, threshold) / BPS


def _amounts(snapshot: AaveSnapshot, at: int) -> tuple[Floats, Floats]:
    """Each leg's collateral and debt in whole tokens, with the interest until then."""
    reads = snapshot.reads
    reserve = reads.leg_reserve
    unit = np.array([s.reserve.token.unit for s in snapshot.reserves], np.float64)[reserve]
    income = np.array([s.normalized_income(at) / RAY for s in snapshot.reserves])[reserve]
    index = np.array([s.normalized_debt(at) / RAY for s in snapshot.reserves])[reserve]
    fields = np.where(reads.leg_rows >= 0, float64_from_words(snapshot.words[reads.leg_rows]), 0.0)
    stable = fields[:, Field.STABLE_PRINCIPAL] * _compounded(
        fields[:, Field.STABLE_RATE], at - fields[:, Field.STABLE_UPDATED_AT]
    )
    debt = fields[:, Field.VARIABLE_DEBT] * index + stable
    return fields[:, Field.COLLATERAL] * income / unit, debt / unit


def _compounded(rate: Floats, elapsed_s: Floats) -> Floats:
    """As `compounded_interest`, which loses much of the third power to truncation."""
    power_two = np.floor(rate * rate / RAY / SECONDS_PER_YEAR**2)
    power_three = np.floor(power_two * rate / RAY / SECONDS_PER_YEAR)
    second = elapsed_s * (elapsed_s - 1.0) / 2.0 * power_two
    third = elapsed_s * (elapsed_s - 1.0) * (elapsed_s - 2.0) / 6.0 * power_three
    return 1.0 + (rate * elapsed_s / SECONDS_PER_YEAR + second + third) / RAY
