"""A position whose guardian acts for it, for a keeper whose key owns nothing but gas."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keeper.devnet.accounts import DevAccount
from keeper.devnet.artifacts import Contract
from keeper.devnet.uniswap import MAX_UINT256
from keeper.model.units import Address
from tests.devnet.keeping.ground import Ground, Guarded
from tests.guardian import ground as guarding
from tests.guardian.ground import Mandate


@dataclass(frozen=True, slots=True, kw_only=True)
class Ward(Guarded):
    """`account` is the owner's, which the daemon has no key of."""

    keeper: DevAccount
    guardian: Contract
    further: Mapping[str, str]
    """Keys of the position beyond the guardian, as TOML."""

    def toml(self) -> str:
        lines = {"guardian": f'"{self.guardian.address}"', **self.further}
        return super(Ward, self).toml() + "".join(f"{k} = {v}\n" for k, v in lines.items())


def ward(
    ground: Ground,
    *,
    label: str = "main",
    health: str = "1.20",
    debt: str = "USDC",
    wallet: Mapping[str, int] | None = None,
    reserve: DevAccount | None = None,
    further: Mapping[str, str] | None = None,
    **terms: Any,
) -> Ward:
    """10 WETH against `debt`, with a guardian that may sell all of it on every pool; the reserve,
    the owner itself unless another is given, holds whole tokens of `wallet`."""
    chain = ground.chain
    own = ground.guard(label, health=health, debt=debt, wallet={})
    ground.guarded.remove(own)
    keeper, owner = (
        chain.account("keeper" if label == "main" else f"keeper-{label}"),
        own.account.address,
    )
    payer = reserve or own.account
    made = guarding.Ground(
        chain=chain,
        owner=owner,
        keeper=keeper.address,
        guardian=guarding.deploy(chain, owner),
        mandate=Mandate(
            keeper=keeper.address,
            reserve=payer.address,
            max_health_to_act=13 * 10**17,
            target=142 * 10**16,
            collaterals=(chain.contracts.tokens["WETH"].address,),
            pools=tuple(pool.address for pool in chain.contracts.uniswap.pools.values()),
        ),
    )
    made.set_mandate(**terms)
    made.allow(made.a_token("WETH"), MAX_UINT256)
    for symbol, whole in (wallet or {}).items():
        raw = whole * chain.contracts.token(symbol).unit
        chain.mint(symbol, payer.address, raw)
        made.allow(made.token(symbol), raw, payer.address)
    if reserve is not None:
        consent = (made.market, 100_000 * 10**8, 0, 2**40)
        chain.transact(reserve.address, made.guardian, "consent", *consent)
    one = Ward(
        label=label,
        account=own.account,
        policy=own.policy,
        keeper=keeper,
        guardian=made.guardian,
        further={
            **({} if reserve is None else {"reserve": f'"{reserve.address}"'}),
            **(further or {}),
        },
    )
    ground.guarded.append(one)
    ground.environ[f"KEEPER_SIGNERS__{label.upper()}__PRIVATE_KEY"] = keeper.private_key
    ground.settings["quoter"] = chain.contracts.uniswap.quoter.address
    ground.settings["wrapped_native"] = chain.contracts.tokens["WETH"].address
    ground.first_block = ground.block() + 1
    return one


def belongings(ground: Ground, one: Ward) -> dict[str, tuple[int, int]]:
    """Of each token, what the keeper's account holds and what it lets the guardian take."""
    keeper: Address = one.keeper.address
    return {
        symbol: (
            int(ground.chain.read(token, "balanceOf", keeper)),
            int(ground.chain.read(token, "allowance", keeper, one.guardian.address)),
        )
        for symbol, token in ground.chain.contracts.tokens.items()
    }
