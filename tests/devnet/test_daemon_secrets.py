"""Neither the private key nor the endpoint's API key nor a password leaves the daemon."""

import json

from eth_account import Account

from keeper.devnet.proxy import RecordingProxy
from tests.devnet.keeping.gates import Outage
from tests.devnet.keeping.ground import Ground
from tests.devnet.keeping.process import Keeper, keeper

API_KEY = "Zq7TnVb2xW9cLk4RmP8sYd3H"
PASSWORD = "correct horse battery staple 4711"
WRONG_PASSWORD = "incorrect donkey battery staple 1147"
CONFIGURATION = 78


async def test_secrets__live_run_with_an_outage__are_in_no_log_and_no_file(ground: Ground) -> None:
    one = ground.guard()
    outage = Outage(down=True)
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, outage) as proxy:
        ground.environ |= keyed(proxy)
        async with ground.keeper(proxy, "--live") as running:
            await running.said("endpoint.down")
            outage.down = False
            await running.said("transaction.sent", purpose="Repay")
            outage.down = True
            ground.chain.mine()
            await running.said("heads.poll_failed")
            outage.down = False
            await ground.until_concluded(running)
            assert await running.stop() == 0
    (event,) = ground.events(one)
    told = [await ground.ask(*words) for words in (["status"], ["history", "--json"])]
    told.append(await ground.ask("explain", "1"))
    assert event.transaction in told[1].output
    for each in (running, *told):
        assert leaks(ground, said(each)) == []
    for path in ground.folder.glob("keeper.sqlite3*"):
        assert leaks(ground, path.read_bytes()) == []


async def test_secrets__errors__do_not_show_them(ground: Ground) -> None:
    ground.guard()
    environ = {
        "KEEPER_CHAIN__RPC_URL": f"http://user:{API_KEY}@127.0.0.1:9/v3/{API_KEY}?key={API_KEY}",
        **ground.environ,
    }
    config = ground.config("http://127.0.0.1:9", None)
    async with keeper("run", config=config, environ=environ) as unreachable:
        await unreachable.said("endpoint.down")
        assert await unreachable.stop() == 0
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy:
        ground.environ |= keyed(proxy) | {"KEEPER_CHAIN__ID": "1", "KEEPER_DEBUG": "1"}
        async with ground.keeper(proxy, "--live") as debugged:
            await debugged.ended()
        assert "Traceback" in debugged.text
        del ground.environ["KEEPER_DEBUG"]
        async with ground.keeper(proxy, "--live") as on_another_chain:
            assert await on_another_chain.ended() == CONFIGURATION
        del ground.environ["KEEPER_CHAIN__ID"]
        lock_up(ground)
        async with ground.keeper(proxy, "--live") as shut_out:
            assert await shut_out.ended() == CONFIGURATION
            assert "password does not open" in shut_out.text
    for each in (unreachable, debugged, on_another_chain, shut_out):
        assert leaks(ground, said(each)) == []


def keyed(proxy: RecordingProxy) -> dict[str, str]:
    """The endpoint's URLs as a provider gives them out."""
    return {
        "KEEPER_CHAIN__RPC_URL": f"{proxy.http_url}/v3/{API_KEY}",
        "KEEPER_CHAIN__WS_URL": f"{proxy.ws_url}/ws/v3/{API_KEY}",
    }


def lock_up(ground: Ground) -> None:
    """Put the position's key into a keystore, and give the wrong password for it."""
    (one,) = ground.guarded
    key = bytes.fromhex(one.account.private_key[2:])
    path = ground.folder / "main.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(Account.encrypt(key, PASSWORD, "scrypt", 4096)))
    del ground.environ["KEEPER_SIGNERS__MAIN__PRIVATE_KEY"]
    ground.environ["KEEPER_SIGNERS__MAIN__KEYSTORE"] = str(path)
    ground.environ["KEEPER_KEYSTORE_PASSWORD"] = WRONG_PASSWORD


def said(each: Keeper) -> bytes:
    """Everything that it printed."""
    return (each.text + each.output).encode()


def leaks(ground: Ground, content: bytes) -> list[str]:
    """What of the secrets is in it, as text in any case or as raw bytes."""
    (one,) = ground.guarded
    digits = one.account.private_key[2:]
    texts = {"API key": API_KEY, "password": WRONG_PASSWORD, "private key": digits}
    found = [name for name, text in texts.items() if text.lower().encode() in content.lower()]
    return found + (["raw private key"] if bytes.fromhex(digits) in content else [])


def test_leaks__planted__are_found(ground: Ground) -> None:
    one = ground.guard()
    key = one.account.private_key
    assert leaks(ground, b"nothing") == []
    assert leaks(ground, f"x{key.upper()} {API_KEY}".encode()) == ["API key", "private key"]
    assert leaks(ground, b"x" + bytes.fromhex(key[2:])) == ["raw private key"]
