"""How a mandate is written into a guardian, and how it is read there.

The contract's own page, contracts_abi/guardian/README.md, explains each field.
"""

from dataclasses import astuple, dataclass
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from keeper.abi.words import Function
from keeper.model.mandate import MAX_COLLATERALS, MAX_HOPS, MAX_POOLS, NOBODY, Mandate
from keeper.model.reading import Reading, ReadingError
from keeper.model.units import Address, Bps, Wad

OWNER = Function("owner()")
MANDATE = Function("mandate(address)")
STATUS = Function("status(address)")
FREEZE = Function("freeze(address)")
UNFREEZE = Function("unfreeze(address)")
REVOKE_MANDATE = Function("revoke_mandate(address)")
CONSENT = Function("consent(address,uint256,uint256,uint256)")
CONSENT_OF = Function("consent_of(address,address)")
SOURCE_OF = Function("source_of(address)")
ALLOW_MOVE = Function("allow_move(address,address,uint256,uint256,uint256,uint256)")
"""Both of a perp account's guardian alone."""

_TERMS = (
    "(address,address,address,uint256,uint256,uint256,bool,uint256,uint256,uint256,uint256,"
    "uint256,uint256,uint256,uint256,address[4],address[8],address,address,address[3])"
)
_SET_MANDATE = keccak(text=f"set_mandate(address,{_TERMS})")[:4]
_CONSENT = "(uint256,uint256,uint256)"
_STATUS = "(uint256,bool,bytes32,uint256,uint256)"
_SOURCE = ("(address,uint256)", _CONSENT, "uint256", "uint256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What a reserve that is not the owner's lets a guardian pull for one market."""

    expiry: int
    available: int
    """The value that may be pulled now, if `expiry` is not past."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveSource:
    """Where the owner lets margin be moved from."""

    market: Address
    """Of Aave v3, by its PoolAddressesProvider."""
    floor: Wad
    """The health that is to be left there."""
    limit_max: int
    """With 8 decimals, as the two below."""
    limit_per_second: int
    expiry: int
    available: int
    """The value that the limit leaves now, if `expiry` is not past."""
    spare: int
    """What the floor, the collateral and its allowance leave, in the settlement token's units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charter:
    """What a guardian says of one market at a block."""

    owner: Address
    mandate: Mandate | None
    nonce: int
    """How often a mandate was set or revoked."""
    frozen: bool
    mandate_hash: bytes
    """What a keeper's calls must carry: chain, guardian, owner, market, mandate and nonce."""
    available: int
    """The value that may be moved now."""
    last_action_at: int
    """Unix seconds; 0 before the first one."""
    consent: Consent | None = None
    """Of the reserve that was asked for."""
    source: MoveSource | None = None
    """None where nothing may be moved, or it was not asked for."""
    source_unread: bool = False
    """Something may be moved, but its market or oracle does not answer now: how much, nobody knows."""


class NoGuardianError(ReadingError):
    """The contract at an address is not a guardian, or there is none."""

    def __init__(self, guardian: Address) -> None:
        super().__init__(f"{guardian} is no guardian: it does not answer as one")


def set_mandate(market: Address, mandate: Mandate) -> bytes:
    """The calldata. Raises eth_abi's `EncodingError` for what does not fit the contract's types."""
    return _SET_MANDATE + encode(["address", _TERMS], [market, _padded(mandate)])


def read_charter(
    guardian: Address, market: Address, reserve: Address | None = None, *, moves: bool = False
) -> Reading[Charter]:
    """With the consent of a reserve other than the owner, and where margin may be moved from if
    `moves`; a guardian that cannot tell that moves none. Raises `NoGuardianError`."""
    calls = (
        OWNER(guardian),
        MANDATE(guardian, market),
        STATUS(guardian, market),
        *((SOURCE_OF(guardian, market), CONSENT_OF(guardian, market, guardian)) if moves else ()),
        *(() if reserve is None else (CONSENT_OF(guardian, market, reserve),)),
    )
    returns = yield calls
    try:
        (owner,) = decode(["address"], returns.output(0))
        status = decode([_STATUS], returns.output(2))[0]
        terms = decode([_TERMS], returns.output(1))[0] if returns.ok(1) else None
        source = _source(returns.output(3)) if moves and returns.ok(3) else None
        allowed = decode([_CONSENT, "uint256"], returns.output(4))[0][0] if moves else 0
        consent = None
        if reserve is not None:
            (_, _, expiry), available = decode(
                [_CONSENT, "uint256"], returns.output(len(calls) - 1)
            )
            consent = Consent(expiry=expiry, available=available)
    except (ReadingError, DecodingError) as error:
        raise NoGuardianError(guardian) from error
    nonce, frozen, mandate_hash, available, last_action_at = status
    return Charter(
        owner=_address(owner),
        mandate=None if terms is None else _mandate(terms),
        nonce=nonce,
        frozen=frozen,
        mandate_hash=mandate_hash,
        available=available,
        last_action_at=last_action_at,
        consent=consent,
        source=source,
        source_unread=source is None and allowed > 0,
    )


def _source(output: bytes) -> MoveSource | None:
    (market, floor), (limit_max, limit_per_second, expiry), available, spare = decode(
        _SOURCE, output
    )
    if _address(market) == NOBODY:
        return None
    return MoveSource(
        market=_address(market),
        floor=Wad(floor),
        limit_max=limit_max,
        limit_per_second=limit_per_second,
        expiry=expiry,
        available=available,
        spare=spare,
    )


def _padded(mandate: Mandate) -> tuple[Any, ...]:
    *fields, collaterals, pools, sold, owed, route = astuple(mandate)
    return (
        *fields,
        _filled(collaterals, MAX_COLLATERALS),
        _filled(pools, MAX_POOLS),
        sold,
        owed,
        _filled(route, MAX_HOPS),
    )


def _filled(addresses: tuple[Address, ...], length: int) -> tuple[Address, ...]:
    return (*addresses, *(NOBODY,) * (length - len(addresses)))


def _mandate(terms: tuple[Any, ...]) -> Mandate:
    return Mandate(
        keeper=_address(terms[0]),
        freezer=_address(terms[1]),
        reserve=_address(terms[2]),
        max_health_to_act=Wad(terms[3]),
        target=Wad(terms[4]),
        emergency_health=Wad(terms[5]),
        emergency_outlives_expiry=terms[6],
        slippage_calm_bps=Bps(terms[7]),
        slippage_urgent_bps=Bps(terms[8]),
        limit_max=terms[9],
        limit_per_second=terms[10],
        min_action=terms[11],
        cooldown_s=terms[12],
        expiry=terms[13],
        max_hops=terms[14],
        collaterals=_addresses(terms[15]),
        pools=_addresses(terms[16]),
        emergency_collateral=_address(terms[17]),
        emergency_debt=_address(terms[18]),
        emergency_route=_addresses(terms[19]),
    )


def _addresses(texts: tuple[str, ...]) -> tuple[Address, ...]:
    return tuple(each for each in map(_address, texts) if each != NOBODY)


def _address(text: str) -> Address:
    return Address(to_checksum_address(text))
