"""Looks at the chain after each block, straight at the node and apart from the keeper."""

from dataclasses import dataclass

from keeper.devnet.market import Market
from keeper.devnet.views import BlockView, decode_account, paid_fees, pool_events
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
            fees=paid_fees(receipts),
        )
