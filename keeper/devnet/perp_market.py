"""What accounts do on the local chain's Perp v2: deposit margin, trade, and move a market's price."""

from dataclasses import dataclass

from keeper.devnet.artifacts import Contract
from keeper.devnet.chain import LocalChain
from keeper.devnet.perp import COLLATERALS, MAX_TICKS_PER_BLOCK, SETTLEMENT, PerpContracts
from keeper.devnet.pools import ANY_AMOUNT, Pair
from keeper.devnet.uniswap import MAX_UINT256
from keeper.model.units import Address, Token

ARBITRAGEUR_USD = 10**10
TRADE_GAS = 3_000_000
"""Margin of whoever moves the markets: more than any move takes."""
_NO_REFERRAL = bytes(32)
_TICK_BASE = 1.0001


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpMarket:
    """The venue on one chain; for use by one thread at a time."""

    chain: LocalChain
    perp: PerpContracts

    def deposit(self, account: Address, symbol: str, raw: int) -> None:
        """Mint a token to an account and deposit it as margin, in blocks of their own."""
        token = self.chain.contracts.tokens[symbol]
        self.chain.mint(symbol, account, raw)
        self.chain.transact(account, token, "approve", self.perp.vault.address, raw)
        self.chain.transact(account, self.perp.vault, "deposit", token.address, raw)

    def trade(self, account: Address, symbol: str, *, base: int = 0, quote: int = 0) -> None:
        """Buy (positive) or sell (negative) `base` or `quote` wei of a market's base token, one of
        them given, in a block of its own. Raises `TransactionFailedError`."""
        order = self.order(symbol, amount=base or quote, in_base=bool(base))
        self.chain.transact(account, self.perp.clearing_house, "openPosition", order)

    def order(
        self, symbol: str, *, amount: int, in_base: bool, price_limit: int = 0
    ) -> tuple[object, ...]:
        """`openPosition`'s argument: a sale of base is exact in what goes in, a purchase of base in
        what comes out, and the other way round for quote."""
        selling = amount < 0
        return (
            self.perp.base_tokens[symbol].address,
            *(selling, in_base == selling, abs(amount), 0, MAX_UINT256, price_limit, _NO_REFERRAL),
        )

    def fund_arbitrageur(self) -> None:
        """Margin for `steering`."""
        unit = self.chain.contracts.token(SETTLEMENT).unit
        account = self.chain.account("perp_arbitrageur").address
        self.deposit(account, SETTLEMENT, ARBITRAGEUR_USD * unit)

    def steering(self, symbol: str, price: float) -> bytes | None:
        """The arbitrageur's call that trades a market's pool to `price`, or as far as the exchange
        lets anyone go at once; None if it is there already."""
        pair = self.pair(symbol)
        root = int(self.chain.read(pair.pool, "slot0")[0])
        reach = _TICK_BASE ** (0.9 * MAX_TICKS_PER_BLOCK)
        now = pair.price(root)
        limit = pair.sqrt_price(min(max(price, now / reach), now * reach))
        if limit == root:
            return None
        amount = -ANY_AMOUNT if limit < root else ANY_AMOUNT
        order = self.order(symbol, amount=amount, in_base=limit < root, price_limit=limit)
        return self.perp.clearing_house.encode("openPosition", order)

    def steer(self, symbol: str, price: float) -> None:
        """What `steering` says, in a block of its own."""
        data = self.steering(symbol, price)
        if data is not None:
            sender = self.chain.account("perp_arbitrageur").address
            self.chain.send(sender, self.perp.clearing_house.address, data, gas=TRADE_GAS)
            self.chain.mine()

    def toml(self) -> str:
        """The venue as a market of a keeper's configuration, named perp."""
        tokens = self.chain.contracts.tokens
        bases = ", ".join(f'"{token.address}"' for token in self.perp.base_tokens.values())
        margins = ", ".join(f'"{tokens[symbol].address}"' for symbol in COLLATERALS)
        lines = (
            "[markets.perp]",
            'protocol = "perp_v2"',
            f'clearing_house = "{self.perp.clearing_house.address}"',
            f"base_tokens = [{bases}]",
            f"collateral_tokens = [{margins}]",
        )
        return "\n".join(lines) + "\n"

    def pair(self, symbol: str) -> Pair:
        """A market's pool; both virtual tokens have 18 decimals."""
        base, quote = self.perp.base_tokens[symbol], self.perp.quote_token
        return Pair(
            pool=self.perp.pools[symbol],
            base=_virtual(base, symbol),
            quote=_virtual(quote, "vUSD"),
            fee=0,
        )


def _virtual(token: Contract, symbol: str) -> Token:
    return Token(address=token.address, symbol=symbol, decimals=18)
