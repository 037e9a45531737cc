"""TOML and environment in, frozen settings out; every mistake is found and explained here."""

from keeper.config.load import (
    debugging,
    default_path,
    foreign_environment,
    keyless_environment,
    kill_file_path,
    load_settings,
    store_path,
)
from keeper.config.settings import MarketSettings, PositionSettings, Settings

__all__ = [
    "MarketSettings",
    "PositionSettings",
    "Settings",
    "debugging",
    "default_path",
    "foreign_environment",
    "keyless_environment",
    "kill_file_path",
    "load_settings",
    "store_path",
]
