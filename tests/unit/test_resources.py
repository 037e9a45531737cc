"""Finding the files that are not Python, in a checkout and in an installed wheel."""

from pathlib import Path

import pytest

from keeper import resources
from keeper.resources import MissingResourceError, devnet_home, devnet_sources, resource


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package's resources, and a cache directory that is not the user's."""
    installed = tmp_path / "site-packages/keeper/_resources"
    (installed / "config").mkdir(parents=True)
    (installed / "config/keeper.example.toml").touch()
    monkeypatch.setattr(resources, "_WHEEL_RESOURCES", installed)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return installed


def test_resource__checkout__lies_at_its_top() -> None:
    top = Path(resources.__file__).parents[1]
    assert resource("contracts_abi", "erc20.json") == top / "contracts_abi/erc20.json"


def test_resource__wheel__lies_in_the_package(wheel: Path) -> None:
    assert resource("config", "keeper.example.toml") == wheel / "config/keeper.example.toml"


def test_resource__missing__names_the_path() -> None:
    with pytest.raises(MissingResourceError, match="no_such_abi"):
        resource("contracts_abi", "no_such_abi.json")


def test_devnet_home__checkout__is_beside_the_lock_file() -> None:
    assert (devnet_home() / "package-lock.json").exists()


def test_devnet_home__wheel__is_a_cache_directory_of_its_own_per_lock_file(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = devnet_home()
    assert first.is_relative_to(tmp_path / "cache")
    assert devnet_home() == first
    (tmp_path / "package-lock.json").write_text("another lock")
    monkeypatch.setattr(resources, "devnet_sources", lambda: tmp_path)
    assert devnet_home() != first
    assert devnet_sources() != first
