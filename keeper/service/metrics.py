"""What Prometheus is told. The names are stable: dashboards and rules refer to them."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from keeper.engine.reporting import PassReport

PASS_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One registry of its own for each daemon."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._block = Gauge("keeper_block_number", "The head last acted upon", registry=registry)
        self._lag = Gauge(
            "keeper_block_lag_seconds",
            "Wall clock minus the time in that head, at the end of its pass",
            registry=registry,
        )
        self._duration = Histogram(
            "keeper_pass_duration_seconds",
            "From head to the end of its pass",
            buckets=PASS_BUCKETS_S,
            registry=registry,
        )
        self._passes = Counter(
            "keeper_passes", "Passes by how they ended", ["outcome"], registry=registry
        )
        self._round_trips = Gauge(
            "keeper_pass_round_trips",
            "Requests posted while the last pass ran, its polls for heads among them",
            registry=registry,
        )
        self._passed_at = Gauge(
            "keeper_last_pass_timestamp_seconds",
            "Unix time of the last pass that ended",
            registry=registry,
        )
        self._health = Gauge(
            "keeper_position_health",
            "Liquidation starts below 1; absent without debt",
            ["position"],
            registry=registry,
        )
        self._probability = Gauge(
            "keeper_position_breach_probability",
            "Within the policy's horizon; absent without a forecast",
            ["position"],
            registry=registry,
        )
        self._readable = Gauge(
            "keeper_position_readable",
            "1 if the last pass read it",
            ["position"],
            registry=registry,
        )
        self._worsened = Gauge(
            "keeper_worsened_positions", "Positions an action left worse: 0", registry=registry
        )
        self._transactions = Gauge(
            "keeper_transactions", "Intents in the journal", ["state"], registry=registry
        )
        self._spent = Gauge(
            "keeper_signer_spent_wei",
            "Gas paid, and what is open could cost, in the last 24 hours",
            ["signer"],
            registry=registry,
        )
        self._balance = Gauge(
            "keeper_signer_balance_wei", "Native coin", ["signer"], registry=registry
        )
        self._endpoints = Gauge(
            "keeper_endpoint_state",
            "1 for the state that an endpoint is in",
            ["endpoint", "state"],
            registry=registry,
        )
        self._base_fee = Gauge(
            "keeper_base_fee_wei", "Of the head last acted upon", registry=registry
        )
        self._reserve = Gauge(
            "keeper_position_reserve_usd",
            "What its reserve holds of tokens that could be paid into it",
            ["position"],
            registry=registry,
        )
        self._actions = Gauge(
            "keeper_actions",
            "Decisions in the journal by kind and by what came of them",
            ["kind", "outcome"],
            registry=registry,
        )
        self._cost = Gauge(
            "keeper_actions_cost_usd",
            "Expected cash cost of all actions that succeeded",
            registry=registry,
        )
        self._alerts = Gauge("keeper_alerts", "What is wrong now", ["alert"], registry=registry)

    def passed(
        self, report: PassReport, *, duration_s: float, round_trips: int, now_s: float
    ) -> None:
        """A pass came to its end at Unix time `now_s`."""
        self._passes.labels("done").inc()
        self._duration.observe(duration_s)
        self._block.set(report.head.number)
        self._lag.set(now_s - report.head.timestamp)
        self._base_fee.set(report.head.base_fee_wei)
        self._passed_at.set(now_s)
        self._round_trips.set(round_trips)
        self._worsened.set(report.worsened_positions)
        self._health.clear()
        self._probability.clear()
        for position in report.positions:
            self._readable.labels(position.label).set(position.readable)
            if position.health is not None:
                self._health.labels(position.label).set(position.health)
            if position.breach_probability is not None:
                self._probability.labels(position.label).set(position.breach_probability)

    def failed(self) -> None:
        """A pass broke off."""
        self._passes.labels("failed").inc()

    def transactions(self, by_state: Mapping[str, int]) -> None:
        """How many intents the journal holds in each state."""
        self._transactions.clear()
        for state, count in by_state.items():
            self._transactions.labels(state).set(count)

    def reserves(self, usd: Mapping[str, float]) -> None:
        """What the reserve of each position holds, by label."""
        self._reserve.clear()
        for label, worth in usd.items():
            self._reserve.labels(label).set(worth)

    def actions(self, counts: Mapping[tuple[str, str], int], *, cost_usd: float) -> None:
        """What the journal holds, and what it has cost."""
        self._actions.clear()
        for (kind, outcome), count in counts.items():
            self._actions.labels(kind, outcome).set(count)
        self._cost.set(cost_usd)

    def spent(self, signer: str, spent_wei: int) -> None:
        """What a signer has paid within the day."""
        self._spent.labels(signer).set(spent_wei)

    def balance(self, signer: str, balance_wei: int) -> None:
        """What a signer has left."""
        self._balance.labels(signer).set(balance_wei)

    def endpoints(self, states: Mapping[str, str]) -> None:
        """The state of each endpoint, by its public name."""
        self._endpoints.clear()
        for endpoint, state in states.items():
            self._endpoints.labels(endpoint, state).set(1)

    def alerts(self, names: Mapping[str, int]) -> None:
        """How many subjects each alert that stands is about."""
        self._alerts.clear()
        for name, count in names.items():
            self._alerts.labels(name).set(count)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)
