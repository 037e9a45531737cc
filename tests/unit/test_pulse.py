"""Blind, stalled or well: judged by the clock that is given."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from keeper.chain.kill_file import Confirmation, Order, confirmed, order, ordered
from keeper.model.alerts import Severity
from keeper.model.errors import ConfigurationError
from keeper.service.acknowledging import Acknowledgements, acknowledgement_file
from keeper.service.attendant import Attendant
from keeper.service.metrics import Metrics
from keeper.service.notifications import Notifications
from keeper.service.obedience import Obedience
from keeper.service.pulse import Pulse
from keeper.service.systemd import READY, STOPPING, WATCHDOG, SystemdSocket

BLIND_S, STALL_S = 45, 30


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Spoken(SystemdSocket):
    """Keeps what systemd would hear."""

    def __init__(self) -> None:
        super().__init__(None)
        self.lines: list[str] = []

    def say(self, *lines: str) -> None:
        self.lines += lines


class Ward:
    """An attendant with everything that it looks at."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.pulse = Pulse(clock=self.clock, blind_after_s=BLIND_S, stall_after_s=STALL_S)
        self.notifications = Notifications(clock=self.clock)
        self.metrics = Metrics()
        self.systemd = Spoken()
        self.kill_file = folder / "keeper.kill"
        self.ends: list[None] = []
        self.attendant = Attendant(
            pulse=self.pulse,
            notifications=self.notifications,
            metrics=self.metrics,
            systemd=self.systemd,
            kill_file=self.kill_file,
            obedience=Obedience(
                self.kill_file,
                live=True,
                now=self.clock,
                end=lambda: self.ends.append(None),
            ),
            acknowledgements=Acknowledgements(acknowledgement_file(self.kill_file)),
            clock=self.clock,
        )

    def after(self, seconds: float) -> None:
        """Let the time pass and look."""
        self.clock.now_s += seconds
        self.attendant.look()

    def take(self, block: int) -> None:
        """A head comes, and its pass ends."""
        self.pulse.head(block)
        self.pulse.passed()

    @property
    def wrong(self) -> list[str]:
        return [alert.name for alert in self.notifications.active]

    @property
    def health(self) -> tuple[bool, Mapping[str, Any]]:
        return self.attendant.health()

    def fed(self) -> bool:
        """Whether the watchdog was fed since the last time this was asked."""
        fed, self.systemd.lines = WATCHDOG in self.systemd.lines, []
        return fed


def test_look__heads_come_and_passes_end__feeds_the_watchdog(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    for block in range(5):
        ward.take(block)
        ward.after(12)
        assert ward.fed()
    assert ward.wrong == []
    well, document = ward.health
    assert well
    assert document["status"] == "ok"
    assert document["block"] == 4
    json.dumps(document)


def test_look__no_head_for_too_long__is_blind_and_not_stalled(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    ward.take(7)
    ward.after(BLIND_S)
    assert ward.fed()
    assert ward.wrong == []
    ward.after(1)
    assert ward.wrong == ["keeper.blind"]
    assert not ward.fed()
    (alert,) = ward.notifications.active
    assert alert.severity is Severity.CRITICAL
    assert alert.fields["block"] == 7
    well, document = ward.health
    assert not well
    assert [reason["name"] for reason in document["reasons"]] == ["keeper.blind"]


def test_look__one_block_in_place_of_another__is_no_progress(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    ward.take(100)
    for _ in range(BLIND_S // 10 + 1):
        ward.after(10)
        ward.take(100)
    ward.after(0)
    assert ward.wrong == ["keeper.blind"]
    ward.take(101)
    ward.after(0)
    assert ward.wrong == []
    # Taken back to where the honest are: their next block counts.
    ward.take(50)
    ward.after(BLIND_S - 1)
    ward.take(51)
    ward.after(BLIND_S - 1)
    assert ward.wrong == []


def test_look__never_a_head__is_blind(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    ward.after(BLIND_S + 1)
    assert ward.wrong == ["keeper.blind"]
    assert not ward.fed()


def test_look__a_pass_does_not_end__has_stalled(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    ward.take(7)
    ward.pulse.head(8)
    ward.after(2 * BLIND_S)
    assert ward.wrong == ["keeper.stalled"]
    assert not ward.fed()


def test_look__passes_fail_at_every_head__has_stalled_and_says_why(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    for block in range(5):
        ward.pulse.head(block)
        ward.pulse.failed("database or disk is full")
        ward.after(12)
    assert ward.wrong == ["keeper.stalled"]
    assert "database or disk is full" in ward.notifications.active[0].text
    assert not ward.health[0]


def test_look__well_again__says_so_and_feeds(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    ward.after(BLIND_S + 1)
    ward.take(8)
    ward.after(1)
    assert ward.wrong == []
    assert ward.fed()
    assert ward.health[0]


def test_look__kill_file__is_told_and_the_watchdog_fed(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    ward.take(1)
    ward.kill_file.touch()
    ward.after(1)
    assert ward.wrong == ["keeper.paused"]
    assert ward.fed()
    well, document = ward.health
    assert well
    assert [alert["name"] for alert in document["alerts"]] == ["keeper.paused"]
    ward.kill_file.unlink()
    ward.after(1)
    assert ward.wrong == []


def test_look__tick_comes_five_seconds_late__tells_of_the_blocked_loop(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    ward.take(1)
    ward.attendant.look(late_s=5.0)
    assert ward.wrong == ["keeper.loop_blocked"]
    assert ward.notifications.active[0].fields["blocked_s"] == 5.0
    for block in range(2, 63):
        ward.take(block)
        ward.after(10)
    assert ward.wrong == []


def test_attendant__start_and_end__are_told_to_systemd(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    ward.attendant.ready()
    ward.attendant.stopping()
    assert ward.systemd.lines == [READY, STOPPING]


def test_attendant__paused_and_resumed__confirms_each_once(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    ward.take(1)
    ward.after(1)
    assert confirmed(ward.kill_file) == Confirmation(
        pid=os.getpid(), order=Order.RUN, since=1001.0, live=True
    )
    order(ward.kill_file, Order.PAUSE)
    ward.after(1)
    ward.after(1)
    assert confirmed(ward.kill_file) == Confirmation(
        pid=os.getpid(), order=Order.PAUSE, since=1002.0, live=True
    )
    assert ward.wrong == ["keeper.paused"]
    order(ward.kill_file, Order.RUN)
    ward.after(1)
    assert confirmed(ward.kill_file) == Confirmation(
        pid=os.getpid(), order=Order.RUN, since=1004.0, live=True
    )
    assert (ward.wrong, ward.ends) == ([], [])


def test_attendant__killed__confirms_and_ends_once(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    order(ward.kill_file, Order.KILL)
    ward.after(1)
    ward.after(1)
    assert confirmed(ward.kill_file) == Confirmation(
        pid=os.getpid(), order=Order.KILL, since=1001.0, live=True
    )
    assert len(ward.ends) == 1


def test_attendant__killed_before__does_not_start(tmp_path: Path) -> None:
    order(tmp_path / "keeper.kill", Order.KILL)
    with pytest.raises(ConfigurationError, match="was killed by its owner"):
        Ward(tmp_path)


@pytest.mark.parametrize("content", ["", "pause", "killed", "whatever\nkill"])
def test_ordered__any_other_content__is_a_pause(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keeper.kill"
    path.write_text(content)
    assert ordered(path) is Order.PAUSE


def test_ordered__what_cannot_be_read__is_a_pause(tmp_path: Path) -> None:
    path = tmp_path / "keeper.kill"
    path.symlink_to(tmp_path / "nowhere")
    assert ordered(path) is Order.PAUSE
