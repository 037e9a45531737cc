"""Which markets and margin tokens accounts use on a Perp v2 venue that no settings describe yet."""

from collections.abc import Sequence

from eth_abi.abi import decode
from eth_utils.address import to_checksum_address

from keeper.abi.perp_v2 import AccountBalance, ClearingHouse, Vault
from keeper.abi.words import word_to_address
from keeper.model.reading import Reading
from keeper.model.units import Address
from keeper.model.values import Listed
from keeper.protocols.perp_v2_market import no_venue


def used(clearing_house: Address, accounts: Sequence[Address]) -> Reading[Listed]:
    """What the settings of a venue list, in two round trips: empty where nobody trades there.

    Raises `UnsupportedVenueError` where no ClearingHouse answers."""
    returns = yield (
        ClearingHouse.GET_ACCOUNT_BALANCE(clearing_house),
        ClearingHouse.GET_VAULT(clearing_house),
    )
    if not returns.has_word().all():
        raise no_venue(f"ClearingHouse {clearing_house}")
    balance, vault = word_to_address(returns.word(0)), word_to_address(returns.word(1))
    returns = yield (
        *(AccountBalance.GET_BASE_TOKENS(balance, account) for account in accounts),
        *(Vault.GET_COLLATERAL_TOKENS(vault, account) for account in accounts),
    )
    lists = [decode(["address[]"], returns.output(index))[0] for index in range(2 * len(accounts))]
    return {
        key: tuple(
            dict.fromkeys(Address(to_checksum_address(each)) for found in part for each in found)
        )
        for key, part in (
            ("base_tokens", lists[: len(accounts)]),
            ("collateral_tokens", lists[len(accounts) :]),
        )
    }
