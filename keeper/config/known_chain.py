"""What cannot be meant on the chain that the settings name."""

from collections.abc import Iterator
from math import ceil

from keeper.chain.settings import Use
from keeper.config.document import KeyPath
from keeper.config.networks import network, networks
from keeper.config.schema import Tables
from keeper.config.written import WrongValueError

DAY_S = 24 * 3600
"""What presets look ahead."""


def chain_contradictions(tables: Tables) -> Iterator[tuple[KeyPath, WrongValueError]]:
    """Intervals against blocks and horizons, and deployments against the chain that they are on."""
    yield from _intervals(tables)
    yield from _deployments(tables)


def _intervals(tables: Tables) -> Iterator[tuple[KeyPath, WrongValueError]]:
    known = network(tables.chain.id)
    block_s = 0 if known is None else known.block_time_s
    horizons = {name: policy.horizon or DAY_S for name, policy in tables.policies.items()}
    for name, horizon_s in horizons.items():
        if horizon_s < block_s:
            yield (
                ("policies", name, "horizon"),
                WrongValueError(
                    f"{horizon_s} s is less than a block of the chain takes ({block_s} s)",
                    "nothing can happen to a position, nor be done for it, within so short a time",
                    'write hours, such as "24h"',
                ),
            )
    if not horizons or min(horizons.values()) < block_s:
        return
    shortest = min(horizons, key=horizons.__getitem__)
    poll_s = tables.chain.poll_interval_s
    if poll_s > horizons[shortest]:
        yield (
            ("chain", "poll_interval_s"),
            _beyond(f"{poll_s} s", horizons[shortest], "write less than that"),
        )
    else:
        yield from _alerts(tables, block_s, shortest, horizons[shortest])


def _alerts(
    tables: Tables, block_s: float, shortest: str, horizon_s: float
) -> Iterator[tuple[KeyPath, WrongValueError]]:
    """When to alert: later than a block is seen, sooner than what a policy looks ahead."""
    service, chain = tables.service, tables.chain
    sockets = [each.ws_url for each in tables.endpoints.values() if Use(each.use).reads]
    # A socket tells of a block before it is looked for.
    seen_s = block_s if any([chain.ws_url, *sockets]) else max(block_s, chain.poll_interval_s)
    for key in ("blind_after", "stall_after"):
        alert_s = getattr(service, key)
        # A default stands at no line; what contradicts it does.
        written = key in service.model_fields_set
        named = f"{alert_s} s" if written else f"{key}, {alert_s} s by default,"
        if alert_s <= seen_s:
            yield (
                ("service", key) if written else ("chain", "poll_interval_s"),
                WrongValueError(
                    f"{named} is no longer than it takes until a block is seen",
                    f"blocks come every {block_s or 'few'} s and are looked for every "
                    f"{chain.poll_interval_s} s: the alert would never end",
                    f'write several of them, such as {key} = "{max(45, 3 * ceil(seen_s))}s" in '
                    f"[service]{', or give a ws_url' if seen_s > block_s else ''}",
                ),
            )
        elif alert_s > horizon_s:
            yield (
                ("service", key) if written else ("policies", shortest, "horizon"),
                _beyond(
                    named, horizon_s, f"write a longer horizon, or a shorter {key} in [service]"
                ),
            )


def _beyond(interval: str, horizon_s: float, fix: str) -> WrongValueError:
    return WrongValueError(
        f"{interval} is more than the shortest horizon of a policy ({horizon_s} s)",
        "what is to be foreseen would be over before it is looked at",
        fix,
    )


def _deployments(tables: Tables) -> Iterator[tuple[KeyPath, WrongValueError]]:
    here = network(tables.chain.id)
    if here is None:
        return
    for name, market in tables.markets.items():
        address = market.pool_addresses_provider
        elsewhere = [each for each in networks() if address in each.markets.values()]
        if elsewhere and here not in elsewhere:
            yield (
                ("markets", name, "pool_addresses_provider"),
                WrongValueError(
                    f"this is the market of {', '.join(each.name for each in elsewhere)}, "
                    f"not of {here.name}",
                    "on another chain the same address is nobody's, or somebody else's",
                    f"write {here.markets['aave']}, or correct [chain] id"
                    if "aave" in here.markets
                    else "correct it, or [chain] id",
                ),
            )
