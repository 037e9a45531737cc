"""Signers with little gas and endpoints that are not alive are told of, until they are well."""

from keeper.model.alerts import Alert
from keeper.service.accounts import ALL_DOWN, ENDPOINT, LOW_GAS, tell_of_endpoints, tell_of_gas
from tests.unit.fake_rpc import address

ALICE, BOB = address("a1"), address("b2")


class Ears:
    """A notifier that keeps what stands."""

    def __init__(self) -> None:
        self.standing: set[tuple[str, str]] = set()

    def notify(self, alert: Alert) -> None:
        self.standing.add(alert.key)

    def resolve(self, name: str, subject: str = "") -> None:
        self.standing.discard((name, subject))


def test_tell_of_gas__less_than_the_least__is_told_until_it_is_filled_up() -> None:
    ears = Ears()
    tell_of_gas(ears, {ALICE: 99, BOB: 100}, min_wei=100)
    assert ears.standing == {(LOW_GAS, ALICE)}
    tell_of_gas(ears, {ALICE: 100, BOB: 100}, min_wei=100)
    assert ears.standing == set()


def test_tell_of_endpoints__one_is_down__is_told_by_name() -> None:
    ears = Ears()
    tell_of_endpoints(ears, [("own", "alive"), ("other", "unreachable")], reading={"own", "other"})
    assert ears.standing == {(ENDPOINT, "other")}


def test_tell_of_endpoints__all_are_down__is_told_until_one_is_back() -> None:
    ears = Ears()
    tell_of_endpoints(
        ears, [("own", "rate_limited"), ("other", "unreachable")], reading={"own", "other"}
    )
    assert ears.standing == {(ENDPOINT, "own"), (ENDPOINT, "other"), (ALL_DOWN, "")}
    tell_of_endpoints(ears, [("own", "alive"), ("other", "alive")], reading={"own", "other"})
    assert ears.standing == set()


def test_tell_of_endpoints__only_one_that_sends_is_left__all_are_down() -> None:
    ears = Ears()
    tell_of_endpoints(ears, [("own", "unreachable"), ("relay", "alive")], reading={"own"})
    assert ears.standing == {(ENDPOINT, "own"), (ALL_DOWN, "")}
