"""The registry's adapters are what the engine takes: held by the type checker, and by name."""

import inspect

import pytest

from keeper.engine.watch import Adapter
from keeper.protocols import aave_v3, perp_v2
from keeper.protocols.registry import PROTOCOLS
from tests.unit.toy_protocol import Toy

ADAPTERS: tuple[Adapter, ...] = (aave_v3, perp_v2, Toy())

METHODS = [name for name in vars(Adapter) if not name.startswith("_")]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("method", METHODS)
def test_registry__protocol__has_every_method_with_the_engines_arguments(
    protocol: str, method: str
) -> None:
    asked = inspect.signature(getattr(Adapter, method)).parameters
    given = inspect.signature(getattr(PROTOCOLS[protocol], method)).parameters
    assert list(given) == [name for name in asked if name != "self"]
