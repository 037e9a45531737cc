"""From kill -9 to the first new pass over 1,000 positions, as an init system restarts the daemon."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from keeper.devnet.child import bound_to_parent
from tests.benchmarks.report import Row, times
from tests.benchmarks.town import Town

NAME = "kill -9 to the first new pass, 1,000 positions"
GOAL_S = 10
ROUNDS = 3
PASSED, READY = b'"pass.done"', b"ready"
IMPORTS = f"import keeper.app, keeper.cli; print('{READY.decode()}', flush=True)"


async def measure(town: Town) -> tuple[list[Row], str]:
    """The rows of this figure, and what to know of them."""
    with TemporaryDirectory() as folder:
        config = Path(folder) / "keeper.toml"
        config.write_text(_configuration(town))
        daemon = ["-m", "keeper", "run", "--live", "--config", str(config)]
        environ = {
            **os.environ,
            **{
                f"KEEPER_SIGNERS__S{number}__PRIVATE_KEY": home.account.private_key
                for number, home in enumerate(town.homes)
            },
        }
        # The first start reads the feeds' history; it is killed with its transactions on their way.
        await _until(PASSED, daemon, environ)
        ours = [await _until(PASSED, daemon, environ) for _ in range(ROUNDS)]
        floor = [await _until(READY, ["-c", IMPORTS], environ) for _ in range(ROUNDS)]
    town.chain.rpc.call("anvil_dropAllTransactions")
    rows = [
        times(
            NAME,
            median(ours) * 1e3,
            "floor: an interpreter with its libraries",
            median(floor) * 1e3,
        )
    ]
    return rows, f"Restart: its goal is {GOAL_S} s; the journal holds what was open at the kill."


async def _until(said: bytes, arguments: list[str], environ: dict[str, str]) -> float:
    """Seconds from the start of a process until it says that; then it is killed."""
    begin = time.perf_counter()
    async with _killed(arguments, environ) as process:
        assert process.stdout is not None
        seen = b""
        async for line in process.stdout:
            seen += line
            if said in line:
                return time.perf_counter() - begin
    raise AssertionError(f"it ended without {said!r}: {seen[-2000:].decode()}")


@asynccontextmanager
async def _killed(
    arguments: list[str], environ: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *bound_to_parent([sys.executable, *arguments]),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**24,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _configuration(town: Town) -> str:
    chain = town.chain
    provider = chain.contracts.aave.pool_addresses_provider.address
    people = "\n".join(
        f'[signers.s{number}]\n[[positions]]\nlabel = "p{number}"\nmarket = "aave"\n'
        f'account = "{home.account.address}"\npolicy = "bench"\nsigner = "s{number}"'
        for number, home in enumerate(town.homes)
    )
    return f"""
[chain]
id = {chain.chain_id}
rpc_url = "{chain.rpc_url}"
[log]
level = "debug"
[fees]
max_fee_gwei = 500
[policies.bench]
floor = 1.15
target = 1.40
max_per_action_usd = 100000
max_per_day_usd = 100000
[markets.aave]
protocol = "aave_v3"
pool_addresses_provider = "{provider}"
{people}
"""
