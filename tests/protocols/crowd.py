"""Many accounts with positions of every kind in the local chain's Aave market, months old.

Kinds: plain ones, both efficiency modes (the second has a price of its own), stable debt, stable
and variable debt in one reserve, collateral switched off, and accounts with nothing but a wallet.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice
from random import Random

from keeper.abi.aave_v3 import Pool
from keeper.abi.erc20 import APPROVE
from keeper.abi.words import MAX_UINT256, Function
from keeper.devnet.chain import BLOCK_GAS_LIMIT, STABLE_RATE, VARIABLE_RATE, LocalChain
from keeper.devnet.deployment import TOKEN_DECIMALS, raw_amount
from keeper.model.units import Address

PRICED_CATEGORY = 2
PRICE_KEY = Address("0x00000000000000000000000000000000000E0de2")
"""What the oracle knows the second category's own price by."""

KINDS = ("plain", "e-mode", "priced e-mode", "stable", "both rates", "switched off", "wallet")
ALL = tuple(TOKEN_DECIMALS)
_MODES = {"e-mode": 1, "priced e-mode": PRICED_CATEGORY}
_RATES = {"stable": (STABLE_RATE,), "both rates": (STABLE_RATE, VARIABLE_RATE)}
_STABLECOINS, _VOLATILE = ("USDC", "DAI"), ("WETH", "WBTC")
_PRICES = {"WETH": 2281, "WBTC": 42265, "USDC": 1, "DAI": 1}
_ODD_PRICES = {"WETH": 1_913_70463211, "WBTC": 39_001_99999999, "USDC": 1_00031417, "DAI": 99860003}

MINT = Function("mint(address,uint256)")
SET_E_MODE = Function("setUserEMode(uint8)")
SET_COLLATERAL = Function("setUserUseReserveAsCollateral(address,bool)")
BORROW = Function("borrow(address,uint256,uint256,uint16,address)")

AT_ONCE = 15
"""Accounts whose transactions share a block."""

Sent = tuple[Address, Address, bytes]
"""From, to, data."""


@dataclass(frozen=True, slots=True)
class Member:
    """One account of the crowd."""

    kind: str
    account: Address


def add_priced_category(chain: LocalChain) -> None:
    """WETH and WBTC become an efficiency mode that values both at the price of WBTC's feed."""
    admin, aave = chain.account("deployer").address, chain.contracts.aave
    feed = chain.contracts.feeds["WBTC"].address
    chain.transact(admin, aave.oracle, "setAssetSources", [PRICE_KEY], [feed])
    terms = (8_500, 9_000, 10_200, PRICE_KEY, "Volatile")
    chain.transact(admin, aave.pool_configurator, "setEModeCategory", PRICED_CATEGORY, *terms)
    for symbol in _VOLATILE:
        token = chain.contracts.tokens[symbol].address
        chain.transact(
            admin, aave.pool_configurator, "setAssetEModeCategory", token, PRICED_CATEGORY
        )


def gather(chain: LocalChain, size: int, seed: int) -> tuple[Member, ...]:
    """Let `size` accounts take positions, and 33 days pass at odd prices."""
    random = Random(seed)
    members = tuple(
        Member(kind, chain.account(f"{kind} {number}").address)
        for number, kind in enumerate(islice(cycle(KINDS), size))
    )
    plans = [list(_plan(chain, member, random)) for member in members]
    chain.rpc.call("evm_setBlockGasLimit", hex(10**12))
    # In blocks of a few: what a block costs Anvil grows with the square of its transactions.
    for begin in range(0, size, AT_ONCE):
        send_all(chain, [sent for plan in plans[begin : begin + AT_ONCE] for sent in plan])
    chain.mine(chain.timestamp() + 17 * 24 * 3600 + 5)
    # Some reserves are updated once more, others keep the index of their last borrower.
    send_all(chain, [_supply(chain, members[0].account, "WETH", 10**15 + 7)])
    chain.mine(chain.timestamp() + 16 * 24 * 3600 + 11)
    chain.rpc.call("evm_setBlockGasLimit", hex(BLOCK_GAS_LIMIT))
    for symbol, answer in _ODD_PRICES.items():
        chain.set_price(symbol, answer)
    return members


def _plan(chain: LocalChain, member: Member, random: Random) -> Iterator[Sent]:
    account, pool = member.account, chain.contracts.aave.pool.address
    for symbol in TOKEN_DECIMALS:
        token = chain.contracts.tokens[symbol].address
        yield account, token, MINT.encode(account, _raw(symbol, 5e6, random))
        if member.kind != "wallet":
            yield account, token, APPROVE.encode(pool, MAX_UINT256)
    if member.kind == "wallet":
        return
    collaterals, debts = _assets(member.kind, random)
    worth = 10.0 ** random.uniform(2, 6)
    for symbol in collaterals:
        yield _supply(chain, account, symbol, _raw(symbol, worth, random))
    if member.kind in _MODES:
        yield account, pool, SET_E_MODE.encode(_MODES[member.kind])
    if member.kind == "switched off":
        off = chain.contracts.tokens[collaterals.pop()].address
        yield account, pool, SET_COLLATERAL.encode(off, False)
    rates = _RATES.get(member.kind, (VARIABLE_RATE,))
    room = 0.65 * worth * len(collaterals) / len(debts) / len(rates)
    for symbol in debts:
        asset = chain.contracts.tokens[symbol].address
        dear = 20 if member.kind == "priced e-mode" and symbol == "WETH" else 1
        for rate in rates:
            amount = _raw(symbol, room / dear * random.uniform(0.5, 1), random)
            yield account, pool, BORROW.encode(asset, amount, rate, 0, account)


def _assets(kind: str, random: Random) -> tuple[list[str], list[str]]:
    """What the account supplies and borrows, as far as its kind allows."""
    collaterals, debts = _sample(random, ALL), _sample(random, ALL)
    if kind in _MODES:
        members = _STABLECOINS if kind == "e-mode" else _VOLATILE
        collaterals = sorted({*collaterals, random.choice(members)})
        debts = _sample(random, members)
    if kind in _RATES:
        debts = _sample(random, _STABLECOINS)
        collaterals = sorted({*collaterals, *_VOLATILE} - set(debts))
    if kind == "switched off":
        collaterals = sorted({*collaterals, *_VOLATILE})
        random.shuffle(collaterals)
    return collaterals, debts


def _sample(random: Random, symbols: Sequence[str]) -> list[str]:
    return random.sample(symbols, random.randint(1, len(symbols)))


def _raw(symbol: str, usd: float, random: Random) -> int:
    """About so many dollars' worth, with an odd last digit."""
    return raw_amount(symbol, int(usd), _PRICES[symbol] * 10**8) + random.randint(1, 9)


def _supply(chain: LocalChain, account: Address, symbol: str, amount: int) -> Sent:
    token = chain.contracts.tokens[symbol].address
    pool = chain.contracts.aave.pool.address
    return account, pool, Pool.SUPPLY.encode(token, amount, account, 0)


def send_all(chain: LocalChain, transactions: Sequence[Sent]) -> None:
    """Into one block; every one must succeed."""
    senders = list({sender: None for sender, _, _ in transactions})
    counts = chain.rpc.batch([("eth_getTransactionCount", (s, "latest")) for s in senders])
    nonces = {sender: count(int(start, 16)) for sender, start in zip(senders, counts, strict=True)}
    requests = [
        {
            "from": sender,
            "to": to,
            "data": "0x" + data.hex(),
            "nonce": hex(next(nonces[sender])),
            "gas": hex(2_000_000),
            "maxFeePerGas": hex(2 * chain.spec.base_fee_wei),
        }
        for sender, to, data in transactions
    ]
    hashes = chain.rpc.batch([("eth_sendTransaction", (request,)) for request in requests])
    chain.mine()
    receipts = chain.rpc.batch([("eth_getTransactionReceipt", (sent,)) for sent in hashes])
    for transaction, receipt in zip(transactions, receipts, strict=True):
        assert receipt is not None, transaction
        assert receipt["status"] == "0x1", transaction
