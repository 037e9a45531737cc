"""What the chain layer needs to know: the node, the fees and the keys."""

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from keeper.model.units import Address, Wei

MULTICALL3 = Address("0xcA11bde05977b3631167028862bE2a173976CA11")
"""The address Multicall3 has on nearly every chain: https://www.multicall3.com/deployments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSettings:
    """One chain and how to reach it. The URLs may hold an API key and are kept out of the repr."""

    chain_id: int
    rpc_url: str = field(repr=False)
    ws_url: str | None = field(repr=False)
    """New heads are heard here; without it the RPC URL is polled."""
    poll_interval_s: float
    confirmations: int
    """Depth, counted from the block that includes it as 1, at which a transaction is final."""
    multicall: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSettings:
    """Limits of a transaction's price and age."""

    max_fee_wei: Wei
    """Hard cap of maxFeePerGas."""
    min_priority_fee_wei: Wei
    deadline_blocks: int
    """What the node does not have of a plan made at head h is sent again until h + this; what waits
    in its mempool may be included later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerSettings:
    """Where one signer's key comes from: a keystore file with its password, or the environment."""

    name: str
    keystore: Path | None
    keystore_password: SecretStr | None
    private_key: SecretStr | None
