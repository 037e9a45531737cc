"""Whatever waits, for whatever reason: what must hold of every remedy and of every allotment."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from keeper.chain.fees import FeeHistory, Fees, replaces
from keeper.chain.settings import FeeSettings
from keeper.chain.transactions.remedies import (
    Cancel,
    Market,
    Replace,
    Resend,
    fees_of,
    remedy,
)
from keeper.chain.transactions.slots import allot
from keeper.model.lifecycle import Purpose, State, Urgency
from keeper.model.records import Intent
from keeper.model.units import Wei
from tests.unit.fake_rpc import head_at
from tests.unit.journal_values import attempt, intent

HARD_CAP_WEI = 100 * 10**9
fees = st.integers(1, 10**12)
flags = st.booleans()


@st.composite
def waiting(draw: st.DrawFn, nonce: int = 0, decision_id: int = 1) -> Intent:
    max_fee_wei = draw(fees)
    call = attempt(
        nonce=nonce,
        gas_limit=draw(st.integers(21_000, 10**6)),
        max_fee_wei=Wei(max_fee_wei),
        priority_fee_wei=Wei(draw(st.integers(1, max_fee_wei))),
        l1_fee_wei=Wei(draw(st.integers(0, 10**15))),
    )
    attempts = [call]
    if draw(flags):
        raised = Fees(
            max_fee_wei=Wei(max_fee_wei * 5 // 4 + 1),
            priority_fee_wei=Wei(call.priority_fee_wei * 5 // 4 + 1),
        )
        attempts.append(
            replace(
                call,
                purpose=Purpose.CANCEL,
                hash=f"0xc{nonce}",
                gas_limit=21_000,
                max_fee_wei=raised.max_fee_wei,
                priority_fee_wei=min(raised.priority_fee_wei, raised.max_fee_wei),
            )
        )
    return replace(
        intent(decision_id, 1, nonce=nonce, step=nonce),
        urgency=draw(st.sampled_from(Urgency)),
        attempts=tuple(attempts),
        state=draw(st.sampled_from([State.SIGNED, State.BROADCAST, State.MINED])),
        displaced=draw(flags),
    )


@given(
    each=waiting(),
    base=fees,
    budget=st.integers(0, 10**19),
    worth=st.none() | st.integers(0, 10**19),
    urgency=st.sampled_from(Urgency),
    missing=flags,
    hidden=flags,
    underpriced=flags,
    waited=st.integers(0, 40),
    void=flags,
)
def test_remedy__anything__outbids_for_good_within_its_ceiling_and_never_revives_the_void(
    *,
    each: Intent,
    base: int,
    budget: int,
    worth: int | None,
    urgency: Urgency,
    missing: bool,
    hidden: bool,
    underpriced: bool,
    waited: int,
    void: bool,
) -> None:
    market = Market(
        head=replace(head_at(100), base_fee_wei=Wei(base)),
        history=FeeHistory(),
        settings=FeeSettings(
            max_fee_wei=Wei(HARD_CAP_WEI), min_priority_fee_wei=Wei(1), deadline_blocks=5
        ),
        budget_left_wei=Wei(budget),
    )
    each = replace(each, urgency=urgency)
    found = remedy(
        each,
        market=market,
        worth_wei=None if worth is None else Wei(worth),
        missing=missing,
        hidden=hidden,
        underpriced=underpriced,
        waited_blocks=waited,
        void=void,
    )
    if isinstance(found, Replace):
        assert not void
        assert not each.cancelling
        paid_wei = found.fees.max_fee_wei * each.attempt.gas_limit + each.attempt.l1_fee_wei
        assert paid_wei <= budget + each.attempt.most_wei
        if urgency is Urgency.ROUTINE or worth is None:
            assert found.fees.max_fee_wei <= HARD_CAP_WEI
        else:
            assert paid_wei <= max(worth, each.attempt.l1_fee_wei)
    if isinstance(found, Replace | Cancel):
        assert replaces(found.fees, fees_of(each.attempt))
        assert found.fees.priority_fee_wei <= found.fees.max_fee_wei
    if isinstance(found, Resend):
        assert missing
        assert each.cancelling or not void


@st.composite
def signers_book(draw: st.DrawFn) -> list[Intent]:
    nonces = draw(st.lists(st.integers(5, 12), unique=True, max_size=6))
    return [draw(waiting(nonce=nonce, decision_id=1 + nonce % 3)) for nonce in nonces]


@given(of_signer=signers_book(), number=st.integers(1, 3), urgency=st.sampled_from(Urgency))
def test_allot__any_book__leaves_no_gap_and_takes_only_what_may_give_way(
    of_signer: Sequence[Intent], number: int, urgency: Urgency
) -> None:
    found = allot(number, chain_nonce=5, of_signer=of_signer, urgency=urgency)
    held = {each.nonce: each for each in of_signer}
    assert len(found.nonces) == number
    assert list(found.nonces) == sorted(set(found.nonces))
    assert set(found.taken_from) == set(found.nonces) & set(held)
    for victim in found.taken_from.values():
        assert urgency is Urgency.URGENT
        assert victim.urgency is Urgency.ROUTINE or victim.cancelling
        assert victim.state is not State.MINED
        assert not victim.displaced
    # Every nonce below the last is somebody's: none is left out, none is given twice.
    assert set(range(5, max(found.nonces))) <= set(held) | set(found.nonces)
    assert not {each.nonce for each in found.left_over} & set(found.nonces)
    for each in found.left_over:
        assert each.decision_id in {victim.decision_id for victim in found.taken_from.values()}
