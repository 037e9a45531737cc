"""From a path to settings: read, refuse what cannot be meant, build the layers' values."""

import copy
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from pydantic_settings import SettingsError

from keeper.chain.settings import (
    BreakerSettings,
    ChainSettings,
    EndpointSettings,
    FeeSettings,
    KmsSignerSettings,
    LocalKeySettings,
    RemoteSignerSettings,
    SignerSettings,
    Use,
)
from keeper.config import fields, problems, urls
from keeper.config.contradictions import contradictions
from keeper.config.credentials import credential, with_credentials
from keeper.config.document import Document, read_document
from keeper.config.mandates import floor_contradictions, mandate_settings
from keeper.config.networks import Network, network
from keeper.config.schema import (
    MarketPriceTable,
    MarketTable,
    PositionTable,
    SignerTable,
    StoreTable,
    Tables,
    merge,
)
from keeper.config.settings import (
    ENTRY_KEYS,
    LogLevel,
    MarketSettings,
    PositionSettings,
    Settings,
)
from keeper.config.written import WrongValueError
from keeper.model.alerts import Severity
from keeper.model.errors import ConfigurationError, Problem
from keeper.model.units import Wei
from keeper.model.values import Source
from keeper.protocols.market_source import FeedMarket, MarketSource, PoolMarket
from keeper.service.settings import AlertSettings, ChannelSettings, ServiceSettings

FLOOR_GAS = 1_000_000
"""A signer with less than this at the highest fee is low: about two actions with approvals."""
DAY_GAS = 20_000_000
"""At the highest fee, this ends a signer's day where the owner sets no other end."""


def load_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the file at `path`, with KEEPER_ variables of the environment and systemd's credentials
    over it.

    Raises `ConfigurationError` with every mistake that can be seen without a chain.
    """
    environ = with_credentials(os.environ if environ is None else environ)
    document = read_document(path, environ)
    _raise(*problems.written_secrets(document), *problems.misplaced_secrets(document))
    _raise(*problems.unknown_variables(document))
    try:
        values = _with_urls_expanded(document, environ)
        tables = merge(values, document.environ)
    except ValidationError as error:
        raise ConfigurationError(*problems.from_validation(document, error)) from None
    except SettingsError as error:
        raise ConfigurationError(
            Problem(
                where="environment",
                what=str(error.__cause__ or error),
                why="a section's keys have variables of their own",
                fix="set for instance KEEPER_CHAIN__ID, not KEEPER_CHAIN",
            )
        ) from None
    _raise(*(problems.problem(document, path, wrong) for path, wrong in contradictions(tables)))
    return _build(document, tables, environ)


def store_path(path: Path, environ: Mapping[str, str] | None = None) -> Path:
    """Where the journal of the configuration at `path` is.

    Reading it needs no keys, no endpoint and no variable of theirs, so nothing else is looked at.
    """
    document = read_document(path, os.environ if environ is None else environ)
    return _folder(document) / (_path(document, "store", "path") or StoreTable().path)


def kill_file_path(path: Path, environ: Mapping[str, str] | None = None) -> Path:
    """Where the kill file of the configuration at `path` is; it, too, needs nothing else."""
    document = read_document(path, os.environ if environ is None else environ)
    store = _path(document, "store", "path") or StoreTable().path
    return _folder(document) / (_path(document, "breakers", "kill_file") or _kill_file(store))


def _path(document: Document, section: str, key: str) -> Path | None:
    table = document.values.get(section, {})
    written = table.get(key) if isinstance(table, dict) else table
    written = document.environ.get(f"KEEPER_{section}__{key}".upper()) or written
    try:
        return None if written is None else fields.path(written)
    except WrongValueError as wrong:
        raise ConfigurationError(problems.problem(document, (section, key), wrong)) from None


def _kill_file(store: Path) -> Path:
    return store.with_suffix(".kill")


def default_path(environ: Mapping[str, str] | None = None) -> Path:
    """./keeper.toml, else the user's own: $XDG_CONFIG_HOME/keeper/keeper.toml."""
    environ = os.environ if environ is None else environ
    home = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    here, own = Path("keeper.toml"), home / "keeper" / "keeper.toml"
    return own if own.exists() and not here.exists() else here


def foreign_environment() -> dict[str, str]:
    """The environment without keeper's own variables, for a keeper that brings its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KEEPER_")}


def keyless_environment() -> dict[str, str]:
    """The environment without private keys and passwords, for a command that must not have them."""
    return {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith("KEEPER_") and name.endswith(("PRIVATE_KEY", "PASSWORD")))
    }


def debugging(environ: Mapping[str, str] | None = None) -> bool:
    """Whether KEEPER_DEBUG asks for tracebacks."""
    environ = os.environ if environ is None else environ
    return environ.get("KEEPER_DEBUG", "") not in {"", "0"}


def _raise(*found: Problem) -> None:
    if found:
        raise ConfigurationError(*found)


def _with_urls_expanded(document: Document, environ: Mapping[str, str]) -> Mapping[str, Any]:
    values = copy.deepcopy(dict(document.values))
    sections: dict[tuple[str, ...], Any] = {("chain",): values.get("chain")}
    for section in ("endpoints", "signers"):
        if isinstance(tables := values.get(section), dict):
            sections |= {(section, name): table for name, table in tables.items()}
    found = []
    for path, section in sections.items():
        if not isinstance(section, dict):
            continue
        for key in {"rpc_url", "url", "ws_url", "remote_url"} & section.keys():
            if "KEEPER_" + "__".join((*path, key)).upper() in document.environ:
                continue
            try:
                section[key] = urls.expand(section[key], environ)
            except WrongValueError as wrong:
                found.append(problems.problem(document, (*path, key), wrong))
    _raise(*found)
    return values


def _folder(document: Document) -> Path:
    """Paths in the file are relative to it."""
    return document.path.absolute().parent


def _build(document: Document, tables: Tables, environ: Mapping[str, str]) -> Settings:
    # With the rules comes NumPy, for whose import no help and no completion should wait.
    from keeper.config.policies import resolved

    folder = _folder(document)
    policies = {n: resolved(document, n, table, folder) for n, table in tables.policies.items()}
    targets = {name: each.policy.target for name, each in policies.items()}
    _raise(
        *(
            problems.problem(document, path, wrong)
            for path, wrong in floor_contradictions(tables, targets)
        )
    )
    known = network(tables.chain.id) or Network(chain_id=tables.chain.id, name="", block_time_s=0)
    return Settings(
        document=document,
        quoter=tables.chain.quoter or known.quoter,
        wrapped_native=tables.chain.wrapped_native or known.wrapped_native,
        store_path=folder / tables.store.path,
        systemd_socket=environ.get("NOTIFY_SOCKET"),
        log_level=cast("LogLevel", tables.log.level),
        log_file=folder / tables.log.file if tables.log.file else None,
        chain=ChainSettings(
            chain_id=tables.chain.id,
            endpoints=tuple(_endpoints(tables)),
            private_only=tables.chain.private_sending == "only",
            poll_interval_s=tables.chain.poll_interval_s,
            confirmations=tables.chain.confirmations,
            finality_blocks=tables.chain.finality_blocks,
            multicall=tables.chain.multicall,
            sequencer_feed=tables.chain.sequencer_feed or known.sequencer_feed,
            sequencer_grace_s=tables.chain.sequencer_grace,
        ),
        fees=FeeSettings(
            max_fee_wei=tables.fees.max_fee_gwei,
            min_priority_fee_wei=tables.fees.min_priority_fee_gwei,
            deadline_blocks=tables.fees.deadline_blocks,
            max_share_of_loss=tables.fees.max_share_of_loss,
        ),
        service=_service(tables),
        breakers=_breakers(tables, folder),
        policies={name: each.policy for name, each in policies.items()},
        rules={name: each.rule for name, each in policies.items() if each.rule is not None},
        policy_files={name: each.file for name, each in policies.items() if each.file is not None},
        markets={name: _market(name, table) for name, table in tables.markets.items()},
        market_prices=tuple(map(_market_price, tables.market_prices)),
        signers={
            name: _signer(name, table, tables, folder, environ)
            for name, table in tables.signers.items()
        },
        positions=tuple(_position(each, tables) for each in tables.positions),
        mandates={
            name: mandate_settings(name, table, tables.markets[table.market].protocol)
            for name, table in tables.mandates.items()
        },
    )


def _position(table: PositionTable, tables: Tables) -> PositionSettings:
    own: tuple[Source, ...] = ("wallet",) if table.reserve is None else ("vault",)
    guarded: tuple[Source, ...] = (*own, "pool")
    if tables.markets[table.market].protocol == "perp_v2":
        guarded = (*own, "spare", "pool")
    default = own if table.guardian is None else guarded
    return PositionSettings(
        label=table.label,
        market=table.market,
        account=table.account,
        policy=table.policy,
        signer=table.signer,
        forgive_reverts_through=table.forgive_reverts_through,
        guardian=table.guardian,
        reserve=table.reserve,
        sources=cast("tuple[Source, ...]", table.sources) or default,
    )


def _endpoints(tables: Tables) -> Iterator[EndpointSettings]:
    """The one in [chain] first, then the named ones in the file's order."""
    if tables.chain.rpc_url is not None:
        yield EndpointSettings(name=None, url=tables.chain.rpc_url, ws_url=tables.chain.ws_url)
    for name, table in tables.endpoints.items():
        yield EndpointSettings(name=name, url=table.url, ws_url=table.ws_url, use=Use(table.use))


def _service(tables: Tables) -> ServiceSettings:
    return ServiceSettings(
        http_port=tables.service.http_port,
        blind_after_s=tables.service.blind_after,
        stall_after_s=tables.service.stall_after,
        min_gas_wei=tables.service.min_gas_balance or FLOOR_GAS * tables.fees.max_fee_gwei,
        alerts=_alerts(tables),
    )


def _alerts(tables: Tables) -> AlertSettings:
    return AlertSettings(
        channels=tuple(
            ChannelSettings(
                name=name,
                url=table.apprise_url,
                severity=Severity(table.severity),
                after_s=table.after or 0,
                per_hour=table.per_hour,
            )
            for name, table in tables.channels.items()
            if table.apprise_url is not None
        ),
        webhook_url=tables.webhook_url,
        repeat_s=tables.service.repeat_alerts,
        escalate_s=tables.alerts.escalate_every,
        digest=tables.alerts.digest,
        time_zone=tables.alerts.time_zone,
        deadman_url=tables.deadman_url,
        deadman_every_s=tables.alerts.deadman_every,
    )


def _breakers(tables: Tables, folder: Path) -> BreakerSettings:
    table = tables.breakers
    return BreakerSettings(
        kill_file=folder / (table.kill_file or _kill_file(tables.store.path)),
        quarantine_after_reverts=table.quarantine_after_reverts,
        quarantine_s=table.quarantine_for,
        max_transactions_per_hour=table.max_transactions_per_hour,
        max_spend_per_day_wei=table.max_spend_per_day or Wei(DAY_GAS * tables.fees.max_fee_gwei),
    )


def _market(name: str, table: MarketTable) -> MarketSettings:
    entry = getattr(table, ENTRY_KEYS[table.protocol])
    listed = {"base_tokens": table.base_tokens, "collateral_tokens": table.collateral_tokens}
    return MarketSettings(
        name=name,
        protocol=table.protocol,
        entry=entry,
        listed={key: tokens for key, tokens in listed.items() if tokens},
    )


def _market_price(table: MarketPriceTable) -> MarketSource:
    if table.market_feed is not None:
        return FeedMarket(feed=table.feed, market_feed=table.market_feed)
    assert table.pool is not None
    assert table.base is not None
    return PoolMarket(feed=table.feed, pool=table.pool, base=table.base)


def _signer(
    name: str, table: SignerTable, tables: Tables, folder: Path, environ: Mapping[str, str]
) -> SignerSettings:
    if table.kms_key_id is not None:
        return KmsSignerSettings(name=name, key_id=table.kms_key_id)
    if table.remote_url is not None:
        assert table.address is not None
        return RemoteSignerSettings(name=name, url=table.remote_url, address=table.address)
    if table.keystore:
        return LocalKeySettings(
            name=name,
            keystore=credential(environ, str(table.keystore)) or folder / table.keystore,
            keystore_password=table.keystore_password or tables.keystore_password,
            private_key=None,
        )
    return LocalKeySettings(
        name=name,
        keystore=None,
        keystore_password=None,
        private_key=table.private_key or tables.private_key,
    )
