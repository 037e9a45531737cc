"""The file's sections and keys, and the environment laid over them."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, SecretStr
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from keeper.chain.settings import MULTICALL3
from keeper.config import amounts, fields, urls
from keeper.config.fields import EnvironmentText
from keeper.model.units import BPS, Address, Bps, Wad, Wei

PREFIX = "KEEPER_"

Count = Annotated[int, PlainValidator(fields.count)]
OptionalCount = Annotated[int | None, PlainValidator(fields.count)]
Seconds = Annotated[float, PlainValidator(fields.poll_seconds)]
Health = Annotated[Wad, PlainValidator(fields.health)]
OptionalHealth = Annotated[Wad | None, PlainValidator(fields.health)]
OptionalProbability = Annotated[float | None, PlainValidator(fields.probability)]
Usd8 = Annotated[int, PlainValidator(amounts.usd8)]
Gwei = Annotated[Wei, PlainValidator(amounts.gwei)]
Port = Annotated[int, PlainValidator(fields.port)]
Coin = Annotated[Wei, PlainValidator(amounts.coin_wei)]
OptionalCoin = Annotated[Wei | None, PlainValidator(amounts.coin_wei)]
Duration = Annotated[int, PlainValidator(fields.duration_s)]
Text = Annotated[str, PlainValidator(fields.text)]
OptionalText = Annotated[str | None, PlainValidator(fields.text)]
AddressText = Annotated[Address, PlainValidator(fields.address)]
Addresses = Annotated[tuple[Address, ...], PlainValidator(fields.addresses)]
TokenAmounts = Annotated[Mapping[Address, Decimal], PlainValidator(amounts.token_amounts)]
LossShare = Annotated[Bps, PlainValidator(fields.loss_share_bps)]
Slippage = Annotated[Bps, PlainValidator(fields.slippage_bps)]
Flag = Annotated[bool, PlainValidator(fields.flag)]
Day = Annotated[int, PlainValidator(fields.day_s)]
OptionalAddress = Annotated[Address | None, PlainValidator(fields.address)]
FilePath = Annotated[Path, PlainValidator(fields.path)]
OptionalPath = Annotated[Path | None, PlainValidator(fields.path)]
HttpUrl = Annotated[str, PlainValidator(urls.http_url)]
OptionalHttpUrl = Annotated[str | None, PlainValidator(urls.http_url)]
OptionalWsUrl = Annotated[str | None, PlainValidator(urls.ws_url)]
OptionalWebhook = Annotated[SecretStr | None, PlainValidator(urls.webhook_url)]
OptionalPassword = Annotated[SecretStr | None, PlainValidator(fields.secret)]
OptionalPrivateKey = Annotated[SecretStr | None, PlainValidator(fields.private_key)]
Protocol = Annotated[str, PlainValidator(fields.one_of("aave_v3"))]
EndpointUse = Annotated[str, PlainValidator(fields.one_of("all", "read", "send", "private"))]
PrivateSending = Annotated[str, PlainValidator(fields.one_of("first", "only"))]
OptionalSources = Annotated[
    tuple[str, ...] | None, PlainValidator(fields.some_of("wallet", "vault", "pool"))
]
Level = Annotated[str, PlainValidator(fields.one_of("debug", "info", "warning", "error"))]


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


class BreakersTable(Table):
    kill_file: OptionalPath = None
    quarantine_after_reverts: Count = 5
    quarantine_for: Duration = 600
    max_transactions_per_hour: Count = 60
    max_spend_per_day: OptionalCoin = None


class PolicyTable(Table):
    floor: Health = Field(examples=["1.15"])
    trigger_probability: OptionalProbability = None
    horizon: Duration = 24 * 3600
    target: Health = Field(examples=["1.40"])
    max_health_to_act: OptionalHealth = None
    max_per_action_usd: Usd8 = Field(examples=["50_000"])
    max_per_day_usd: Usd8 = Field(examples=["100_000"])
    min_action_usd: Usd8 = 50 * 10**8


class MarketTable(Table):
    protocol: Protocol = Field(examples=['"aave_v3"'])
    pool_addresses_provider: AddressText = Field(examples=['"0x…"'])


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
    slippage_urgent_bps: Slippage = Bps(200)
    max_per_day_usd: Usd8 = Field(examples=["100_000"])
    min_action_usd: Usd8 = 50 * 10**8
    cooldown: Duration = 60
    expires: Day = Field(examples=["2027-06-30"])
    max_hops: Count = 2
    collaterals: TokenAmounts = {}
    reserve_tokens: TokenAmounts = {}
    pools: Addresses = ()
    emergency_collateral: OptionalAddress = None
    emergency_debt: OptionalAddress = None
    emergency_route: Addresses = ()


class Tables(BaseSettings):
    """The whole file. The last three come by the environment alone."""

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
