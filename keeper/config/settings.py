"""The settings as the composition root receives them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from keeper.chain.settings import ChainSettings, FeeSettings, SignerSettings
from keeper.config.document import Document
from keeper.model.errors import ConfigurationError, Problem
from keeper.model.units import Address
from keeper.policy.settings import Policy

MIN_SECRET_LENGTH = 6
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSettings:
    """One deployment of a lending protocol."""

    name: str
    protocol: Literal["aave_v3"]
    pool_addresses_provider: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionSettings:
    """One account in one market, with the policy and the signer that protect it."""

    label: str
    market: str
    account: Address
    policy: str
    signer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the owner chose. Names refer to each other and are known to exist."""

    chain: ChainSettings
    store_path: Path
    fees: FeeSettings
    log_level: LogLevel
    policies: Mapping[str, Policy]
    markets: Mapping[str, MarketSettings]
    signers: Mapping[str, SignerSettings]
    positions: tuple[PositionSettings, ...]
    document: Document = field(repr=False)

    @property
    def secrets(self) -> frozenset[str]:
        """What must never be logged: keys, passwords, and the parts of URLs that may be keys.

        Shorter strings are left out: taking "v3" or "key" out of every line would hide the rest.
        """
        found = []
        for url in (self.chain.rpc_url, self.chain.ws_url or ""):
            parts = urlsplit(url)
            found += [parts.password or "", *re.split(r"[/&=]", f"{parts.path}/{parts.query}")]
        for signer in self.signers.values():
            for secret in (signer.keystore_password, signer.private_key):
                found.append(secret.get_secret_value() if secret else "")
        return frozenset(secret for secret in found if len(secret) >= MIN_SECRET_LENGTH)

    def error(self, *path: str | int, what: str, why: str, fix: str) -> ConfigurationError:
        """The error to raise when the chain contradicts the setting at `path`, with its line."""
        return ConfigurationError(
            Problem(where=self.document.where(path), what=what, why=why, fix=fix)
        )
