"""Guardians for accounts of the local chain, set up as `keeper mandate set` sets them up."""

import json
from collections.abc import Mapping
from fractions import Fraction

from eth_utils.address import to_checksum_address

from keeper.abi.erc20 import APPROVE
from keeper.devnet.chain import LocalChain, TransactionFailedError
from keeper.devnet.perp import SETTLEMENT
from keeper.devnet.perp_market import PerpMarket
from keeper.devnet.uniswap import MAX_UINT256, PoolKey
from keeper.mandate.charter import ALLOW_MOVE, set_mandate
from keeper.mandate.deployment import GuardianCode
from keeper.mandate.owner import Intended, setting
from keeper.mandate.survey import Survey
from keeper.model.mandate import NOBODY, Mandate
from keeper.model.units import SECONDS_PER_DAY, WAD, Address, Amount, Bps, Wad
from keeper.model.values import Transaction
from keeper.resources import resource

POOLS: tuple[PoolKey, ...] = (("WETH", "USDC", 500), ("WETH", "USDC", 3_000))
LIMIT_USD8 = 200_000 * 10**8
PERP_LIMIT_USD8 = 10_000_000 * 10**8
OPEN_POSITION = 1
"""DelegateApproval's one action: whoever has it may open, grow, turn and reduce."""
MIN_ACTION_USD8 = 50 * 10**8
SET_UP_GAS = 10_000_000
VALID_S = 365 * SECONDS_PER_DAY
COOLDOWN_S = 12
ABOVE_TARGET = Fraction("1.02")
"""The mandate's target above the policy's, so that the last units are the keeper's to choose."""

PERP_ABOVE_TARGET = Fraction("1.002")
"""Hardly: a reduction is sized at the worst quote, and a better one leads beyond the policy's target."""


def place_guardian(
    chain: LocalChain,
    *,
    owner: Address,
    keeper: Address,
    target: Fraction,
    sellable: Mapping[str, int],
    reserve: Mapping[str, int],
) -> Intended:
    """Deploy the owner's guardian and set its mandate, which is returned: `keeper` may act below `target`, sell the
    collateral (raw units by symbol) on `POOLS`, and use the owner's own tokens as the reserve."""
    contracts = chain.contracts
    code = _code("aave_guardian")
    tokens = {symbol: contracts.token(symbol) for symbol in {*sellable, *reserve}}
    a_tokens = {tokens[symbol].address: _a_token(chain, symbol) for symbol in sellable}
    intended = Intended(
        guardian=code.address(owner),
        market=contracts.aave.pool_addresses_provider.address,
        owner=owner,
        mandate=_mandate(
            chain,
            owner=owner,
            keeper=keeper,
            max_health_to_act=target,
            target=target * ABOVE_TARGET,
            slippage_urgent_bps=200,
            limit_usd8=LIMIT_USD8,
            collaterals=tuple(a_tokens),
            pools=tuple(contracts.uniswap.pools[key].address for key in POOLS),
        ),
        a_tokens=a_tokens,
        takeable=_amounts(chain, sellable),
        from_reserve=_amounts(chain, reserve),
    )
    nothing_yet = Survey(
        a_token_allowances=dict.fromkeys(a_tokens, 0),
        reserve_allowances=dict.fromkeys(intended.from_reserve, 0),
        consent_until=0,
        pools=(),
    )
    for transaction in setting(intended, nothing_yet, code, None):
        _send(chain, owner, transaction)
    return intended


def place_perp_guardian(
    perp: PerpMarket, *, owner: Address, keeper: Address, target: Fraction, reserve: int
) -> Address:
    """Deploy the owner's perp guardian, set its mandate and let it trade for the owner: `keeper` may
    act below `target`, make positions in ether smaller, and use `reserve` raw units of the owner's
    own dollars."""
    chain, house = perp.chain, perp.perp.clearing_house.address
    code = _code("perp_guardian")
    mandate = _mandate(
        chain,
        owner=owner,
        keeper=keeper,
        max_health_to_act=target,
        target=target * PERP_ABOVE_TARGET,
        slippage_urgent_bps=125,
        limit_usd8=PERP_LIMIT_USD8,
        collaterals=(perp.perp.base_tokens["vETH"].address,),
        pools=(),
    )
    guardian = code.address(owner)
    _send(chain, owner, code.deploy(owner))
    _send(
        chain,
        owner,
        Transaction(to=guardian, data=set_mandate(house, mandate), purpose="set a mandate"),
    )
    chain.transact(owner, perp.perp.delegate_approval, "approve", guardian, OPEN_POSITION)
    if reserve:
        chain.transact(owner, chain.contracts.tokens[SETTLEMENT], "approve", guardian, reserve)
    return guardian


def allow_moves(perp: PerpMarket, *, owner: Address, guardian: Address, floor: Wad) -> None:
    """Let the owner's perp guardian bring margin over from the owner's loan, down to that health."""
    chain = perp.chain
    source = chain.contracts.aave.pool_addresses_provider.address
    limits = (PERP_LIMIT_USD8, PERP_LIMIT_USD8 // SECONDS_PER_DAY, chain.timestamp() + VALID_S)
    house = perp.perp.clearing_house.address
    lent = _a_token(chain, SETTLEMENT)
    for to, data in (
        (guardian, ALLOW_MOVE.encode(house, source, floor, *limits)),
        (lent, APPROVE.encode(guardian, MAX_UINT256)),
    ):
        _send(chain, owner, Transaction(to=to, data=data, purpose="let margin be moved"))


def _mandate(
    chain: LocalChain,
    *,
    owner: Address,
    keeper: Address,
    max_health_to_act: Fraction,
    target: Fraction,
    slippage_urgent_bps: int,
    limit_usd8: int,
    collaterals: tuple[Address, ...],
    pools: tuple[Address, ...],
) -> Mandate:
    """Healths are rounded down; the owner's own wallet is the reserve, and there is no emergency."""
    return Mandate(
        keeper=keeper,
        freezer=NOBODY,
        reserve=owner,
        max_health_to_act=Wad(int(max_health_to_act * WAD)),
        target=Wad(int(target * WAD)),
        emergency_health=Wad(0),
        emergency_outlives_expiry=False,
        slippage_calm_bps=Bps(50),
        slippage_urgent_bps=Bps(slippage_urgent_bps),
        limit_max=limit_usd8,
        limit_per_second=limit_usd8 // SECONDS_PER_DAY,
        min_action=MIN_ACTION_USD8,
        cooldown_s=COOLDOWN_S,
        expiry=(chain.timestamp() + VALID_S) // SECONDS_PER_DAY * SECONDS_PER_DAY,
        max_hops=1,
        collaterals=collaterals,
        pools=pools,
        emergency_collateral=NOBODY,
        emergency_debt=NOBODY,
        emergency_route=(),
    )


def _code(name: str) -> GuardianCode:
    document = resource("contracts_abi", "guardian", f"{name}.json").read_text()
    return GuardianCode.of(json.loads(document))


def _send(chain: LocalChain, owner: Address, transaction: Transaction) -> None:
    sent = chain.send(owner, transaction.to, transaction.data, gas=SET_UP_GAS)
    chain.mine()
    if chain.rpc.call("eth_getTransactionReceipt", sent)["status"] != "0x1":
        raise TransactionFailedError(f"{transaction.purpose} reverted")


def _a_token(chain: LocalChain, symbol: str) -> Address:
    aave, token = chain.contracts.aave, chain.contracts.tokens[symbol]
    found: str = chain.read(aave.pool, "getReserveData", token.address)[8]
    return Address(to_checksum_address(found))


def _amounts(chain: LocalChain, raws: Mapping[str, int]) -> dict[Address, Amount]:
    tokens = {symbol: chain.contracts.token(symbol) for symbol in raws}
    return {
        tokens[symbol].address: Amount(raw=raw, token=tokens[symbol])
        for symbol, raw in raws.items()
        if raw
    }
