"""A token that refuses more than the local chain's own do."""

from pathlib import Path

from vyper.compiler import compile_code  # type: ignore[import-untyped]  # it ships no types

from keeper.devnet.artifacts import Artifact, Interface
from keeper.devnet.chain import LocalChain
from keeper.model.units import Address
from tests.devnet.support import create

NOBODY = Address("0x" + "00" * 20)


def make_strict(chain: LocalChain, symbol: str, *, listed: Address = NOBODY) -> None:
    """Let the token behave as `StrictToken.vy` says; balances and allowances stay."""
    source = Path(__file__).with_name("StrictToken.vy").read_text()
    compiled = compile_code(source, output_formats=["abi", "bytecode"])
    artifact = Artifact(
        interface=Interface(tuple(compiled["abi"])),
        bytecode=compiled["bytecode"].removeprefix("0x"),
        links={},
    )
    token = chain.contracts.tokens[symbol].address
    # Its code moves to an address that nobody has; the strict face takes its place.
    own_code = chain.account(f"code of {symbol}").address
    chain.rpc.call("anvil_setCode", own_code, chain.rpc.call("eth_getCode", token, "latest"))
    face = create(chain, artifact, own_code, listed).address
    chain.rpc.call("anvil_setCode", token, chain.rpc.call("eth_getCode", face, "latest"))
