"""Values that are fine alone and cannot be meant together."""

import re
from collections.abc import Iterator

from keeper.config.document import KeyPath
from keeper.config.known_chain import chain_contradictions
from keeper.config.mandates import mandate_contradictions
from keeper.config.markets import market_contradictions
from keeper.config.schema import PolicyTable, PositionTable, SignerTable, Tables
from keeper.config.settings import ENTRY_KEYS
from keeper.config.urls import normal
from keeper.config.written import WrongValueError, closest

NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")
Contradictions = Iterator[tuple[KeyPath, WrongValueError]]


NOT_ABOVE_FLOOR = WrongValueError(
    "target is not above floor",
    "an action would end where the next one starts",
    "write a target above the floor, such as 1.40 over 1.15",
)
NEVER_ALLOWED = WrongValueError(
    "max_health_to_act is below floor",
    "the keeper would have to act at the floor and not be allowed to",
    "write at least the floor, or leave the key out: then it is the target",
)


def contradictions(tables: Tables) -> Contradictions:
    """Every place where two settings exclude each other, or name what does not exist."""
    for section in ("policies", "markets", "signers", "endpoints", "mandates", "channels"):
        for name in getattr(tables, section):
            if not NAME.fullmatch(name):
                yield (
                    (section, name),
                    WrongValueError(
                        f'"{name}" cannot be a name',
                        "names also appear in environment variables and logs",
                        "use lower-case letters and digits, joined by single _ or -",
                    ),
                )
    if tables.fees.min_priority_fee_gwei > tables.fees.max_fee_gwei:
        yield (
            ("fees", "min_priority_fee_gwei"),
            WrongValueError(
                "the smallest priority fee is above max_fee_gwei",
                "the priority fee is part of the whole fee, so nothing could be sent",
                "raise max_fee_gwei or lower min_priority_fee_gwei",
            ),
        )
    for name, policy in tables.policies.items():
        yield from _policy_contradictions(("policies", name), policy)
    for name, signer in tables.signers.items():
        yield from _signer_contradictions(("signers", name), signer)
    yield from market_contradictions(tables)
    for name, channel in tables.channels.items():
        if channel.apprise_url is None:
            yield (
                ("channels", name),
                WrongValueError(
                    "this channel has no URL",
                    "nobody would hear of an alert",
                    f"set the environment variable KEEPER_CHANNELS__{name.upper()}__APPRISE_URL; it is "
                    "a secret and does not belong in the file",
                ),
            )
    yield from _market_price_contradictions(tables)
    yield from _endpoint_contradictions(tables)
    yield from _position_contradictions(tables)
    yield from mandate_contradictions(tables)
    yield from chain_contradictions(tables)


def _market_price_contradictions(tables: Tables) -> Contradictions:
    feeds: set[str] = set()
    for index, table in enumerate(tables.market_prices):
        path = ("market_prices", index)
        of_pool = table.pool is not None and table.base is not None
        half = (table.pool is None) != (table.base is None)
        if half or of_pool == (table.market_feed is not None):
            yield (
                path,
                WrongValueError(
                    "a market price needs a pool with its base token, or a market_feed",
                    "there must be one place to read what the market pays",
                    "write `pool` and `base` (the pool's token that the feed prices), "
                    "or `market_feed` alone",
                ),
            )
        if table.feed in feeds or table.feed == table.market_feed:
            yield (
                (*path, "feed"),
                WrongValueError(
                    "this feed has another market price, or is its own",
                    "one market is compared with one oracle",
                    "take the entry away, or name another feed",
                ),
            )
        feeds.add(table.feed)


def _policy_contradictions(path: tuple[str, ...], policy: PolicyTable) -> Contradictions:
    if policy.preset is not None and policy.file is not None:
        yield (
            (*path, "file"),
            WrongValueError(
                "this policy has a preset and a file",
                "its figures come from one of them",
                "take one of them away",
            ),
        )
    own = policy.preset is None and policy.file is None
    if own and (policy.floor is None) != (policy.target is None):
        missing, example = ("target", "1.40") if policy.target is None else ("floor", "1.15")
        yield (
            path,
            WrongValueError(
                f"`{missing}` is missing",
                "there is no safe guess for it",
                f"add a line such as: {missing} = {example}; or leave both out, for the figures of "
                "a `preset`",
            ),
        )
    floor, target = policy.floor, policy.target
    if floor is not None and target is not None and target <= floor:
        yield (*path, "target"), NOT_ABOVE_FLOOR
    if floor is not None and (policy.max_health_to_act or floor) < floor:
        yield (*path, "max_health_to_act"), NEVER_ALLOWED
    if policy.max_per_day_usd < policy.max_per_action_usd:
        yield (
            (*path, "max_per_day_usd"),
            WrongValueError(
                "max_per_day_usd is below max_per_action_usd",
                "the first action of a day could already be refused",
                "raise the daily cap or lower the cap per action",
            ),
        )
    if policy.min_action_usd > policy.max_per_action_usd:
        yield (
            (*path, "min_action_usd"),
            WrongValueError(
                "min_action_usd is above max_per_action_usd",
                "no action could be large enough and small enough",
                "lower min_action_usd",
            ),
        )


def _signer_contradictions(path: tuple[str, ...], signer: SignerTable) -> Contradictions:
    given = [
        key
        for key in ("keystore", "remote_url", "kms_key_id", "private_key")
        if getattr(signer, key) is not None
    ]
    if len(given) > 1:
        if "private_key" in given:
            fix = f"take the key `{given[0]}` out, or unset KEEPER_SIGNERS__{path[-1].upper()}__PRIVATE_KEY"
        else:
            fix = f"take `{given[1]}` out, or `{given[0]}`"
        yield (
            path,
            WrongValueError(
                f"this signer has a {given[0]} and a {given[1]}".replace("_", " "),
                "it is not clear which of them is meant",
                fix,
            ),
        )
    if (signer.remote_url is None) != (signer.address is None):
        yield (
            path,
            WrongValueError(
                "`remote_url` and `address` belong together",
                "a signing service may hold several keys",
                "write both, or neither",
            ),
        )


def _endpoint_contradictions(tables: Tables) -> Contradictions:
    uses = {name: table.use for name, table in tables.endpoints.items()}
    if tables.chain.rpc_url is None and not {"all", "read"} & set(uses.values()):
        yield (
            ("chain", "rpc_url"),
            WrongValueError(
                "no endpoint reads the chain",
                "without one nothing is seen of the positions",
                'add a line such as: rpc_url = "http://127.0.0.1:8545"; or an [endpoints.<name>] '
                'with its url and use = "all"',
            ),
        )
    elif tables.chain.rpc_url is None and set(uses.values()) == {"read"}:
        yield (
            ("endpoints", next(iter(uses)), "use"),
            WrongValueError(
                "no endpoint takes transactions",
                "a keeper that cannot send protects nobody",
                'leave `use` out of one of them, or add one with use = "send" or "private"',
            ),
        )
    if tables.chain.private_sending == "only" and "private" not in uses.values():
        yield (
            ("chain", "private_sending"),
            WrongValueError(
                "there is no private endpoint to send to",
                "nothing could be sent",
                'add an [endpoints.<name>] with use = "private", or take the key out',
            ),
        )
    if tables.chain.rpc_url is None and tables.chain.ws_url is not None:
        yield (
            ("chain", "ws_url"),
            WrongValueError(
                "ws_url has no rpc_url beside it",
                "a socket belongs to the endpoint whose heads it announces early",
                "write it into that endpoint's section",
            ),
        )
    named = {("endpoints", name, "url"): table.url for name, table in tables.endpoints.items()}
    seen: dict[str, str] = {}
    if tables.chain.rpc_url is not None:
        seen[normal(tables.chain.rpc_url)] = "chain.rpc_url"
    for path, url in named.items():
        first = seen.setdefault(normal(url), ".".join(path))
        if first != ".".join(path):
            yield (
                path,
                WrongValueError(
                    f"this is the same endpoint as {first}",
                    "asked twice, it would confirm itself",
                    "take one of them away, or name another provider",
                ),
            )


def _position_contradictions(tables: Tables) -> Contradictions:
    if not tables.positions:
        yield (
            ("positions",),
            WrongValueError("no position is named", "there is nothing to protect", "add one"),
        )
    labels: set[str] = set()
    accounts: dict[tuple[str, str], str] = {}
    for index, position in enumerate(tables.positions):
        path = ("positions", index)
        yield from _unknown_references(path, position, tables)
        yield from _source_contradictions(path, position, tables)
        if position.label in labels:
            yield (
                (*path, "label"),
                WrongValueError(
                    f'the label "{position.label}" is taken',
                    "status and history show positions by their labels",
                    "give each position a label of its own",
                ),
            )
        market = tables.markets.get(position.market)
        entry = market and getattr(market, ENTRY_KEYS[market.protocol])
        key = (entry or position.market, position.account)
        if key in accounts:
            yield (
                (*path, "account"),
                WrongValueError(
                    f'"{accounts[key]}" is already this account in this market',
                    "two entries would protect one position twice and spend twice the limits",
                    "take one of them away",
                ),
            )
        accounts.setdefault(key, position.label)
        labels.add(position.label)


def _source_contradictions(
    path: tuple[str, int], position: PositionTable, tables: Tables
) -> Contradictions:
    sources = position.sources or ()
    if position.guardian is None and "pool" in sources:
        yield (
            (*path, "sources"),
            WrongValueError(
                '"pool" needs a guardian',
                "collateral is sold by the owner's guardian contract, in one call with the debt it "
                "pays back",
                'name the `guardian` of the account, or take "pool" out',
            ),
        )
    market = tables.markets.get(position.market)
    perp = market is not None and market.protocol == "perp_v2"
    if "spare" in sources and (position.guardian is None or not perp):
        yield (
            (*path, "sources"),
            WrongValueError(
                '"spare" needs the guardian of a perp account',
                "margin is moved from a loan to a perp by the owner's guardian contract, which sees "
                "to both",
                'name the `guardian` of the perp account, or take "spare" out',
            ),
        )
    if position.guardian is None and position.reserve is not None:
        yield (
            (*path, "reserve"),
            WrongValueError(
                "a reserve needs a guardian",
                "without one the signer's own wallet is all that can pay",
                "name the `guardian` of the account, or take `reserve` out",
            ),
        )
    if "vault" in sources and position.reserve is None:
        yield (
            (*path, "sources"),
            WrongValueError(
                '"vault" needs a reserve',
                "it stands for the account that consented to pay for this one",
                'name it as `reserve`, or take "vault" out',
            ),
        )
    if "wallet" in sources and position.reserve is not None:
        yield (
            (*path, "sources"),
            WrongValueError(
                '"wallet" and a reserve exclude each other',
                "a mandate names one reserve: the account itself or another",
                'write "vault" for the reserve, or take `reserve` out',
            ),
        )


def _unknown_references(
    path: tuple[str, int], position: PositionTable, tables: Tables
) -> Contradictions:
    for key, section in (("market", "markets"), ("policy", "policies"), ("signer", "signers")):
        name, known = getattr(position, key), list(getattr(tables, section))
        if name not in known:
            meant = closest(name, known)
            yield (
                (*path, key),
                WrongValueError(
                    f"there is no [{section}.{name}]",
                    f"a position needs its {key}",
                    f'write "{meant}"' if meant else f"add the section [{section}.{name}]",
                ),
            )
