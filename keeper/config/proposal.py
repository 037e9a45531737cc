"""A configuration to begin with, made to the measure of positions that were found."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from pathlib import Path

from keeper.config.networks import Network
from keeper.config.settings import MarketSettings
from keeper.model.units import Address, Wei
from keeper.resources import resource

LEAST_USD = 1_000
"""No limit per action is below it: it would not carry a small position to its target."""
CALM_FEES = 20
"""So many times the base fee may still be paid for what is not urgent."""
DEAR_GWEI, CHEAP_GWEI = 50, 2
"""At least that, where blocks are rare and dear, and where they are not."""
PRESETS = {
    "careful": "acts below 1.35, restores 1.55",
    "balanced": "acts below 1.25, restores 1.40",
    "thrifty": "acts below 1.15, restores 1.35",
    "watchful": "acts below 1.15 or on the forecast, restores 1.40",
}
RARE_BLOCKS_S = 10
COLUMN = 31
"""Where comments begin, beside what is not longer."""
COMMENT = re.compile(r"^([^#\n]+?) +(# .*)$", re.MULTILINE)

_CHAIN = """\
#:schema {schema}
# Keeper watches the positions below and, with `keeper run --live`, protects them. Without --live it
# says what it would do and sends nothing. Every key is explained in config/keeper.example.toml.
# Health is a fraction: 1.0 is where liquidation starts. Money is US dollars.

[chain]
id = {chain_id}{comment}
rpc_url = "{endpoint}"
{further}
# A second endpoint, of another provider, which `keeper run --live` asks for on a real chain:
# [endpoints.second]
# url = "https://other.example/${{OTHER_KEY}}"    # the environment variable OTHER_KEY is put in

[store]
path = "keeper.sqlite3"  # the journal: keep it, it knows what was sent

[fees]
max_fee_gwei = {max_fee_gwei:g}            # never more per gas for what is not urgent
min_priority_fee_gwei = {priority_gwei:g}

[policies.main]
preset = "{preset}"   # {meaning} (docs/POLICY.md)
max_per_action_usd = {action:_}    # the most that one action may move
max_per_day_usd = {day:_}       # and all of a day
"""

_MARKET = """
[markets.{name}]
protocol = "{protocol}"
{entry_key} = "{entry}"
"""

_POSITION = """
[signers.{signer}]            # the account's own key, unless a guardian acts for it
{key}

[[positions]]                 # {facts}
label = "{label}"
market = "{market}"
account = "{account}"  # its wallet is the reserve
policy = "main"
signer = "{signer}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """One position that was found."""

    market: MarketSettings
    account: Address
    health: float | None
    debt_usd: int
    """Of a perp account the notional of its positions."""


def proposed(
    *,
    chain_id: int,
    known: Network | None,
    endpoint: str,
    base_fee_wei: Wei,
    positions: Sequence[Guarded],
    keystore: Path | None,
    preset: str,
    further: Mapping[str, str],
) -> str:
    """The file's text: limits per action of half the largest debt, and of all of it per day.

    `endpoint` as its owner wrote it; `further` are keys of [chain]."""
    action = max(_round_up(max(each.debt_usd for each in positions) / 2), LEAST_USD)
    perps = any(each.market.protocol == "perp_v2" for each in positions)
    dear = known is None or known.block_time_s >= RARE_BLOCKS_S
    text = _CHAIN.format(
        schema=resource("config", "keeper.schema.json").as_uri(),
        chain_id=chain_id,
        comment=f"                         # {known.name}" if known else "",
        endpoint=endpoint,
        further="".join(f'{key} = "{value}"\n' for key, value in further.items()),
        max_fee_gwei=max(
            _round_up(CALM_FEES * base_fee_wei / 1e9), DEAR_GWEI if dear else CHEAP_GWEI
        ),
        priority_gwei=1 if dear else 0.01,
        preset=preset,
        meaning=PRESETS[preset] + ("; a perp with as much room" if perps else ""),
        action=action,
        day=2 * action,
    )
    for market in {each.market.name: each.market for each in positions}.values():
        text += _MARKET.format(
            name=market.name,
            protocol=market.protocol,
            entry_key=market.entry_key,
            entry=market.entry,
        )
        for key, tokens in market.listed.items():
            if tokens:
                text += f"{key} = {json.dumps(tokens)}\n"
    signers: dict[Address, str] = {}
    for place, each in enumerate(positions, start=1):
        name = "main" if len(positions) == 1 else f"p{place}"
        first = each.account not in signers
        signer = signers.setdefault(each.account, name)
        section = _POSITION.format(
            signer=signer,
            key=f'keystore = "{keystore}"  # its password: KEEPER_KEYSTORE_PASSWORD'
            if keystore
            else "# The key: KEEPER_PRIVATE_KEY in the environment, or a keystore file:\n"
            '# keystore = "key.json"         # its password: KEEPER_KEYSTORE_PASSWORD',
            facts=f"{'no debt' if each.health is None else f'health {each.health:.3f}'}, "
            f"{each.debt_usd:,} USD {'of debt' if each.market.protocol == 'aave_v3' else 'notional'} "
            "when this was written",
            label=name,
            market=each.market.name,
            account=each.account,
        )
        text += section if first else "\n" + section[section.index("[[positions]]") :]
    return COMMENT.sub(lambda line: f"{line[1]:<{COLUMN}} {line[2]}", text)


def _round_up(amount: float) -> int:
    """To two leading digits."""
    if amount < 1:
        return ceil(amount)
    step = 10 ** max(floor(log10(amount)) - 1, 0)
    return int(ceil(amount / step) * step)
