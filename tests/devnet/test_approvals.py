"""`keeper approvals`: what accounts have let others take, found and revoked on the real tokens."""

import json
from pathlib import Path

from keeper.devnet.chain import LocalChain
from tests.devnet.keeping.ground import Ground, Guarded
from tests.devnet.keeping.process import asked

UNLIMITED = 2**256 - 1


def configured(ground: Ground) -> Path:
    return ground.config(ground.chain.rpc_url, None)


async def audit(ground: Ground) -> list[dict[str, object]]:
    configured(ground)
    said = await ground.ask("approvals", "--json")
    assert said.exit_code == 0, said.log()
    found: list[dict[str, object]] = json.loads(said.output)["allowances"]
    return found


def allow(chain: LocalChain, one: Guarded, symbol: str, spender: str, raw: int) -> None:
    chain.transact(one.account.address, chain.contracts.tokens[symbol], "approve", spender, raw)


async def test_approvals__given_changed_and_taken_back__lists_what_is_open(ground: Ground) -> None:
    one = ground.guard()
    pool = ground.chain.contracts.aave.pool.address
    friend = ground.chain.account("friend").address
    allow(ground.chain, one, "USDC", friend, 5_000_000)
    allow(ground.chain, one, "USDC", friend, 3_000_000)
    allow(ground.chain, one, "DAI", friend, UNLIMITED)
    allow(ground.chain, one, "DAI", pool, 7)
    allow(ground.chain, one, "DAI", pool, 0)
    found = {(each["symbol"], each["spender"]): each for each in await audit(ground)}
    assert found["USDC", friend]["raw"] == "3000000"
    assert found["DAI", friend]["unlimited"] is True
    assert ("DAI", pool) not in found


async def test_approvals__beginning_after_the_head__is_refused(ground: Ground) -> None:
    one = ground.guard()
    allow(ground.chain, one, "DAI", ground.chain.account("friend").address, UNLIMITED)
    configured(ground)
    said = await ground.ask("approvals", "--from-block", "1000000000")
    assert said.exit_code == 78
    assert "--from-block" in said.text
    assert "No allowance is open" not in said.output


async def test_approvals__the_command_it_prints__revokes(ground: Ground) -> None:
    one = ground.guard()
    friend = ground.chain.account("friend").address
    allow(ground.chain, one, "USDC", friend, 5_000_000)
    (line,) = [each for each in await audit(ground) if each["spender"] == friend]
    _, *arguments = str(line["revoke"]).split()
    ground.chain.rpc.call("evm_setAutomine", True)
    try:
        revoking = await asked(
            *arguments, "--yes", config=configured(ground), environ=ground.environ
        )
    finally:
        ground.chain.rpc.call("evm_setAutomine", False)
    assert revoking.exit_code == 0, revoking.log()
    usdc = ground.chain.contracts.tokens["USDC"]
    assert ground.chain.read(usdc, "allowance", one.account.address, friend) == 0


async def test_approvals__account_without_key__says_how_and_sends_nothing(ground: Ground) -> None:
    one = ground.guard()
    friend, stranger = ground.chain.account("friend"), ground.chain.account("stranger")
    configured(ground)
    nonce = ground.nonce(one)
    token = ground.chain.contracts.tokens["USDC"].address
    said = await ground.ask("approvals", "revoke", stranger.address, token, friend.address, "--yes")
    assert said.exit_code == 78
    assert stranger.address in said.text
    assert "--safe-batch" in said.text
    assert ground.nonce(one) == nonce


async def test_approvals__nobody_to_agree__sends_nothing(ground: Ground) -> None:
    one = ground.guard()
    friend = ground.chain.account("friend")
    configured(ground)
    nonce = ground.nonce(one)
    token = ground.chain.contracts.tokens["USDC"].address
    said = await ground.ask("approvals", "revoke", one.account.address, token, friend.address)
    assert said.exit_code == 1
    assert "--yes" in said.text
    assert ground.nonce(one) == nonce


async def test_approvals__account_is_a_safe__writes_a_batch_that_it_can_load(
    ground: Ground, tmp_path: Path
) -> None:
    ground.guard()
    safe, friend = ground.chain.account("safe").address, ground.chain.account("friend").address
    configured(ground)
    token = ground.chain.contracts.tokens["USDC"].address
    path = tmp_path / "batch.json"
    said = await ground.ask("approvals", "revoke", safe, token, friend, "--safe-batch", str(path))
    assert said.exit_code == 0, said.log()
    document = json.loads(path.read_text())
    assert document["chainId"] == str(ground.chain.chain_id)
    assert document["meta"]["createdFromSafeAddress"] == safe
    (transaction,) = document["transactions"]
    assert transaction["to"] == token
    assert transaction["value"] == "0"
    assert transaction["data"] == "0x095ea7b3" + friend[2:].lower().rjust(64, "0") + "0" * 64
