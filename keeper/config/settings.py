"""The settings as the composition root receives them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from keeper.chain.secrecy import MIN_SECRET_LENGTH, all_parts, secret_parts
from keeper.chain.settings import (
    BreakerSettings,
    ChainSettings,
    FeeSettings,
    LocalKeySettings,
    RemoteSignerSettings,
    SignerSettings,
)
from keeper.config.document import Document
from keeper.model.errors import ConfigurationError, Problem
from keeper.model.mandate import Mandate
from keeper.model.units import Address, Wad
from keeper.model.values import NOTHING_LISTED, Listed, Source
from keeper.policy.settings import Policy
from keeper.protocols.market_source import MarketSource
from keeper.service.settings import ServiceSettings

if TYPE_CHECKING:  # they bring NumPy, for whose import no help and no completion should wait
    from keeper.policy.policy_file import PolicyFile
    from keeper.policy.rule import Rule

LogLevel = Literal["debug", "info", "warning", "error"]


ENTRY_KEYS: Final = {"aave_v3": "pool_addresses_provider", "perp_v2": "clearing_house"}
"""By protocol, the setting that names the contract from which its others are found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSettings:
    """One deployment of a lending protocol or a perp venue."""

    name: str
    protocol: str
    entry: Address
    """The contract that everything else is found from."""
    listed: Listed = field(default_factory=lambda: NOTHING_LISTED)
    """What its contracts do not list themselves, by setting."""

    @property
    def entry_key(self) -> str:
        """The setting that names `entry`."""
        return ENTRY_KEYS[self.protocol]


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionSettings:
    """One account in one market, with the policy and the signer that protect it."""

    label: str
    market: str
    account: Address
    policy: str
    signer: str
    forgive_reverts_through: int | None = None
    """Reverts of decisions up to this one no longer count: it ends a quarantine."""
    guardian: Address | None = None
    """The contract that acts for the account; None where the signer's key is the account's own."""
    reserve: Address | None = None
    """Who pays for the account in its stead."""
    sources: tuple[Source, ...] = ("wallet",)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveSettings:
    """What an owner means to let be moved from a loan into a perp's margin."""

    market: str
    """Where it is lent."""
    floor: Wad
    """The health to be left there."""
    limit_max: int
    """USD with 8 decimals at once, which comes back evenly over a day."""
    allowance: Decimal
    """How much may be taken in all, in whole tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateSettings:
    """What an owner means to allow; what is allowed stands in the owner's guardian."""

    name: str
    account: Address
    """The owner."""
    market: str
    mandate: Mandate
    collaterals: Mapping[Address, Decimal]
    """How much of each collateral the guardian may sell in all, in whole tokens."""
    reserve_tokens: Mapping[Address, Decimal]
    """How much of each token it may take from the reserve in all, in whole tokens."""
    move: MoveSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the owner chose. Names refer to each other and are known to exist."""

    chain: ChainSettings
    quoter: Address | None = None
    """QuoterV2 of Uniswap v3, asked what an unwind would cost."""
    wrapped_native: Address | None = None
    """Priced to tell what gas costs."""
    store_path: Path
    fees: FeeSettings
    log_level: LogLevel
    log_file: Path | None = None
    """Where the log is written beside standard error."""
    service: ServiceSettings
    breakers: BreakerSettings
    policies: Mapping[str, Policy]
    rules: Mapping[str, "Rule"]
    """Of the policies that are fitted to each of their positions."""
    policy_files: Mapping[str, "PolicyFile"]
    """Of the policies that come from a preset or a file."""
    markets: Mapping[str, MarketSettings]
    market_prices: tuple[MarketSource, ...]
    signers: Mapping[str, SignerSettings]
    positions: tuple[PositionSettings, ...]
    mandates: Mapping[str, MandateSettings]
    systemd_socket: str | None
    """Where systemd wants to hear how it is; it sets NOTIFY_SOCKET."""
    document: Document = field(repr=False)

    @property
    def secrets(self) -> frozenset[str]:
        """What must never be logged: keys, passwords, and the parts of URLs that may be keys."""
        of_urls = frozenset(
            part
            for endpoint in self.chain.endpoints
            for url in (endpoint.url, endpoint.ws_url or "")
            for part in secret_parts(url)
        )
        alerts = self.service.alerts
        for told in (alerts.webhook_url, alerts.deadman_url):
            of_urls |= frozenset() if told is None else secret_parts(told.get_secret_value())
        for channel in alerts.channels:
            of_urls |= all_parts(channel.url.get_secret_value())
        of_signers = (
            secret.get_secret_value()
            for signer in self.signers.values()
            if isinstance(signer, LocalKeySettings)
            for secret in (signer.keystore_password, signer.private_key)
            if secret is not None
        )
        for signer in self.signers.values():
            if isinstance(signer, RemoteSignerSettings):
                of_urls |= secret_parts(signer.url)
        return of_urls | {secret for secret in of_signers if len(secret) >= MIN_SECRET_LENGTH}

    def error(self, *path: str | int, what: str, why: str, fix: str) -> ConfigurationError:
        """The error to raise when the chain contradicts the setting at `path`, with its line."""
        return ConfigurationError(
            Problem(where=self.document.where(path), what=what, why=why, fix=fix)
        )
