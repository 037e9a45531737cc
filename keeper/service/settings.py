"""How the keeper tells of itself."""

from dataclasses import dataclass

from pydantic import SecretStr


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What the owner and the machine are told, and when."""

    http_port: int
    """Of /healthz and /metrics on loopback; 0 is off."""
    blind_after_s: float
    """Without a new head for so long, the keeper is blind."""
    stall_after_s: float
    """Without a finished pass for so long although there are heads, it has stalled."""
    repeat_alerts_s: float
    min_gas_wei: int
    """A signer with less native coin is told of; 0 is never."""
    webhook_url: SecretStr | None

    @property
    def heard(self) -> bool:
        """Whether anybody hears of an alert who does not read the log."""
        return self.webhook_url is not None
