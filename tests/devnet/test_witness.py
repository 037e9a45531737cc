"""What the demo says of the keeper's key is looked up on the chain, and is told when it is not so."""

from keeper.devnet.chain import LocalChain
from keeper.devnet.report import KeyTold
from keeper.devnet.witness import key_told
from keeper.model.units import Address


def told(chain: LocalChain, *guardians: Address) -> KeyTold:
    return key_told(chain, chain.account("keeper").address, guardians)


def test_key__that_did_nothing__is_no_problem(chain: LocalChain) -> None:
    assert told(chain).problems() == []


def test_key__that_called_a_guardian_alone__is_no_problem(chain: LocalChain) -> None:
    keeper, guardian = chain.account("keeper").address, chain.account("guardian").address
    chain.send(keeper, guardian, b"", gas=100_000)
    chain.mine()
    assert told(chain, guardian).counterparties == (guardian,)
    assert told(chain, guardian).problems() == []
    assert told(chain).problems() == [
        f"the keeper's account called {guardian}, which is no guardian"
    ]


def test_key__with_a_token__is_named_though_the_demo_does_not_know_it(chain: LocalChain) -> None:
    keeper, pool = chain.account("keeper").address, chain.contracts.aave.pool
    usdc, friend = chain.contracts.tokens["USDC"], chain.account("friend").address
    chain.mint("USDC", friend, 10**6)
    chain.transact(friend, usdc, "approve", pool.address, 10**6)
    chain.transact(friend, pool, "supply", usdc.address, 10**6, keeper, 0)
    a_token = chain.read(pool, "getReserveData", usdc.address)[8]
    (problem,) = told(chain).problems()
    assert problem.lower() == f"the keeper's account holds {a_token}"
    chain.mint("USDC", keeper, 1)
    assert "the keeper's account holds USDC" in told(chain).problems()


def test_key__with_an_allowance_of_its_own_or_anybodys__is_named(chain: LocalChain) -> None:
    keeper, friend = chain.account("keeper").address, chain.account("friend").address
    problem = ["an allowance was given by the keeper's account or to it"]
    born = chain.snapshot()
    chain.transact(friend, chain.contracts.tokens["USDC"], "approve", keeper, 1)
    assert told(chain).problems() == problem
    chain.revert(born)
    chain.transact(keeper, chain.contracts.tokens["USDC"], "approve", friend, 1)
    assert told(chain, chain.contracts.tokens["USDC"].address).problems() == problem


def test_key__that_deployed_a_contract__is_named(chain: LocalChain) -> None:
    keeper = chain.account("keeper").address
    chain.rpc.call("eth_sendTransaction", {"from": keeper, "data": "0x00", "gas": hex(100_000)})
    chain.mine()
    (problem,) = told(chain).problems()
    assert problem.endswith("which is no guardian")
