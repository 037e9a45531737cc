# pragma version 0.4.3
# pragma evm-version paris
"""
@title A price feed whose rounds anyone may write
@notice Answers like a Chainlink proxy: AggregatorV3 and the older latestAnswer, with round ids that
        carry the phase in their upper bits. For local chains, where every key is public: there is
        no access control.
@license Apache-2.0
"""

event AnswerUpdated:
    current: indexed(int256)
    roundId: indexed(uint256)
    updatedAt: uint256

struct Round:
    roundId: uint80
    answer: int256
    startedAt: uint256
    updatedAt: uint256
    answeredInRound: uint80

PHASE: constant(uint256) = 1
TIME_BITS: constant(uint256) = 64
TIME_MASK: constant(uint256) = 2**64 - 1

decimals: public(immutable(uint8))
description: public(String[32])
version: public(constant(uint256)) = 4
phaseId: public(constant(uint16)) = 1

# answer << 64 | updatedAt, one slot per round, counted from 1 like an aggregator's rounds.
rounds: HashMap[uint256, uint256]
last_round: uint256


@deploy
def __init__(_decimals: uint8, _description: String[32]):
    decimals = _decimals
    self.description = _description


@external
def push(answer: int256, updated_at: uint256):
    """
    @notice Publish one round. The time is given, so that a stale or odd round can be rehearsed.
    """
    bits: uint256 = convert(convert(answer, bytes32), uint256)
    self._append((bits << TIME_BITS) | (updated_at & TIME_MASK))
    log AnswerUpdated(current=answer, roundId=self.last_round, updatedAt=updated_at)


@external
def back_fill(packed: DynArray[uint256, 1000]):
    """
    @notice Append old rounds, each as answer << 64 | updatedAt, without events.
    """
    for item: uint256 in packed:
        self._append(item)


@external
@view
def latestAnswer() -> int256:
    return self._answer(self.rounds[self.last_round])


@external
@view
def latestTimestamp() -> uint256:
    return self.rounds[self.last_round] & TIME_MASK


@external
@view
def latestRound() -> uint256:
    return (PHASE << 64) | self.last_round


@external
@view
def latestRoundData() -> Round:
    return self._round(self.last_round)


@external
@view
def getRoundData(_roundId: uint80) -> Round:
    """
    @notice A round that does not exist answers with zeros, as Chainlink's aggregators do.
    """
    assert convert(_roundId, uint256) >> 64 == PHASE, "No data present"
    return self._round(convert(_roundId, uint256) & TIME_MASK)


@internal
def _append(packed: uint256):
    number: uint256 = self.last_round + 1
    self.rounds[number] = packed
    self.last_round = number


@internal
@view
def _round(number: uint256) -> Round:
    packed: uint256 = self.rounds[number]
    id: uint80 = convert((PHASE << 64) | number, uint80)
    updated_at: uint256 = packed & TIME_MASK
    return Round(
        roundId=id,
        answer=self._answer(packed),
        startedAt=updated_at,
        updatedAt=updated_at,
        answeredInRound=id,
    )


@internal
@pure
def _answer(packed: uint256) -> int256:
    # By way of bytes32, since a plain conversion refuses the sign bit; the shift keeps the sign.
    return convert(convert(packed, bytes32), int256) >> TIME_BITS
