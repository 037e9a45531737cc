"""What is under way, and what is known of it: shared by those who send, mend and settle."""

import asyncio
from collections import Counter, defaultdict

import structlog

from keeper.chain.transactions.patience import Clock, Patience
from keeper.chain.transactions.witness import NOTHING
from keeper.model.alerts import Alert, Notifier, Severity
from keeper.model.records import Intent
from keeper.model.units import Address

log = structlog.get_logger()

CEILING = "fees.ceiling_reached"


class Followed:
    """In memory; all of it can be had again from the journal and the chain."""

    def __init__(self, *, clock: Clock, notifier: Notifier | None) -> None:
        self._clock = clock
        self._notifier = notifier
        self.open: dict[int, list[Intent]] = {}
        """By decision."""
        self.known = NOTHING
        """What the node says of them at the newest head."""
        self.patience: dict[str, Patience] = {}
        self.underpriced: set[str] = set()
        """Keys of intents whose newest bytes a node refused as too cheap."""
        self.taken: Counter[str] = Counter()
        """By hash, how often a node took the bytes."""
        self.since: dict[str, int] = {}
        """The head at which a reorg took an intent back."""
        self.turns: defaultdict[Address, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Of each signer: one at a time signs and sends."""

    def all(self) -> list[Intent]:
        return [intent for intents in self.open.values() for intent in intents]

    def of_signer(self, signer: Address) -> list[Intent]:
        return [intent for intent in self.all() if intent.signer == signer]

    def find(self, key: str) -> Intent:
        """The intent as it is now."""
        return next(intent for intent in self.all() if intent.key == key)

    def put(self, intent: Intent) -> None:
        """In the place of what it was."""
        intents = self.open[intent.decision_id]
        intents[[each.key for each in intents].index(intent.key)] = intent

    def patience_of(self, intent: Intent) -> Patience:
        return self.patience.setdefault(intent.key, Patience(self._clock))

    def alert(self, name: str, intent: Intent, text: str) -> None:
        log.error(name, key=intent.key, reason=text)
        if self._notifier is not None:
            subject = str(intent.position)
            self._notifier.notify(
                Alert(name=name, subject=subject, severity=Severity.CRITICAL, text=text)
            )

    def below_ceiling(self, intent: Intent) -> None:
        if self._notifier is not None:
            self._notifier.resolve(CEILING, str(intent.position))
