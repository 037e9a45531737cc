"""The protocols that keeper knows, by the name that a configuration gives them."""

from keeper.protocols import aave_v3, perp_v2

PROTOCOLS = {"aave_v3": aave_v3, "perp_v2": perp_v2}
