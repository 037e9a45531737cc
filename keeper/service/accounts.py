"""What signers have left and how endpoints stand: looked at now and then, told when it is bad."""

from collections.abc import Container, Iterable, Mapping

from keeper.model.alerts import Alert, Notifier, Severity
from keeper.model.units import Address

LOW_GAS, ALL_DOWN, ENDPOINT = "signer.low_gas", "endpoints.all_down", "endpoint.not_alive"
ALIVE = "alive"


def tell_of_gas(notifier: Notifier, balances_wei: Mapping[Address, int], *, min_wei: int) -> None:
    """An alert for each signer that soon cannot pay for an action."""
    for signer, balance_wei in balances_wei.items():
        if balance_wei >= min_wei:
            notifier.resolve(LOW_GAS, signer)
            continue
        notifier.notify(
            Alert(
                name=LOW_GAS,
                subject=signer,
                severity=Severity.CRITICAL,
                text=f"{balance_wei / 1e18:.6f} of the chain's coin is left for gas, less than "
                f"{min_wei / 1e18:.6f}: send some to it",
                fields={"balance_wei": balance_wei, "min_wei": min_wei},
            )
        )


def tell_of_endpoints(
    notifier: Notifier, standings: Iterable[tuple[str, str]], *, reading: Container[str]
) -> None:
    """An alert for each endpoint, by its public name, that is not alive, and one if none is. Those
    that only send are never asked how they are, and keep nobody from being blind."""
    found = {name: standing for name, standing in standings if name in reading}
    for name, standing in found.items():
        if standing == ALIVE:
            notifier.resolve(ENDPOINT, name)
            continue
        notifier.notify(
            Alert(
                name=ENDPOINT,
                subject=name,
                severity=Severity.WARNING,
                text=f"the endpoint is {standing}; the others are asked",
            )
        )
    if ALIVE in found.values():
        notifier.resolve(ALL_DOWN)
    elif found:
        notifier.notify(
            Alert(
                name=ALL_DOWN,
                severity=Severity.CRITICAL,
                text="no endpoint that is read is alive: nothing can be seen",
            )
        )
