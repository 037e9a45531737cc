"""Throw-away accounts of a local chain."""

from dataclasses import dataclass

from eth_account import Account
from eth_utils.crypto import keccak

from keeper.model.units import Address

BALANCE_WEI = 10**9 * 10**18
"""What every account of a local chain holds: more than any fee limit can reserve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevAccount:
    """An account whose key anyone can derive: never send it anything of value."""

    name: str
    address: Address
    private_key: str


def dev_account(seed: int, name: str) -> DevAccount:
    """The account of that name; the same for the same seed."""
    key = keccak(text=f"keeper local chain {seed} {name}")
    address = Address(Account.from_key(key).address)
    return DevAccount(name=name, address=address, private_key="0x" + key.hex())
