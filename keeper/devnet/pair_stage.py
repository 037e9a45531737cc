"""Opens a hedged pair twice, its legs in accounts of their own and in one.

With the accounts' own keys it is a loan against ether and a short, each pair with the same reserve in
its wallets: where the legs are in one account, whichever is in danger is paid for from all of it. With
guardians it is dollars lent against borrowed ether and a long, and no reserve at all: where the legs
are in one account, its owner lets margin be moved from the loan.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Final

from keeper.devnet.aave import RESERVES
from keeper.devnet.accounts import DevAccount
from keeper.devnet.pair import SEPARATELY, TOGETHER, Leg, Pair, PairDemo
from keeper.devnet.perp import SETTLEMENT
from keeper.devnet.perp_stage import LEVERAGE, PERP_TWINS, SIZE_ETH, PerpGround, perp_grounded
from keeper.devnet.scenario import Scenario
from keeper.devnet.toolchain import Toolchain
from keeper.devnet.twins import COLLATERAL_WETH, HEALTH_AT_START, WATCHFUL, Mode, Policy
from keeper.devnet.wards import allow_moves, place_guardian, place_perp_guardian
from keeper.model.units import BPS, WAD, Wad

LOAN: Final = Leg(name="loan", market="aave", policy=WATCHFUL)
SHORT: Final = Leg(
    name="short",
    market="perp",
    policy=Policy(floor="2.20", target="4.00", trigger_probability="0.10"),
)
(_FORECAST,) = (twin.policy for twin in PERP_TWINS if twin.name == "forecast" and twin.policy)
LONG: Final = Leg(name="long", market="perp", policy=_FORECAST)
RESERVE: Final = Fraction(1, 5)
"""Of the debt, in each pair's wallets together: a wallet with half of it cannot keep the loan."""
SOURCE_FLOOR: Final = Wad(145 * WAD // 100)
"""Left in the loan: above the target of its own policy."""


@contextmanager
def paired(
    scenario: Scenario,
    toolchain: Toolchain,
    folder: Path,
    *,
    environ: Mapping[str, str],
    show: Callable[[str], None],
    mode: Mode = "direct",
    reserve: Fraction | None = None,
) -> Iterator[PairDemo]:
    """Start the chain and open both pairs at the scenario's first price; stop on leaving. `reserve`
    is what lies in each pair's wallets together, as a share of the debt: none with guardians."""
    with perp_grounded(scenario, toolchain) as ground:
        if mode == "guardian":
            keeper = ground.chain.account("keeper")
            legs, pairs, whole = (LOAN, LONG), _guarded(ground, keeper), 0
        else:
            keeper, legs = None, (LOAN, SHORT)
            debt_raw = _debt_raw(ground)
            whole = int(debt_raw * (RESERVE if reserve is None else reserve))
            pairs = _with_wallets(ground, debt_raw, whole)
        yield PairDemo(
            scenario=scenario,
            ground=ground,
            legs=legs,
            pairs=pairs,
            keeper=keeper,
            reserve_raw=whole,
            folder=folder,
            environ=environ,
            show=show,
        )


def _with_wallets(ground: PerpGround, debt_raw: int, reserve_raw: int) -> tuple[Pair, ...]:
    """The loan's dollars are spent; the short is as large as the loan's collateral."""
    chain = ground.chain
    unit, sink = chain.contracts.token("WETH").unit, chain.account("market_maker").address
    pairs = _accounts(ground, SHORT)
    for pair in pairs:
        loan, short = pair.loan.address, pair.perp.address
        chain.open_position(
            loan, collateral={"WETH": COLLATERAL_WETH * unit}, debt={SETTLEMENT: debt_raw}
        )
        chain.transact(loan, chain.contracts.tokens[SETTLEMENT], "transfer", sink, debt_raw)
        ground.perp.deposit(short, SETTLEMENT, _dollars(ground, COLLATERAL_WETH) // LEVERAGE)
        ground.perp.trade(short, "vETH", base=-COLLATERAL_WETH * WAD)
        for account in pair.accounts:
            if reserve_raw:
                chain.mint(SETTLEMENT, account, reserve_raw // len(pair.accounts))
    return pairs


def _guarded(ground: PerpGround, keeper: DevAccount) -> tuple[Pair, ...]:
    """The borrowed ether is sold; the long is as large as it."""
    chain = ground.chain
    unit, sink = chain.contracts.token("WETH").unit, chain.account("market_maker").address
    found = []
    for pair in _accounts(ground, LONG):
        loan, long = pair.loan.address, pair.perp.address
        chain.open_position(
            loan,
            collateral={SETTLEMENT: _lent_raw(ground)},
            debt={"WETH": SIZE_ETH * unit},
        )
        chain.transact(loan, chain.contracts.tokens["WETH"], "transfer", sink, SIZE_ETH * unit)
        ground.perp.deposit(long, SETTLEMENT, _dollars(ground, SIZE_ETH) // LEVERAGE)
        ground.perp.trade(long, "vETH", base=SIZE_ETH * WAD)
        ground.perp.steer("vETH", _answer(ground) / 1e8)
        # Nothing of the loan has to be sold on a day on which ether falls.
        of_loan = place_guardian(
            chain,
            owner=loan,
            keeper=keeper.address,
            target=Fraction(WATCHFUL.target),
            sellable={},
            reserve={},
        ).guardian
        of_long = place_perp_guardian(
            ground.perp,
            owner=long,
            keeper=keeper.address,
            target=Fraction(LONG.policy.target),
            reserve=0,
        )
        if loan == long:
            allow_moves(ground.perp, owner=long, guardian=of_long, floor=SOURCE_FLOOR)
        found.append(
            Pair(name=pair.name, loan=pair.loan, perp=pair.perp, guardians=(of_loan, of_long))
        )
    return tuple(found)


def _accounts(ground: PerpGround, perp: Leg) -> tuple[Pair, ...]:
    chain = ground.chain
    both = chain.account("paired")
    return (
        Pair(
            name=SEPARATELY,
            loan=chain.account("loan-alone"),
            perp=chain.account(f"{perp.name}-alone"),
        ),
        Pair(name=TOGETHER, loan=both, perp=both),
    )


def _answer(ground: PerpGround) -> int:
    return int(ground.chain.read(ground.chain.contracts.feeds["WETH"], "latestRoundData")[1])


def _dollars(ground: PerpGround, ether: int) -> int:
    """What so much is worth, in raw units of the settlement token."""
    return ether * _answer(ground) * ground.chain.contracts.token(SETTLEMENT).unit // 10**8


def _debt_raw(ground: PerpGround) -> int:
    counted = COLLATERAL_WETH * _answer(ground) * RESERVES["WETH"].liquidation_threshold // BPS
    unit = ground.chain.contracts.token(SETTLEMENT).unit
    return int(counted * WAD // HEALTH_AT_START) * unit // 10**8


def _lent_raw(ground: PerpGround) -> int:
    """As much that the borrowed ether begins at the same health."""
    worth = _dollars(ground, SIZE_ETH) * HEALTH_AT_START // WAD
    return worth * BPS // RESERVES[SETTLEMENT].liquidation_threshold
