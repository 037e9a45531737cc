"""What feeds say right now, unfiltered: for the guards, which want to see the absurd as well."""

from collections.abc import Mapping

from keeper.abi.words import split_words
from keeper.model.reading import Calls, Reading, Returns
from keeper.model.units import Address
from keeper.policy.guards import FeedAnswer
from keeper.protocols.chainlink import DECIMALS, LATEST_ROUND_DATA

_SIGN = 1 << 255


class FeedAnswers:
    """Asks the same feeds block after block; the calls stay the same object, so that their encoding
    can be kept."""

    def __init__(self, feeds: tuple[Address, ...]) -> None:
        self.feeds = feeds
        self._calls: Calls = tuple(
            call for feed in feeds for call in (LATEST_ROUND_DATA(feed), DECIMALS(feed))
        )

    def reading(self) -> Reading[Mapping[Address, FeedAnswer]]:
        """In one round trip, none without feeds; without those that do not answer."""
        if not self._calls:
            return {}
        returns = yield self._calls
        found = {feed: _answer(returns, 2 * place) for place, feed in enumerate(self.feeds)}
        return {feed: answer for feed, answer in found.items() if answer is not None}


def _answer(returns: Returns, at: int) -> FeedAnswer | None:
    """From roundId, answer, startedAt, updatedAt, answeredInRound; then the decimals."""
    words = split_words(returns.output(at)) if returns.ok(at) else ()
    decimals = split_words(returns.output(at + 1)) if returns.ok(at + 1) else ()
    if len(words) < 5:
        return None
    return FeedAnswer(
        answer=words[1] - (words[1] & _SIGN) * 2,
        started_at=words[2],
        updated_at=words[3],
        decimals=decimals[0] if decimals else None,
    )
