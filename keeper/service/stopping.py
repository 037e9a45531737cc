"""How the daemon stops: drained at the first signal, at once at the second."""

import asyncio
import contextlib
import signal

import structlog

log = structlog.get_logger()

FINISH_S = 15.0
"""A stop waits so long for the pass under way …"""
RECEIPTS_S = 24.0
"""… and then so long for the receipts of what was sent; the journal keeps the rest."""


class Turn:
    """Between the passes and a stop."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        """Held by a pass, so that a stop can wait for its end."""
        self.stopping = False
        """Passes plan no more; they settle what is open."""
        self.settled = asyncio.Event()
        """Nothing that was sent waits for its receipt."""
        self.settled.set()
        self.asked: asyncio.Queue[None] = asyncio.Queue()
        """To stop, once for each time."""

    def end_at_once(self) -> None:
        """Asked twice: the journal makes a pass safe to break off anywhere."""
        self.asked.put_nowait(None)
        self.asked.put_nowait(None)


async def until_signal(protection: asyncio.Task[None], turn: Turn) -> None:
    """Wait for the task to end; at SIGTERM or SIGINT drain it and end it, at a second one end it at
    once. The journal makes a pass safe to break off anywhere."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, turn.asked.put_nowait, None)
    stopping = asyncio.create_task(turn.asked.get(), name="stop")
    try:
        await asyncio.wait([protection, stopping], return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            log.info("keeper.stopping")
            stopping = asyncio.create_task(turn.asked.get(), name="stop at once")
            draining = asyncio.create_task(_drained(turn), name="drain")
            await asyncio.wait(
                [protection, draining, stopping], return_when=asyncio.FIRST_COMPLETED
            )
            draining.cancel()
            protection.cancel()
            await asyncio.wait([protection, draining])
    finally:
        stopping.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _drained(turn: Turn) -> None:
    """Until the pass under way has ended and what was sent is settled, or it takes too long."""
    turn.stopping = True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FINISH_S), turn.lock:
            pass
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(RECEIPTS_S):
            await turn.settled.wait()
