"""Public chains that keeper knows, from config/networks."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from keeper.model.units import Address
from keeper.resources import resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What is public knowledge of one chain."""

    chain_id: int
    name: str
    block_time_s: float
    quoter: Address | None = None
    """QuoterV2 of Uniswap v3."""
    wrapped_native: Address | None = None
    sequencer_feed: Address | None = None
    markets: Mapping[str, Address] = field(default_factory=dict)
    """PoolAddressesProviders of Aave v3's own deployments, by the name that `init` gives them."""


@cache
def network(chain_id: int) -> Network | None:
    """None for a chain that keeper does not know, such as a local one."""
    path = _folder() / f"{chain_id}.toml"
    return _read(path) if path.exists() else None


def networks() -> Iterator[Network]:
    """Every chain that keeper knows."""
    for path in sorted(_folder().glob("*.toml"), key=lambda each: int(each.stem)):
        yield _read(path)


def _folder() -> Path:
    return resource("config", "networks")


def _read(path: Path) -> Network:
    return Network(chain_id=int(path.stem), **tomllib.loads(path.read_text(encoding="utf-8")))
