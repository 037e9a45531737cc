"""The file's sections and keys, and the environment laid over them."""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, SecretStr
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from keeper.chain.settings import MULTICALL3
from keeper.config import amounts, fields, schedules, urls
from keeper.config.written import EnvironmentText
from keeper.model.units import BPS, Address, Bps, Wad, Wei

PREFIX = "KEEPER_"

# What an editor is told to expect; what is refused and why is the parsers' own business.
Number = Annotated[float, Field(gt=0)]
Whole = Annotated[int, Field(ge=1)]
Whole0 = Annotated[int, Field(ge=0)]
PortNumber = Annotated[int, Field(ge=0, le=fields.MAX_PORT)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
HealthNumber = Annotated[float, Field(gt=1, le=fields.MAX_HEALTH)]
Span = Annotated[str, Field(pattern=r"^\d+ *[smhd]$")]
Hex = Annotated[str, Field(pattern="^0x[0-9a-fA-F]{40}$")]


def _read(parser: Callable[[Any], Any], editors: Any) -> PlainValidator:
    return PlainValidator(parser, json_schema_input_type=editors)


Count = Annotated[int, _read(fields.count, Whole)]
OptionalCount = Annotated[int | None, _read(fields.count, Whole)]
Seconds = Annotated[float, _read(fields.poll_seconds, Number)]
Health = Annotated[Wad, _read(fields.health, HealthNumber)]
OptionalHealth = Annotated[Wad | None, _read(fields.health, HealthNumber)]
OptionalProbability = Annotated[float | None, _read(fields.probability, Fraction)]
Usd8 = Annotated[int, _read(amounts.usd8, Number)]
Gwei = Annotated[Wei, _read(amounts.gwei, Number)]
Port = Annotated[int, _read(fields.port, PortNumber)]
Coin = Annotated[Wei, _read(amounts.coin_wei, Number)]
OptionalCoin = Annotated[Wei | None, _read(amounts.coin_wei, Number)]
Duration = Annotated[int, _read(fields.duration_s, Span)]
OptionalDuration = Annotated[int | None, _read(fields.duration_s, Span)]
Text = Annotated[str, _read(fields.text, str)]
OptionalText = Annotated[str | None, _read(fields.text, str)]
AddressText = Annotated[Address, _read(fields.address, Hex)]
Addresses = Annotated[tuple[Address, ...], _read(fields.addresses, list[Hex])]
TokenAmount = Annotated[Decimal, _read(amounts.token_amount, Number)]
TokenAmounts = Annotated[Mapping[Address, Decimal], _read(amounts.token_amounts, dict[Hex, Number])]
LossShare = Annotated[Bps, _read(fields.loss_share_bps, Number)]
OptionalShare = Annotated[Bps | None, _read(fields.loss_share_bps, Number)]
Slippage = Annotated[Bps, _read(fields.slippage_bps, Whole0)]
OptionalSlippage = Annotated[Bps | None, _read(fields.slippage_bps, Whole0)]
Flag = Annotated[bool, _read(fields.flag, bool)]
Day = Annotated[int, _read(fields.day_s, date)]
OptionalAddress = Annotated[Address | None, _read(fields.address, Hex)]
FilePath = Annotated[Path, _read(fields.path, str)]
OptionalPath = Annotated[Path | None, _read(fields.path, str)]
HttpUrl = Annotated[str, _read(urls.http_url, str)]
OptionalHttpUrl = Annotated[str | None, _read(urls.http_url, str)]
OptionalWsUrl = Annotated[str | None, _read(urls.ws_url, str)]
OptionalWebhook = Annotated[SecretStr | None, _read(urls.webhook_url, str)]
OptionalApprise = Annotated[SecretStr | None, _read(urls.apprise_url, str)]
OptionalPassword = Annotated[SecretStr | None, _read(fields.secret, str)]
OptionalPrivateKey = Annotated[SecretStr | None, _read(fields.private_key, str)]
Protocol = Annotated[str, _read(fields.one_of("aave_v3", "perp_v2"), Literal["aave_v3", "perp_v2"])]
EndpointUse = Annotated[
    str,
    _read(
        fields.one_of("all", "read", "send", "private"), Literal["all", "read", "send", "private"]
    ),
]
AlertSeverity = Annotated[
    str, _read(fields.one_of("info", "warning", "critical"), Literal["info", "warning", "critical"])
]
OptionalCrontab = Annotated[str | None, _read(schedules.crontab, str)]
TimeZone = Annotated[str, _read(schedules.time_zone, str)]
OptionalPreset = Annotated[
    str | None,
    _read(
        fields.one_of("careful", "balanced", "thrifty", "watchful"),
        Literal["careful", "balanced", "thrifty", "watchful"],
    ),
]
PrivateSending = Annotated[str, _read(fields.one_of("first", "only"), Literal["first", "only"])]
OptionalSources = Annotated[
    tuple[str, ...] | None,
    _read(
        fields.some_of("wallet", "vault", "spare", "pool"),
        list[Literal["wallet", "vault", "spare", "pool"]],
    ),
]
Level = Annotated[
    str,
    _read(
        fields.one_of("debug", "info", "warning", "error"),
        Literal["debug", "info", "warning", "error"],
    ),
]


class Table(BaseModel):
    """A section. A key it does not know is a mistake, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ChainTable(Table):
    id: Count = Field(examples=["1"])
    rpc_url: OptionalHttpUrl = None
    ws_url: OptionalWsUrl = None
    private_sending: PrivateSending = "first"
    poll_interval_s: Seconds = 1.0
    confirmations: Count = 1
    finality_blocks: Count = 64
    multicall: AddressText = MULTICALL3
    quoter: OptionalAddress = None
    wrapped_native: OptionalAddress = None
    sequencer_feed: OptionalAddress = None
    sequencer_grace: Duration = 3600


class EndpointTable(Table):
    url: HttpUrl = Field(examples=['"https://eth.example/v3/${RPC_KEY}"'])
    ws_url: OptionalWsUrl = None
    use: EndpointUse = "all"


class StoreTable(Table):
    path: FilePath = Path("keeper.sqlite3")


class LogTable(Table):
    level: Level = "info"
    file: OptionalPath = None


class FeesTable(Table):
    max_fee_gwei: Gwei = Field(examples=["500"])
    min_priority_fee_gwei: Gwei = Wei(10**9)
    deadline_blocks: Count = 10
    max_share_of_loss: LossShare = Bps(BPS)


class ServiceTable(Table):
    http_port: Port = 0
    blind_after: Duration = 45
    stall_after: Duration = 45
    repeat_alerts: Duration = 3600
    min_gas_balance: OptionalCoin = None


class AlertsTable(Table):
    escalate_every: Duration = 900
    digest: OptionalCrontab = None
    time_zone: TimeZone = "UTC"
    deadman_every: Duration = 60


class ChannelTable(Table):
    severity: AlertSeverity = "info"
    after: OptionalDuration = None
    per_hour: Count = 30
    apprise_url: OptionalApprise = None


class BreakersTable(Table):
    kill_file: OptionalPath = None
    quarantine_after_reverts: Count = 5
    quarantine_for: Duration = 600
    max_transactions_per_hour: Count = 60
    max_spend_per_day: OptionalCoin = None


class PolicyTable(Table):
    preset: OptionalPreset = None
    file: OptionalPath = None
    floor: OptionalHealth = None
    trigger_probability: OptionalProbability = None
    horizon: OptionalDuration = None
    target: OptionalHealth = None
    max_health_to_act: OptionalHealth = None
    guard_share: OptionalShare = None
    cooldown: OptionalDuration = None
    response: Duration = 60
    max_per_action_usd: Usd8 = Field(examples=["50_000"])
    max_per_day_usd: Usd8 = Field(examples=["100_000"])
    min_action_usd: Usd8 = 50 * 10**8


class MarketTable(Table):
    protocol: Protocol = Field(examples=['"aave_v3"'])
    pool_addresses_provider: OptionalAddress = None
    clearing_house: OptionalAddress = None
    base_tokens: Addresses = ()
    collateral_tokens: Addresses = ()


class MarketPriceTable(Table):
    feed: AddressText = Field(examples=['"0x…"'])
    pool: OptionalAddress = None
    base: OptionalAddress = None
    market_feed: OptionalAddress = None


class SignerTable(Table):
    keystore: OptionalPath = None
    remote_url: OptionalHttpUrl = None
    address: OptionalAddress = None
    kms_key_id: OptionalText = None
    keystore_password: OptionalPassword = None
    private_key: OptionalPrivateKey = None


class PositionTable(Table):
    label: Text = Field(examples=['"main"'])
    market: Text = Field(examples=['"aave"'])
    account: AddressText = Field(examples=['"0x…"'])
    policy: Text = Field(examples=['"careful"'])
    signer: Text = Field(examples=['"alice"'])
    forgive_reverts_through: OptionalCount = None
    guardian: OptionalAddress = None
    reserve: OptionalAddress = None
    sources: OptionalSources = None


class MoveTable(Table):
    market: Text = Field(examples=['"aave"'])
    floor: Health = Field(examples=["1.60"])
    max_per_day_usd: Usd8 = Field(examples=["20_000"])
    allowance: TokenAmount = Field(examples=["50_000"])


class MandateTable(Table):
    account: AddressText = Field(examples=['"0x…"'])
    market: Text = Field(examples=['"aave"'])
    keeper: AddressText = Field(examples=['"0x…"'])
    freezer: OptionalAddress = None
    reserve: OptionalAddress = None
    max_health_to_act: Health = Field(examples=["1.40"])
    target: Health = Field(examples=["1.40"])
    emergency_health: OptionalHealth = None
    emergency_outlives_expiry: Flag = False
    slippage_calm_bps: Slippage = Bps(50)
    slippage_urgent_bps: OptionalSlippage = None
    max_per_day_usd: Usd8 = Field(examples=["100_000"])
    min_action_usd: Usd8 = 50 * 10**8
    cooldown: Duration = 60
    expires: Day = Field(examples=["2027-06-30"])
    max_hops: Count = 2
    collaterals: TokenAmounts = {}
    reserve_tokens: TokenAmounts = {}
    base_tokens: Addresses = ()
    move: MoveTable | None = None
    pools: Addresses = ()
    emergency_collateral: OptionalAddress = None
    emergency_debt: OptionalAddress = None
    emergency_route: Addresses = ()


class Tables(BaseSettings):
    """The whole file. The last four come by the environment alone."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=False,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
    )

    chain: ChainTable
    endpoints: dict[str, EndpointTable] = {}
    store: StoreTable = StoreTable()
    log: LogTable = LogTable()
    service: ServiceTable = ServiceTable()
    alerts: AlertsTable = AlertsTable()
    channels: dict[str, ChannelTable] = {}
    breakers: BreakersTable = BreakersTable()
    fees: FeesTable
    policies: dict[str, PolicyTable]
    markets: dict[str, MarketTable]
    market_prices: list[MarketPriceTable] = []
    signers: dict[str, SignerTable]
    positions: list[PositionTable]
    mandates: dict[str, MandateTable] = {}
    private_key: OptionalPrivateKey = None
    keystore_password: OptionalPassword = None
    webhook_url: OptionalWebhook = None
    deadman_url: OptionalWebhook = None


class _Environment(EnvSettingsSource):
    """The given variables instead of the real environment, one variable per key."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self.env_vars = {
            name.lower(): EnvironmentText(value) for name, value in environ.items() if value
        }

    def decode_complex_value(
        self,
        field_name: str,
        field: Any,  # noqa: ARG002 - the signature is pydantic-settings'
        value: Any,  # noqa: ARG002 - as above
    ) -> Any:
        raise ValueError(f"`{field_name}` is a section, not a value")


def merge(values: Mapping[str, Any], environ: Mapping[str, str]) -> Tables:
    """The file's values with the environment's over them.

    Raises pydantic's `ValidationError`, and pydantic-settings' `SettingsError` for a variable that
    names a section.
    """

    class Sources(Tables):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - reads os.environ
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - keeper has no such file
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return _Environment(settings_cls, environ), init_settings

    return Sources(**values)
