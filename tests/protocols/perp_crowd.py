"""Many accounts of every kind on the local chain's Perp v2, days old, with funding owed both ways.

Kinds: longs, shorts, pairs of both markets, margin in other tokens, and an account without any
position.
"""

from collections.abc import Iterator
from itertools import cycle, islice
from random import Random

from keeper.abi.erc20 import APPROVE
from keeper.abi.perp_v2 import Vault
from keeper.abi.words import MAX_UINT256
from keeper.devnet.chain import BLOCK_GAS_LIMIT
from keeper.devnet.deployment import raw_amount
from keeper.devnet.perp_market import PerpMarket
from keeper.model.units import WAD, Address
from tests.protocols.crowd import MINT, Member, Sent, send_all

KINDS = ("long", "short", "pair", "ether margin", "dai margin", "indebted", "idle")
_PRICES = {"WETH": 2281, "DAI": 1, "USDC": 1}
_MARKETS = {"pair": ("vETH", "vBTC")}
_SIGNS = {"short": -1}
DAY_S = 24 * 3600


def gather(perp: PerpMarket, size: int, seed: int) -> tuple[Member, ...]:
    """Let `size` accounts take positions, then move both pools away from their index for days."""
    chain, random = perp.chain, Random(seed)
    members = tuple(
        Member(kind, chain.account(f"perp {kind} {number}").address)
        for number, kind in enumerate(islice(cycle(KINDS), size))
    )
    chain.rpc.call("evm_setBlockGasLimit", hex(10**12))
    plans = [list(_plan(perp, member, random)) for member in members]
    send_all(chain, [sent for plan in plans for sent in plan])
    _steer(perp, {"vETH": 2_281.37 * 1.03, "vBTC": 42_265.19 * 0.98}, days=2)
    # Some settle what they owe, others let it grow.
    again = [_trade(perp, m.account, "vETH", 10**17 + 7) for m in members[::5] if m.kind != "idle"]
    send_all(chain, again)
    _steer(perp, {"vETH": 2_281.37 * 0.93, "vBTC": 42_265.19 * 1.04}, days=1)
    chain.set_price("WETH", 2_150_70463211)
    chain.set_price("DAI", 99_860_003)
    chain.mine(chain.timestamp() + 700)
    chain.rpc.call("evm_setBlockGasLimit", hex(BLOCK_GAS_LIMIT))
    return members


def _steer(perp: PerpMarket, prices: dict[str, float], *, days: int) -> None:
    arbitrageur = perp.chain.account("perp_arbitrageur").address
    house = perp.perp.clearing_house.address
    moves = ((symbol, perp.steering(symbol, price)) for symbol, price in prices.items())
    send_all(perp.chain, [(arbitrageur, house, data) for _, data in moves if data is not None])
    perp.chain.mine(perp.chain.timestamp() + days * DAY_S + 5)


def _plan(perp: PerpMarket, member: Member, random: Random) -> Iterator[Sent]:
    account, worth = member.account, 10.0 ** random.uniform(2.5, 4)
    margins = {"USDC": worth}
    if member.kind == "ether margin":
        margins = {"USDC": worth / 2, "WETH": worth}
    elif member.kind == "dai margin":
        margins = {"DAI": worth, "WETH": worth / 3}
    elif member.kind == "indebted":
        margins = {"WETH": worth}
    for symbol, usd in margins.items():
        raw = raw_amount(symbol, int(usd), _PRICES[symbol] * 10**8) + random.randint(1, 9)
        token, vault = perp.chain.contracts.tokens[symbol].address, perp.perp.vault.address
        yield account, token, MINT.encode(account, raw)
        yield account, token, APPROVE.encode(vault, MAX_UINT256)
        yield account, vault, Vault.DEPOSIT_FOR.encode(account, token, raw)
    if member.kind == "idle":
        return
    leverage = random.uniform(0.5, 5) if member.kind != "indebted" else random.uniform(5, 7)
    sign = _SIGNS.get(member.kind) or random.choice((-1, 1) if member.kind != "long" else (1,))
    markets = _MARKETS.get(member.kind) or (random.choice(("vETH", "vBTC")),)
    for place, symbol in enumerate(markets):
        quote = int(sign * (-1) ** place * worth * leverage / len(markets) * WAD)
        yield _trade(perp, account, symbol, quote)


def _trade(perp: PerpMarket, account: Address, symbol: str, quote: int) -> Sent:
    house = perp.perp.clearing_house
    return (
        account,
        house.address,
        house.encode("openPosition", perp.order(symbol, amount=quote, in_base=False)),
    )
