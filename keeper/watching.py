"""What the settings say of positions and markets, as the engine watches them."""

import json
from collections.abc import Callable, Mapping

from eth_utils.abi import function_abi_to_4byte_selector

from keeper.abi.words import Function
from keeper.config.settings import PositionSettings, Settings
from keeper.engine.watch import Watched, WatchedMarket
from keeper.mandate.charter import CONSENT_OF, MANDATE, OWNER, SOURCE_OF, STATUS
from keeper.mandate.deployment import GuardianCode
from keeper.mandate.guardian import ADD_COLLATERAL, DELEVERAGE, REPAY, Guard
from keeper.mandate.perp_guardian import ADD_MARGIN, MOVE, REDUCE_POSITION
from keeper.model.errors import ConfigurationError, Problem
from keeper.model.units import Address
from keeper.model.values import PositionId, Purse
from keeper.protocols.registry import PROTOCOLS
from keeper.resources import resource


def _named(*functions: Function) -> dict[str, bytes]:
    return {each.signature: each.selector for each in functions}


_READ = _named(OWNER, MANDATE, STATUS, CONSENT_OF)
CALLED: Mapping[str, Mapping[str, bytes]] = {
    "aave_guardian": {**_READ, **_named(ADD_COLLATERAL, REPAY), "deleverage(…)": DELEVERAGE},
    "perp_guardian": {**_READ, **_named(ADD_MARGIN, MOVE, REDUCE_POSITION, SOURCE_OF)},
}
"""The functions that a keeper calls of each guardian, with their selectors."""
GUARDIAN_OF: Mapping[str, str] = {"aave_v3": "aave_guardian", "perp_v2": "perp_guardian"}
"""By protocol."""


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


def guardian_code(protocol: str = "aave_v3") -> GuardianCode:
    """The build for a protocol that ships with keeper. Raises `ConfigurationError` where it is not
    what this version calls."""
    name = GUARDIAN_OF[protocol]
    path = resource("contracts_abi", "guardian", f"{name}.json")
    artifact = json.loads(path.read_text())
    has = {
        function_abi_to_4byte_selector(entry)
        for entry in artifact["abi"]
        if entry["type"] == "function"
    }
    missing = [signature for signature, selector in CALLED[name].items() if selector not in has]
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


def guardian_refusals() -> Callable[[bytes], str | None]:
    """What any guardian refused a call with; None if the revert is not a guardian's. Raises
    `ConfigurationError` as `guardian_code` does."""
    codes = tuple(map(guardian_code, GUARDIAN_OF))

    def refusal(output: bytes) -> str | None:
        return next(filter(None, (code.refusal(output) for code in codes)), None)

    return refusal


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
