"""Logs on standard error: one JSON object per line, or readable columns on a terminal.

Libraries that log through the standard library end up in the same lines, so that they are redacted
too.
"""

import logging
import sys
from collections.abc import Collection
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from keeper.model.errors import ConfigurationError, Problem
from keeper.service.redaction import Redactor


def configure_logging(
    level: str,
    *,
    secrets: Collection[str] = (),
    stream: TextIO | None = None,
    file: Path | None = None,
) -> None:
    """Send keeper's events from `level` (debug … error) upwards, and warnings of libraries, to
    standard error and, as JSON, to `file`, which may be moved away by whoever rotates it.

    Raises `ConfigurationError` where the file cannot be written."""
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handlers: list[tuple[logging.Handler, bool]] = [
        (logging.StreamHandler(stream), stream.isatty())
    ]
    if file is not None:
        handlers.append((_opened(file), False))
    for handler, terminal in handlers:
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=shared,
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *_rendering(Redactor(secrets), terminal=terminal),
                ],
            )
        )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    root = logging.getLogger()
    root.handlers = [handler for handler, _ in handlers]
    root.setLevel(logging.WARNING)
    logging.getLogger("keeper").setLevel(level.upper())
    logging.captureWarnings(capture=True)


def _opened(file: Path) -> logging.Handler:
    try:
        return WatchedFileHandler(file, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            Problem(
                where=str(file),
                what=f"the log cannot be written there: {error.strerror}",
                why="what the keeper did and did not do would be known to nobody afterwards",
                fix="let keeper's user write the file and its folder, or name another [log] file",
            )
        ) from None


def _rendering(redactor: Redactor, *, terminal: bool) -> list[Processor]:
    """Exceptions become text before the redactor runs; local variables are never shown."""
    if terminal:
        return [
            structlog.processors.format_exc_info,
            redactor,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(transformer),
        redactor,
        _readable_order,
        structlog.processors.JSONRenderer(),
    ]


def _readable_order(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:  # noqa: ARG001 - structlog's signature
    """When, how bad and what come first in a line."""
    first = ("timestamp", "level", "event")
    return {key: event[key] for key in first if key in event} | dict(event)
