"""A copy of a chain that continues on its own, on this machine, and never touches its origin.

Its chain id is its own: a transaction signed for the fork is worth nothing anywhere else. No key of
the origin's owners is needed: on the fork, throw-away accounts take their positions over.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from keeper.devnet.anvil import Anvil, AnvilError, AnvilOptions, running_anvil
from keeper.devnet.files import JOURNAL, write_keystore
from keeper.devnet.origin import Origin, relayed
from keeper.devnet.rpc import Rpc
from keeper.devnet.takeover import Takeover
from keeper.mandate.charter import Charter, set_mandate
from keeper.model.errors import TemporaryError
from keeper.model.reading import Call
from keeper.model.units import Address
from keeper.protocols.aave_v3 import AavePosition

CHAIN_ID_OFFSET = 10**12
"""Added to the origin's chain id: beyond any id in use, and within what JavaScript holds exactly."""
KEPT_CHAIN_KEYS = (
    "poll_interval_s",
    "confirmations",
    "finality_blocks",
    "multicall",
    "quoter",
    "wrapped_native",
)
LEFT_OUT = frozenset({"endpoints", "mandates"})
LEFT_OUT_OF_POSITIONS = frozenset({"guardian", "reserve", "sources", "forgive_reverts_through"})
"""A guardian acts for its owner alone, and the journal is a new one."""
CONFIG = "keeper.toml"
APPOINTED = "fork-keeper"
"""The signer that guardians obey on a fork."""
STATE_GONE = re.compile(
    "BlockOutOfRange|missing trie node|header not found|pruned|(state|block).{0,80}not available",
    re.IGNORECASE,
)
"""How Anvil, geth, Erigon, Nethermind and Reth name a state that they no longer keep."""


class StateGoneError(TemporaryError):
    """The origin dropped the state that the fork was still reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """A running fork. Blocks are mined on request until `start_mining`."""

    rpc_url: str
    ws_url: str
    chain_id: int
    origin: Origin
    node: Anvil
    rpc: Rpc

    def take_over(self, positions: Sequence[AavePosition]) -> dict[Address, LocalAccount]:
        """Move positions just read to a new account for each owner; owner to account.

        Raises `TakeoverError`.
        """
        header = self.rpc.call("eth_getBlockByNumber", "latest", False)
        # No interest accrues meanwhile, so that what is moved is exactly what was read.
        self.rpc.call("anvil_setBlockTimestampInterval", 0)
        takeover = Takeover(rpc=self.rpc)
        heirs: dict[Address, LocalAccount] = {}
        for position in positions:
            heir = heirs.setdefault(position.id.account, Account.create())
            takeover.move(position, Address(heir.address))
        self.rpc.call("anvil_removeBlockTimestampInterval")
        self.rpc.call("anvil_setNextBlockBaseFeePerGas", header["baseFeePerGas"])
        self.rpc.call("evm_mine")
        return heirs

    def appoint(
        self, guardian: Address, market: Address, charter: Charter, keeper: Address
    ) -> None:
        """Let the owner name another keeper in the mandate, all else being as it was, and give the
        new one the ether of the old. Without a mandate there is nothing to do.

        Raises `TakeoverError`."""
        if charter.mandate is None:
            return
        named = set_mandate(market, replace(charter.mandate, keeper=keeper))
        Takeover(rpc=self.rpc).send(charter.owner, Call(target=guardian, data=named))
        ether = self.rpc.call("eth_getBalance", charter.mandate.keeper, "latest")
        self.rpc.call("anvil_setBalance", keeper, ether)

    def start_mining(self, block_time_s: int) -> None:
        """A block every so many seconds from now on."""
        self.rpc.call("evm_setIntervalMining", block_time_s)

    def failure(self) -> StateGoneError | AnvilError:
        """Why the node, having ended by itself, did."""
        if STATE_GONE.search(self.node.said()):
            return StateGoneError(
                f"the origin no longer keeps the state of block {self.origin.block}: "
                "fork from an archive endpoint, or start again"
            )
        return AnvilError("the fork's node ended by itself")


@contextmanager
def forked(origin: Origin, anvil: Path) -> Iterator[Fork]:
    """Start the fork; stop it on leaving. Raises `AnvilError`."""
    chain_id = CHAIN_ID_OFFSET + origin.chain_id
    with relayed(origin.url) as url:
        options = AnvilOptions(
            program=anvil, chain_id=chain_id, fork_url=url, fork_block=origin.block
        )
        with running_anvil(options) as node, Rpc(node.rpc_url) as rpc:
            yield Fork(
                rpc_url=node.rpc_url,
                ws_url=node.ws_url,
                chain_id=chain_id,
                origin=origin,
                node=node,
                rpc=rpc,
            )


def write_config(
    folder: Path,
    fork: Fork,
    original: Mapping[str, Any],
    heirs: Mapping[Address, LocalAccount],
    keeper: LocalAccount | None = None,
) -> Path:
    """The user's configuration, made for the fork: its endpoint, a journal of its own, and the
    throw-away accounts with their keystores in place of the user's, which act for themselves. Of
    accounts that have no heir the guardians act on, with `keeper` as the one that they obey. The
    port of the user's own keeper is left to it. Returns its path."""
    keys = {f"fork-{number}": heir.key for number, heir in enumerate(heirs.values(), start=1)}
    names = dict(zip(heirs, keys, strict=True))
    if keeper is not None:
        keys[APPOINTED] = keeper.key
    for name, key in keys.items():
        write_keystore(folder / f"{name}.json", key)
    kept = {key: value for key, value in original["chain"].items() if key in KEPT_CHAIN_KEYS}
    values = {
        **{key: value for key, value in original.items() if key not in LEFT_OUT},
        "chain": {"id": fork.chain_id, "rpc_url": fork.rpc_url, "ws_url": fork.ws_url, **kept},
        "store": {"path": JOURNAL},
        "service": {k: v for k, v in original.get("service", {}).items() if k != "http_port"},
        "signers": {name: {"keystore": f"{name}.json"} for name in keys},
        "positions": [_position(each, heirs, names) for each in original["positions"]],
    }
    path = folder / CONFIG
    path.write_text(f"# Written for a fork; its keys are worth nothing.\n{_toml(values)}")
    return path


def _position(
    position: Mapping[str, Any],
    heirs: Mapping[Address, LocalAccount],
    names: Mapping[Address, str],
) -> dict[str, Any]:
    owner = position["account"]
    if owner not in heirs:
        kept = {k: v for k, v in position.items() if k != "forgive_reverts_through"}
        return {**kept, "signer": APPOINTED}
    kept = {k: v for k, v in position.items() if k not in LEFT_OUT_OF_POSITIONS}
    return {**kept, "account": heirs[owner].address, "signer": names[owner]}


def _toml(section: Mapping[str, Any], name: str = "") -> str:
    """TOML 1.0 of what a configuration holds; its keys are bare."""
    lines, sections = [], []
    for key, value in section.items():
        inner = f"{name}.{key}" if name else key
        match value:
            case dict():
                only_sections = value and all(isinstance(one, dict) for one in value.values())
                header = "" if only_sections else f"\n[{inner}]\n"
                sections.append(header + _toml(value, inner))
            case [dict(), *_]:
                sections += [f"\n[[{inner}]]\n{_toml(entry, inner)}" for entry in value]
            case _:
                lines.append(f"{key} = {_value(value)}\n")
    return "".join(lines + sections)


def _value(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():  # JSON's escapes are among TOML's, but DEL must not stand bare
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case _:
            return str(value)
