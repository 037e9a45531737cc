"""The daemon as a process of its own, told by its log.

It is forked from a server that has already imported it, so that a test does not wait seconds for
libraries. Everything else is as its users start it: arguments, environment, streams, signals.
"""

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["keeper.app", "keeper.config", "keeper.service.logging", __name__]
    + [f"keeper.cli.{name}" for name in ("root", "run", "status", "history", "explain")]
)
WITHIN_S = 20.0
"""An event that has not come by then will not come."""
LOG_TAIL = 40
_PR_SET_PDEATHSIG = 1

Line = dict[str, Any]


def _become_keeper(
    arguments: list[str],
    environ: dict[str, str],
    out: Connection,
    err: Connection,
    sabotage: Callable[[], None] | None,
) -> None:
    # The server ends with the tests, however they end; so does its child.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    out.close()
    err.close()
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["keeper", *arguments]
    if sabotage is not None:
        sabotage()
    from keeper.cli import main

    main()


class Keeper:
    """One run of the command line."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        self._news = asyncio.Condition()
        self._read = 0
        self._closed = False
        self.lines: list[Line] = []
        """Its standard error, line by line; one that is not JSON is `{"text": line}`."""
        self.text = ""
        """The same as it was printed."""
        self.output = ""
        """Its standard output."""
        self.exit_code: int | None = None

    async def said(self, event: str, **fields: Any) -> Line:
        """The next line of the log with this event and these fields, from where the last one that
        was waited for stands."""
        async with self._patience(f"{event} {fields}"), self._news:
            while True:
                while self._read < len(self.lines):
                    line = self.lines[self._read]
                    self._read += 1
                    if line.get("event") == event and fields.items() <= line.items():
                        return line
                assert not self._closed, self.log(f"it ended without {event} {fields}")
                await self._news.wait()

    def all(self, event: str, **fields: Any) -> list[Line]:
        """Every such line so far."""
        return [
            line
            for line in self.lines
            if line.get("event") == event and fields.items() <= line.items()
        ]

    async def ended(self) -> int:
        """Its exit code, once it has ended by itself or by a signal."""
        async with self._patience("its end"), self._news:
            while not self._closed:
                await self._news.wait()
        self._process.join()
        self.exit_code = self._process.exitcode
        assert self.exit_code is not None
        return self.exit_code

    async def kill(self) -> None:
        """SIGKILL; returns when the kernel has taken it away."""
        self._process.kill()
        assert await self.ended() == -signal.SIGKILL

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        self._process.terminate()
        return await self.ended()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def log(self, why: str = "") -> str:
        """The end of the log, for people."""
        tail = "\n".join(json.dumps(line) for line in self.lines[-LOG_TAIL:])
        return f"{why}\n{tail}"

    async def follow(self, out: Connection, err: Connection) -> None:
        """Take in both streams until they close."""
        await asyncio.gather(self._take_output(out), self._take_log(err))

    async def _take_output(self, pipe: Connection) -> None:
        self.output = (await (await _stream(pipe)).read()).decode()

    async def _take_log(self, pipe: Connection) -> None:
        async for raw in await _stream(pipe):
            async with self._news:
                self.text += raw.decode()
                self.lines.append(_line(raw.decode().rstrip("\n")))
                self._news.notify_all()
        async with self._news:
            self._closed = True
            self._news.notify_all()

    @asynccontextmanager
    async def _patience(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(WITHIN_S):
                yield
        except TimeoutError:
            raise AssertionError(self.log(f"waited in vain for {what}")) from None


@asynccontextmanager
async def keeper(
    *arguments: str,
    config: Path,
    environ: Mapping[str, str],
    sabotage: Callable[[], None] | None = None,
) -> AsyncIterator[Keeper]:
    """Start `keeper ARGUMENTS --config CONFIG`; killed on leaving if it has not ended.

    `sabotage` is called in its process before anything else; it can be pickled."""
    out, out_end = CONTEXT.Pipe(duplex=False)
    err, err_end = CONTEXT.Pipe(duplex=False)
    command = [*arguments, "--config", str(config)]
    process = CONTEXT.Process(
        target=_become_keeper,
        args=(command, {**environ, **_PLAIN}, out_end, err_end, sabotage),
    )
    process.start()
    out_end.close()
    err_end.close()
    running = Keeper(process)
    following = asyncio.create_task(running.follow(out, err))
    try:
        yield running
    finally:
        process.kill()
        process.join()
        await following


_PLAIN = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONUTF8": "1"}


async def asked(*arguments: str, config: Path, environ: Mapping[str, str]) -> Keeper:
    """Run a command to its end."""
    async with keeper(*arguments, config=config, environ=environ) as running:
        await running.ended()
    return running


async def _stream(pipe: Connection) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=2**24)
    file = os.fdopen(os.dup(pipe.fileno()), "rb", buffering=0)
    pipe.close()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), file
    )
    return reader


def _line(text: str) -> Line:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"text": text}
