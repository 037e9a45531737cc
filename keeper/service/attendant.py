"""Looks after the keeper once a second: feeds systemd's watchdog, and tells what is wrong.

A task of its own, so that nothing it looks at can hold it up, except a blocked event loop, which it
notices afterwards and which the watchdog ends if it lasts.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keeper.chain.kill_file import Order
from keeper.model.alerts import Alert, Severity
from keeper.service.acknowledging import Acknowledgements
from keeper.service.metrics import Metrics
from keeper.service.notifications import Notifications
from keeper.service.obedience import Obedience
from keeper.service.pulse import BLIND, STALLED, Pulse
from keeper.service.systemd import READY, STOPPING, WATCHDOG, SystemdSocket

TICK_S = 1.0
BLOCKED_S = 2.0
"""A tick that comes so much too late was held up by something that must not run in the loop."""
BLOCKED_CLEAR_S = 600.0
"""A loop that was not blocked for so long is well again."""

PAUSED = "keeper.paused"
LOOP_BLOCKED = "keeper.loop_blocked"


class Attendant:
    """Watches the pulse; `attend` runs beside the passes."""

    def __init__(
        self,
        *,
        pulse: Pulse,
        notifications: Notifications,
        metrics: Metrics,
        systemd: SystemdSocket,
        kill_file: Path,
        obedience: Obedience,
        acknowledgements: Acknowledgements,
        clock: Callable[[], float],
    ) -> None:
        self._obedience = obedience
        self._acknowledgements = acknowledgements
        self._pulse = pulse
        self._notifications = notifications
        self._metrics = metrics
        self._systemd = systemd
        self._kill_file = kill_file
        self._clock = clock
        self._blocked_at_s: float | None = None

    def ready(self) -> None:
        """The first pass may begin."""
        self._systemd.say(READY)

    def stopping(self) -> None:
        """No further pass begins."""
        self._systemd.say(STOPPING)

    async def attend(self) -> None:
        """Until cancelled."""
        while True:
            due = self._clock() + TICK_S
            await asyncio.sleep(TICK_S)
            self.look(late_s=self._clock() - due)

    def look(self, *, late_s: float = 0.0) -> None:
        """One tick, which came `late_s` too late."""
        vitals = self._pulse.vitals()
        self._standing({BLIND, STALLED}, vitals.alerts)
        paused = self._obedience.look() is not Order.RUN
        self._standing({PAUSED}, [_paused(self._kill_file)] if paused else [])
        self._look_at_loop(late_s)
        for each in self._acknowledgements.take():
            self._notifications.acknowledge(each.name, each.subject)
        self._notifications.remind()
        self._metrics.alerts(Counter(alert.name for alert in self._notifications.active))
        if vitals.healthy:
            self._systemd.say(WATCHDOG)

    def health(self) -> tuple[bool, Mapping[str, Any]]:
        """What /healthz says: whether the keeper does its work, and what else is wrong."""
        vitals = self._pulse.vitals()
        return vitals.healthy, {
            "status": "ok" if vitals.healthy else "failing",
            "reasons": [{"name": alert.name, "text": alert.text} for alert in vitals.alerts],
            "block": vitals.head_number,
            "head_age_s": round(vitals.head_age_s, 1),
            "last_pass_age_s": round(vitals.pass_age_s, 1),
            "alerts": [
                {
                    "name": each.alert.name,
                    "subject": each.alert.subject,
                    "severity": each.alert.severity.value,
                    "text": each.alert.text,
                    "acknowledged": each.acknowledged,
                }
                for each in self._notifications.standing
            ],
        }

    def _look_at_loop(self, late_s: float) -> None:
        now = self._clock()
        if late_s >= BLOCKED_S:
            self._blocked_at_s = now
            self._notifications.notify(
                Alert(
                    name=LOOP_BLOCKED,
                    severity=Severity.WARNING,
                    text=f"nothing could run for {late_s:.1f} s: the machine is overloaded or asleep, "
                    "or something long ran where it must not",
                    fields={"blocked_s": round(late_s, 1)},
                )
            )
        elif self._blocked_at_s is not None and now - self._blocked_at_s > BLOCKED_CLEAR_S:
            self._blocked_at_s = None
            self._notifications.resolve(LOOP_BLOCKED)

    def _standing(self, names: set[str], alerts: Sequence[Alert]) -> None:
        """Of these names, exactly these alerts stand."""
        for alert in alerts:
            self._notifications.notify(alert)
        for name in names - {alert.name for alert in alerts}:
            self._notifications.resolve(name)


def _paused(kill_file: Path) -> Alert:
    return Alert(
        name=PAUSED,
        severity=Severity.CRITICAL,
        text=f"nothing is signed while {kill_file} exists (keeper resume); watching goes on",
    )
