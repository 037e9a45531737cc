"""How the keeper tells of itself."""

from dataclasses import dataclass

from pydantic import SecretStr

from keeper.model.alerts import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """One way to reach the owner, by an apprise URL."""

    name: str
    url: SecretStr
    severity: Severity = Severity.INFO
    """What is less severe is not told here."""
    after_s: int = 0
    """Only what has stood unacknowledged for so long is told here."""
    per_hour: int = 30
    """Beyond so many messages, what comes is told together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """Who is told what is wrong, and how often."""

    channels: tuple[ChannelSettings, ...] = ()
    webhook_url: SecretStr | None = None
    repeat_s: float = 3600.0
    """What lasts is told again after this …"""
    escalate_s: float = 900.0
    """… and what is critical after this, until it is acknowledged."""
    digest: str | None = None
    """When a summary is told, as a crontab says it; None is never."""
    time_zone: str = "UTC"
    deadman_url: SecretStr | None = None
    deadman_every_s: float = 60.0

    @property
    def heard(self) -> bool:
        """Whether anybody hears of an alert who does not read the log."""
        return self.webhook_url is not None or bool(self.channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What the owner and the machine are told, and when."""

    http_port: int
    """Of /healthz and /metrics on loopback; 0 is off."""
    blind_after_s: float
    """Without a new head for so long, the keeper is blind."""
    stall_after_s: float
    """Without a finished pass for so long although there are heads, it has stalled."""
    min_gas_wei: int
    """A signer with less native coin is told of; 0 is never."""
    alerts: AlertSettings = AlertSettings()
