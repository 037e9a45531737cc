"""A beat that never waits for the work between its beats, and never hurries after it."""

import threading

from keeper.devnet.pace import Pace


class Clock(threading.Event):
    """A clock that moves when it is waited for, or when the work between two beats takes time."""

    def __init__(self, last_s: float) -> None:
        super().__init__()
        self.now_s = 0.0
        self.last_s = last_s

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.now_s += timeout
        return self.now_s > self.last_s


def beats(work_s: list[float], last_s: float) -> tuple[list[float], int]:
    """When the beats came, given how long the work after each took; and how many were late."""
    clock = Clock(last_s)
    pace = Pace(1.0, clock, now=lambda: clock.now_s)
    came = []
    for _, taken_s in zip(pace.beats(), [*work_s, *[0.0] * 100], strict=False):
        came.append(clock.now_s)
        clock.now_s += taken_s
    return came, pace.late_beats


def test_beats__short_work__keeps_the_beat() -> None:
    assert beats([0.25, 0.5, 0.75], last_s=4.0) == ([1.0, 2.0, 3.0, 4.0], 0)


def test_beats__work_longer_than_two_beats__comes_late_once_and_does_not_catch_up() -> None:
    # The work after the beat at 1 s takes 2.5 s: the next comes at 3.5 s, then every second again.
    assert beats([2.5], last_s=6.0) == ([1.0, 3.5, 4.5, 5.5], 1)


def test_beats__stopped__ends() -> None:
    stop = threading.Event()
    stop.set()
    assert list(Pace(1.0, stop).beats()) == []
