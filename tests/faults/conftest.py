"""The fault suite: a seeded sample of its lines by default, all of them with `--faults all`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from keeper.devnet.proxy import RecordingProxy
from tests.devnet.keeping.fixtures import ground as ground
from tests.devnet.keeping.ground import Ground
from tests.faults.faulty import Faulty
from tests.faults.lines import LINES
from tests.faults.registry import sample
from tests.faults.report import FaultReport
from tests.faults.stage import Stage

SAMPLE = 12


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--faults", default=str(SAMPLE), help="all, how many, or names with commas")
    group.addoption("--faults-seed", type=int, default=0, help="which ones, where not all")
    group.addoption("--faults-json", type=Path, help="where to write what was seen")


def pytest_configure(config: pytest.Config) -> None:
    # Unknown options are at their defaults where this file is found after the command line was read.
    config.pluginmanager.register(FaultReport(config.getoption("--faults-json", None)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "line" not in metafunc.fixturenames:
        return
    wanted = metafunc.config.getoption("--faults", str(SAMPLE))
    if wanted == "all":
        names = list(LINES)
    elif wanted.isdigit():
        names = sample(int(wanted), metafunc.config.getoption("--faults-seed", 0))
    else:
        names = wanted.split(",")
    if unknown := [name for name in names if name not in LINES]:
        raise pytest.UsageError(f"no fault is named {', '.join(unknown)}: see docs/FAULTS.md")
    metafunc.parametrize("line", [LINES[name] for name in names], ids=names)


@pytest.fixture
async def stage(ground: Ground) -> AsyncIterator[Stage]:
    gate = Faulty()
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, gate) as proxy,
        AsyncExitStack() as opened,
    ):
        yield Stage(ground=ground, proxy=proxy, gate=gate, opened=opened)
