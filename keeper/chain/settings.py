"""What the chain layer needs to know: the node, the fees and the keys."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from pydantic import SecretStr

from keeper.model.units import Address, Bps, Wei

MULTICALL3 = Address("0xcA11bde05977b3631167028862bE2a173976CA11")
"""The address Multicall3 has on nearly every chain: https://www.multicall3.com/deployments."""


class Use(Enum):
    """What an endpoint is for."""

    ALL = "all"
    READ = "read"
    SEND = "send"
    PRIVATE = "private"
    """It takes transactions and keeps them from the public mempool."""

    @property
    def reads(self) -> bool:
        return self in (Use.ALL, Use.READ)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """One endpoint. The URLs may hold an API key and are kept out of the repr."""

    name: str | None
    """As it is logged; None: by its host."""
    url: str = field(repr=False)
    ws_url: str | None = field(default=None, repr=False)
    """New heads are heard here; without it the URL is polled."""
    use: Use = Use.ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSettings:
    """One chain and how to reach it."""

    chain_id: int
    endpoints: tuple[EndpointSettings, ...]
    """In order of preference; at least one reads, and one sends."""
    private_only: bool = False
    """Never send to the public ones what a private one could take."""
    poll_interval_s: float
    confirmations: int
    """Depth, counted from the block that includes it as 1, at which a result is acted upon."""
    multicall: Address
    sequencer_feed: Address | None = None
    """Tells whether a rollup's sequencer is up."""
    sequencer_grace_s: int = 3_600
    """After it was down, swaps wait for so long."""
    finality_blocks: int = 64
    """Depth beyond which no reorg is looked for: two epochs of Ethereum's beacon chain."""

    @property
    def rpc_url(self) -> str:
        """Of the endpoint that is read first."""
        return next(each.url for each in self.endpoints if each.use.reads)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSettings:
    """Limits of a transaction's price and age."""

    max_fee_wei: Wei
    """Hard cap of maxFeePerGas, for what is not urgent."""
    min_priority_fee_wei: Wei
    deadline_blocks: int
    """A plan made at head h that is not mined by h + this is cancelled."""
    max_share_of_loss: Bps = field(default=Bps(10_000))
    """Of what a liquidation would cost: the most that the gas of an urgent plan may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """What stops signing, whatever the plan."""

    kill_file: Path
    """While it exists, nothing is signed."""
    quarantine_after_reverts: int
    """A position whose last so many plans reverted on the chain is left alone …"""
    quarantine_s: int
    """… for so long, from the newest of them; then one more is tried."""
    max_transactions_per_hour: int
    """Of one signer; replacements of one transaction count as one."""
    max_spend_per_day_wei: Wei
    """Of one signer: fees paid, and the most that open transactions can cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalKeySettings:
    """A key in this process: from a keystore file with its password, or from the environment."""

    name: str
    keystore: Path | None
    keystore_password: SecretStr | None
    private_key: SecretStr | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSignerSettings:
    """A key behind a signing service with Web3Signer's interface."""

    name: str
    url: str = field(repr=False)
    address: Address
    """Which of the service's keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsSignerSettings:
    """A key of AWS KMS; region and credentials come from where AWS' own tools take them."""

    name: str
    key_id: str
    """Its id, its ARN, or an alias."""


SignerSettings = LocalKeySettings | RemoteSignerSettings | KmsSignerSettings
