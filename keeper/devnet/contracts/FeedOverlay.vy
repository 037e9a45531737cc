# pragma version 0.4.3
# pragma evm-version paris
"""
@title A price feed that goes on with rounds of our own
@notice Put in a real feed's place on a fork: until the first new round, and for every round before
        it, it answers as the feed itself does; then with what is published. For forks, where
        anybody may publish.
@dev The feed's own code is kept at another address and called on the feed's own storage. Nothing is
     stored here: new rounds are in a contract of their own.
@license Apache-2.0
"""

interface Rounds:
    def latestRound() -> uint256: view
    def latestAnswer() -> int256: view
    def latestTimestamp() -> uint256: view
    def getRoundData(id: uint80) -> Round: view

struct Round:
    roundId: uint80
    answer: int256
    startedAt: uint256
    updatedAt: uint256
    answeredInRound: uint80

# A feed's answers are some words, its description and name short texts.
MOST: constant(uint256) = 1024
NUMBER_MASK: constant(uint256) = 2**64 - 1

ORIGINAL: immutable(address)
ROUNDS: immutable(Rounds)
LAST: immutable(uint256)


@deploy
def __init__(original: address, rounds: address, last: uint256):
    """
    @param original Where the feed's own code is now
    @param rounds A PriceFeed without rounds
    @param last The id of the feed's newest round; 0 where it tells of none
    """
    ORIGINAL = original
    ROUNDS = Rounds(rounds)
    LAST = last


@external
@raw_return
def latestAnswer() -> Bytes[MOST]:
    if self._published() == 0:
        return self._original()
    return abi_encode(staticcall ROUNDS.latestAnswer())


@external
@raw_return
def latestTimestamp() -> Bytes[MOST]:
    if self._published() == 0:
        return self._original()
    return abi_encode(staticcall ROUNDS.latestTimestamp())


@external
@raw_return
def latestRound() -> Bytes[MOST]:
    published: uint256 = self._published()
    if published == 0 or LAST == 0:
        return self._original()
    return abi_encode(LAST + published)


@external
@raw_return
def latestRoundData() -> Bytes[MOST]:
    published: uint256 = self._published()
    if published == 0 or LAST == 0:
        return self._original()
    return self._round(published)


@external
@raw_return
def getRoundData(_roundId: uint80) -> Bytes[MOST]:
    id: uint256 = convert(_roundId, uint256)
    if LAST == 0 or id <= LAST or id > LAST + self._published():
        return self._original()
    return self._round(id - LAST)


@external
@payable
@raw_return
def __default__() -> Bytes[MOST]:
    return raw_call(ORIGINAL, msg.data, max_outsize=MOST, is_delegate_call=True)


@internal
@view
def _published() -> uint256:
    return staticcall ROUNDS.latestRound() & NUMBER_MASK


@internal
@view
def _round(number: uint256) -> Bytes[MOST]:
    found: Round = staticcall ROUNDS.getRoundData(convert((1 << 64) | number, uint80))
    found.roundId = convert(LAST + number, uint80)
    found.answeredInRound = found.roundId
    return abi_encode(found)


@internal
def _original() -> Bytes[MOST]:
    # It may be called in a view, where the EVM itself lets nothing be written.
    return raw_call(ORIGINAL, msg.data, max_outsize=MOST, is_delegate_call=True)
