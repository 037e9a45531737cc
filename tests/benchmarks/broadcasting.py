"""From a head to the broadcast in the demo, seen at the proxy between daemon and node."""

import os
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import numpy as np
from eth_account import Account

from keeper.abi.words import Function
from keeper.devnet.chain import GWEI, LocalChain
from keeper.devnet.demo import Demo
from keeper.devnet.files import write_files
from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.scenario import packaged_scenario
from keeper.devnet.stage import staged
from keeper.devnet.toolchain import Toolchain
from tests.benchmarks.report import Row, times

NAME = "head to broadcast in the demo"
SCENARIO = "black-thursday"
ROUNDS = 50
ACCOUNT_DATA = Function("getUserAccountData(address)")


async def measure(toolchain: Toolchain) -> tuple[list[Row], str]:
    """The rows of this figure, and what to know of them."""
    scenario = packaged_scenario(SCENARIO)
    with staged(scenario, toolchain) as stage, TemporaryDirectory() as folder:
        demo = Demo(
            scenario=scenario,
            stage=stage,
            write=partial(write_files, stage),
            folder=Path(folder),
            environ=dict(os.environ),
            show=lambda _: None,
        )
        report = await demo.play()
        floor = await _floor(stage.chain)
    if not report.head_to_broadcast_ms:
        raise AssertionError("the daemon sent nothing in the demo")
    rows = []
    for percent in (50, 95):
        ours, bare = (
            np.percentile(report.head_to_broadcast_ms, percent),
            np.percentile(floor, percent),
        )
        name = f"{NAME}, p{percent}"
        rows.append(times(name, float(ours), "floor: one raw eth_call, one raw send", float(bare)))
    return rows, (
        f"Broadcast: {len(report.head_to_broadcast_ms)} transactions in {report.blocks} blocks of "
        f"{SCENARIO}, the market mining meanwhile; the floor on the same chain when all is quiet."
    )


async def _floor(chain: LocalChain) -> list[float]:
    """One eth_call and one eth_sendRawTransaction as prepared bytes through a proxy, in ms."""
    sender, pool = chain.account("floor"), chain.contracts.aave.pool.address
    request = {"to": pool, "data": "0x" + ACCOUNT_DATA.encode(sender.address).hex()}
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [request, "latest"]}
    taken = []
    async with (
        RecordingProxy(chain.rpc_url, chain.ws_url) as proxy,
        aiohttp.ClientSession() as session,
    ):
        for nonce in range(ROUNDS):
            signed = Account.sign_transaction(
                {
                    "chainId": chain.chain_id,
                    "nonce": nonce,
                    "to": sender.address,
                    "value": 0,
                    "gas": 21_000,
                    "maxFeePerGas": 10_000 * GWEI,
                    "maxPriorityFeePerGas": GWEI,
                },
                sender.private_key,
            )
            raw = signed.raw_transaction.to_0x_hex()
            send = {"jsonrpc": "2.0", "id": 2, "method": "eth_sendRawTransaction", "params": [raw]}
            begin = time.perf_counter()
            async with session.post(proxy.http_url, json=call) as answer:
                await answer.read()
            async with session.post(proxy.http_url, json=send) as answer:
                answered = await answer.read()
            taken.append((time.perf_counter() - begin) * 1e3)
            if b"error" in answered:
                raise AssertionError(f"the node refused the floor's transaction: {answered!r}")
    return taken
