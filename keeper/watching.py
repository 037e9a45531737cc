"""What the settings say of positions and markets, as the engine watches them."""

import json
from collections.abc import Mapping

from keeper.config.settings import PositionSettings, Settings
from keeper.engine.watch import Watched, WatchedMarket
from keeper.mandate.charter import CONSENT_OF, MANDATE, OWNER, STATUS
from keeper.mandate.deployment import GuardianCode
from keeper.mandate.guardian import ADD_COLLATERAL, REPAY, Guard
from keeper.model.errors import ConfigurationError, Problem
from keeper.model.units import Address
from keeper.model.values import PositionId, Purse
from keeper.protocols.registry import PROTOCOLS
from keeper.resources import resource

CALLED = (
    *(each.signature for each in (OWNER, MANDATE, STATUS, CONSENT_OF, ADD_COLLATERAL, REPAY)),
    "deleverage(…)",
)
"""What a keeper calls of a guardian."""


def watched_positions(
    settings: Settings, keepers: Mapping[str, Address] | None = None
) -> list[Watched]:
    """`keepers` are the accounts of the signers that are open, by name."""
    return [
        Watched(
            id=PositionId(
                chain_id=settings.chain.chain_id, market=position.market, account=position.account
            ),
            label=position.label,
            policy=settings.policies[position.policy],
            rule=settings.rules.get(position.policy),
            guard=_guard(settings, position, (keepers or {}).get(position.signer)),
        )
        for position in settings.positions
    ]


def forgiven_reverts(settings: Settings) -> dict[PositionId, int]:
    """By position, the decision up to which reverts do not count."""
    return {
        PositionId(
            chain_id=settings.chain.chain_id, market=position.market, account=position.account
        ): position.forgive_reverts_through
        for position in settings.positions
        if position.forgive_reverts_through is not None
    }


def _guard(settings: Settings, position: PositionSettings, keeper: Address | None) -> Guard | None:
    if position.guardian is None:
        return None
    return Guard(
        guardian=position.guardian,
        market=settings.markets[position.market].entry,
        keeper=keeper,
        purse=Purse(holder=position.reserve or position.account, spender=position.guardian),
        sources=position.sources,
    )


def guardian_code() -> GuardianCode:
    """The build that ships with keeper. Raises `ConfigurationError` where it is not what this
    version calls."""
    path = resource("contracts_abi", "guardian", "aave_guardian.json")
    artifact = json.loads(path.read_text())
    has = {entry["name"] for entry in artifact["abi"] if entry["type"] == "function"}
    missing = sorted(each for each in CALLED if each.partition("(")[0] not in has)
    if missing:
        raise ConfigurationError(
            Problem(
                where=str(path),
                what=f"the ABI has no {', '.join(missing)}",
                why="keeper would call what is not there",
                fix="install keeper anew, or build the contract of this version: make guardian",
            )
        )
    return GuardianCode.of(artifact)


def watched_markets(settings: Settings) -> list[WatchedMarket]:
    """The configured markets, with the accounts in each."""
    accounts: dict[str, list[Address]] = {}
    for position in settings.positions:
        accounts.setdefault(position.market, []).append(position.account)
    return [
        WatchedMarket(
            PROTOCOLS[settings.markets[name].protocol],
            provider=settings.markets[name].entry,
            listed=settings.markets[name].listed,
            name=name,
            chain_id=settings.chain.chain_id,
            accounts=tuple(watched),
            purses={
                row.id.account: row.guard.purse
                for row in watched_positions(settings)
                if row.id.market == name and row.guard is not None
            },
        )
        for name, watched in accounts.items()
    ]
