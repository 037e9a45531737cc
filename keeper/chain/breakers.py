"""What stops signing whatever the plan: the kill file, a signer's limits, a position's reverts.

Counted from the journal, so that a restart neither forgets nor refills. Watching goes on.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from keeper.chain.settings import BreakerSettings
from keeper.chain.transactions.seams import RunOnStore, SignatureRequest
from keeper.model.alerts import Alert, Notifier, Severity
from keeper.model.units import Address, Wei
from keeper.model.values import PositionId

HOUR_S = 3600
DAY_S = 24 * HOUR_S
RATE, SPEND, QUARANTINED = "signer.rate_limit", "signer.spend_limit", "position.quarantined"


class RevertCount(Protocol):
    """Reverts in a row, and the newest of them."""

    @property
    def count(self) -> int: ...
    @property
    def decision_id(self) -> int: ...
    @property
    def timestamp(self) -> int: ...


class JournalTallies(Protocol):
    """What this needs of the journal; synchronous, called on the store's thread."""

    def signed_since(self, chain_id: int, signer: Address, timestamp: int) -> int: ...
    def spent_wei_since(self, chain_id: int, signer: Address, timestamp: int) -> int: ...
    def reverts_in_a_row(self, position: PositionId, *, after_decision: int = 0) -> RevertCount: ...


class Breakers:
    """Asked before a plan is made (`quarantine`) and right before every signature (`objection`)."""

    def __init__(
        self,
        settings: BreakerSettings,
        *,
        tallies: JournalTallies,
        run: RunOnStore,
        notifier: Notifier,
        labels: Mapping[PositionId, str],
        forgiven: Mapping[PositionId, int],
        now: Callable[[], int],
    ) -> None:
        """`forgiven`: reverts of decisions up to this one do not count. `now` is the newest head's
        time."""
        self._settings = settings
        self._tallies = tallies
        self._run = run
        self._notifier = notifier
        self._labels = labels
        self._forgiven = forgiven
        self._now = now

    async def quarantine(self, position: PositionId) -> str | None:
        """Why nothing is planned for the position; None if it may be acted for."""
        if (reason := killed(self._settings.kill_file)) is not None:
            return reason
        forgiven = self._forgiven.get(position, 0)
        found = await self._run(self._tallies.reverts_in_a_row, position, after_decision=forgiven)
        until = found.timestamp + self._settings.quarantine_s
        label = self._labels.get(position, str(position))
        if found.count < self._settings.quarantine_after_reverts or self._now() >= until:
            self._notifier.resolve(QUARANTINED, label)
            return None
        reason = (
            f"quarantined: its last {found.count} plans reverted on the chain; tried again in "
            f"{until - self._now()} s, or after forgive_reverts_through = {found.decision_id}"
        )
        self._alert(QUARANTINED, label, reason)
        return reason

    async def objection(self, request: SignatureRequest) -> str | None:
        """Why it may not be signed. What replaces other bytes in their nonce slot is no further
        transaction."""
        now, limits = self._now(), self._settings
        chain_id, signer = request.chain_id, request.signer
        most_wei, replaces = request.most_wei, request.replaces
        signed = await self._run(self._tallies.signed_since, chain_id, signer, now - HOUR_S)
        signed += len(request.beside)
        spent = await self._run(self._tallies.spent_wei_since, chain_id, signer, now - DAY_S)
        spent += sum(each.most_wei for each in request.beside)
        if not replaces and signed >= limits.max_transactions_per_hour:
            reason = f"{signed} transactions within the hour: max_transactions_per_hour is reached"
            self._alert(RATE, signer, reason)
            return reason
        self._notifier.resolve(RATE, signer)
        # Of what shares a nonce one alone is paid for: the dearest counts, and is counted so far.
        more = max(most_wei - request.replaced_wei, 0)
        if more > 0 and spent + more > limits.max_spend_per_day_wei:
            reason = (
                f"fees of {spent / 1e18:.6f} within the day and up to {most_wei / 1e18:.6f} more "
                "would pass max_spend_per_day"
            )
            self._alert(SPEND, signer, reason)
            return reason
        self._notifier.resolve(SPEND, signer)
        # Last, so that nothing is awaited between this look and the signature.
        return killed(limits.kill_file)

    async def left_wei(self, chain_id: int, signer: Address) -> Wei:
        """What the signer may still spend on fees today, when all that waits costs its most."""
        day = self._now() - DAY_S
        spent = await self._run(self._tallies.spent_wei_since, chain_id, signer, day)
        return Wei(max(self._settings.max_spend_per_day_wei - spent, 0))

    def _alert(self, name: str, subject: str, text: str) -> None:
        self._notifier.notify(
            Alert(name=name, subject=subject, severity=Severity.CRITICAL, text=text)
        )


def killed(path: Path) -> str | None:
    """Why nothing may be signed because of the kill file; also where it cannot be looked for."""
    try:
        path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"whether {path} exists cannot be seen ({error.strerror})"
    return f"{path} exists: nothing is signed until `keeper resume` removes it"
