"""Calls with static arguments."""

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from keeper.abi.words import Function, split_words, word_to_address
from keeper.model.units import Address

TOKEN = Address("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2")


@given(st.binary(min_size=20, max_size=20), st.integers(0, 2**256 - 1), st.booleans())
def test_function__any_words__equals_the_general_coder(
    owner: bytes, amount: int, flag: bool
) -> None:
    function = Function("approve(address,uint256,bool)")
    call = function(TOKEN, Address("0x" + owner.hex()), amount, flag)
    assert call.target == TOKEN
    assert call.data[4:] == encode(["address", "uint256", "bool"], [owner, amount, flag])


def test_function__selector__is_the_published_one() -> None:
    assert Function("transfer(address,uint256)").selector.hex() == "a9059cbb"
    assert Function("totalSupply()").encode().hex() == "18160ddd"


def test_function__wrong_number_or_size_of_arguments__is_refused() -> None:
    balance_of = Function("balanceOf(address)")
    with pytest.raises(ValueError, match="takes 1 words, not 2"):
        balance_of(TOKEN, TOKEN, 1)
    with pytest.raises(ValueError, match="not an address"):
        balance_of(TOKEN, Address("0x1234"))
    for number in (-1, 2**256):
        with pytest.raises(OverflowError):
            balance_of(TOKEN, number)


@given(st.lists(st.integers(0, 2**256 - 1), max_size=5), st.binary(max_size=31))
def test_split_words__words_and_a_rest__gives_the_words(values: list[int], rest: bytes) -> None:
    output = b"".join(value.to_bytes(32, "big") for value in values) + rest
    assert split_words(output) == tuple(values)


def test_word_to_address__dirty_high_bytes__gives_the_checksummed_address() -> None:
    assert word_to_address(int(TOKEN, 16) + (7 << 160)) == TOKEN
