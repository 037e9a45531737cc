"""Looks at the chain after each block, straight at the node and apart from the keeper."""

from collections.abc import Sequence
from dataclasses import dataclass

from eth_utils.address import to_checksum_address

from keeper.abi.erc20 import BALANCE_OF, TRANSFERRED
from keeper.abi.words import encode_word
from keeper.chain.allowances import APPROVAL
from keeper.devnet.chain import LocalChain
from keeper.devnet.market import Market
from keeper.devnet.report import KeyTold
from keeper.devnet.views import BlockView, decode_account, guardian_sales, paid_fees, pool_events
from keeper.model.units import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Sees what the given accounts have, what they did and what was done to them."""

    market: Market
    accounts: tuple[Address, ...]

    def look(self, number: int) -> BlockView:
        """The block of this number, in one round trip."""
        chain = self.market.chain
        contracts, block = chain.contracts, hex(number)
        reserves = [token.address for token in contracts.tokens.values()]
        calls = [
            (
                contracts.aave.oracle.address,
                contracts.aave.oracle.encode("getAssetsPrices", reserves),
            ),
            *(
                (contracts.aave.pool.address, contracts.aave.pool.encode("getUserAccountData", one))
                for one in self.accounts
            ),
        ]
        header, receipts, *outputs = chain.rpc.batch(
            [
                ("eth_getBlockByNumber", (block, False)),
                ("eth_getBlockReceipts", (block,)),
                *(
                    ("eth_call", ({"to": to, "data": "0x" + data.hex()}, block))
                    for to, data in calls
                ),
            ]
        )
        prices, *views = (bytes.fromhex(output[2:]) for output in outputs)
        answers = contracts.aave.oracle.interface.decode("getAssetsPrices", 1, prices)
        return BlockView(
            number=number,
            timestamp=int(header["timestamp"], 16),
            gas_price_wei=int(header["baseFeePerGas"], 16),
            market_price=self.market.price("WETH"),
            prices_usd8=dict(zip(reserves, answers, strict=True)),
            accounts={
                address: decode_account(view)
                for address, view in zip(self.accounts, views, strict=True)
            },
            events=pool_events(receipts, contracts.aave.pool.address),
            sales=guardian_sales(receipts),
            fees=paid_fees(receipts),
        )


def key_told(chain: LocalChain, keeper: Address, guardians: Sequence[Address]) -> KeyTold:
    """What the keeper's account has and did, over the whole life of the chain: of every contract that
    ever moved a token to it, whatever token that is."""
    word = "0x" + encode_word(keeper).hex()
    received = _logs(chain, TRANSFERRED, None, word)
    balances = chain.rpc.batch(
        [
            ("eth_call", ({"to": token, "data": "0x" + BALANCE_OF.encode(keeper).hex()}, "latest"))
            for token in received
        ]
    )
    newest = int(chain.rpc.call("eth_blockNumber"), 16)
    blocks = chain.rpc.batch(
        [("eth_getBlockByNumber", (hex(number), True)) for number in range(newest + 1)]
    )
    sent = [
        each
        for block in blocks
        for each in block["transactions"]
        if int(each["from"], 16) == int(keeper, 16)
    ]
    receipts = chain.rpc.batch([("eth_getTransactionReceipt", (each["hash"],)) for each in sent])
    called = {each["to"] or each["contractAddress"] for each in receipts}
    symbols = {token.address: symbol for symbol, token in chain.contracts.tokens.items()}
    return KeyTold(
        address=keeper,
        tokens=tuple(
            symbols.get(token, token)
            for token, balance in zip(received, balances, strict=True)
            if int(balance, 16)
        ),
        approvals=len([*_logs(chain, APPROVAL, word), *_logs(chain, APPROVAL, None, word)]),
        counterparties=tuple(sorted(Address(to_checksum_address(each)) for each in called)),
        guardians=tuple(guardians),
    )


def _logs(chain: LocalChain, *topics: str | None) -> list[Address]:
    """The contracts that logged it, each once."""
    logs = chain.rpc.call("eth_getLogs", {"fromBlock": "0x0", "topics": topics})
    return list(dict.fromkeys(Address(to_checksum_address(log["address"])) for log in logs))
