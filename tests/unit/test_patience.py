"""When a slot is given up: never by one bad moment."""

from keeper.chain.transactions.patience import (
    LOOKS_TO_LOSE,
    REFUSALS_TO_ABANDON,
    REFUSED_S_TO_ABANDON,
    Patience,
    Verdict,
)


class Watch:
    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.patience = Patience(lambda: self.now_s)

    def refused(self, times: int, *, over_s: float) -> Verdict:
        for _ in range(times):
            self.patience.refused()
        self.now_s += over_s
        return self.patience.verdict


def test_verdict__many_refusals_in_a_moment__keeps() -> None:
    assert Watch().refused(20, over_s=REFUSED_S_TO_ABANDON - 1) is Verdict.KEEP


def test_verdict__few_refusals_over_a_long_time__keeps() -> None:
    assert Watch().refused(REFUSALS_TO_ABANDON - 1, over_s=1e6) is Verdict.KEEP


def test_verdict__refused_again_and_again_for_two_blocks__abandons_until_it_is_taken() -> None:
    watch = Watch()
    assert watch.refused(REFUSALS_TO_ABANDON, over_s=REFUSED_S_TO_ABANDON) is Verdict.ABANDON
    watch.patience.taken()
    assert watch.patience.verdict is Verdict.KEEP
    # The time is counted anew, too.
    assert watch.refused(REFUSALS_TO_ABANDON, over_s=1.0) is Verdict.KEEP


def test_verdict__nonce_used_without_a_receipt__is_lost_only_after_heads_in_a_row() -> None:
    patience = Watch().patience

    def after(looks: int) -> Verdict:
        for _ in range(looks):
            patience.looked(nonce_used=True)
        return patience.verdict

    assert after(LOOKS_TO_LOSE - 1) is Verdict.KEEP
    patience.looked(nonce_used=False)
    assert after(LOOKS_TO_LOSE - 1) is Verdict.KEEP
    assert after(1) is Verdict.LOST
