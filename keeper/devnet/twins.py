"""The demo's three twins: the same position and wallet, guarded in three ways."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from keeper.model.units import WAD, Wad

HEALTH_AT_START = Wad(15 * WAD // 10)
COLLATERAL_WETH = 100
WALLET_WETH = 60
WALLET_USDC = 4_000
"""What each twin holds beside its position: enough dollars for the first repayments, after which
collateral has to be added."""


Mode = Literal["direct", "guardian"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarding:
    """How the keeper may act for the twins, and with what."""

    mode: Mode = "direct"
    """`direct`: the keeper has the account's own key. `guardian`: its key has gas money only, and
    the account's guardian acts within a mandate."""
    reserve: Fraction | None = None
    """USDC in the wallet, as a share of the debt; None for dollars and ether, as named above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One `[policies.NAME]` of the keeper's configuration."""

    floor: str
    target: str
    trigger_probability: str | None = None
    most_usd: int = 100_000
    """Per action; twice as much per day."""
    preset: str | None = None
    """Whose figures these are: it stands in the configuration in their place."""

    def toml(self) -> str:
        lines = [f"floor = {self.floor}", f"target = {self.target}"]
        if self.preset is not None:
            lines = [f'preset = "{self.preset}"']
        elif self.trigger_probability is not None:
            lines += [f"trigger_probability = {self.trigger_probability}", 'horizon = "24h"']
        lines += [f"max_per_action_usd = {self.most_usd}", f"max_per_day_usd = {2 * self.most_usd}"]
        return "\n".join(lines)


WATCHFUL = Policy(preset="watchful", floor="1.15", target="1.40", trigger_probability="0.10")
"""The preset that the forecast may act in before its floor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """One account of the demo."""

    name: str
    policy: Policy | None
    """None: nobody guards it."""


TWINS = (
    Twin(name="unprotected", policy=None),
    # The hand-set rule that most bots and dashboards offer: act just above liquidation.
    Twin(name="fixed", policy=Policy(floor="1.05", target="1.30")),
    Twin(name="forecast", policy=WATCHFUL),
)
