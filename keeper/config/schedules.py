"""When something is done: crontabs and time zones."""

from typing import Any
from zoneinfo import ZoneInfo

from keeper.config.fields import text
from keeper.config.written import WrongValueError, closest


def crontab(value: Any) -> str:
    """Five fields: minute, hour, day of the month, month, day of the week."""
    from apscheduler.triggers.cron import CronTrigger  # most commands schedule nothing

    written = text(value).strip()
    try:
        CronTrigger.from_crontab(written, timezone="UTC")
    except ValueError as error:
        raise WrongValueError(
            f'"{written}" is no crontab: {error}',
            "it has five fields: minute, hour, day of the month, month, day of the week",
            'write for instance "0 8 * * *" for eight in the morning',
        ) from None
    return written


def time_zone(value: Any) -> str:
    """A name of the IANA's database."""
    from zoneinfo import available_timezones

    written = text(value).strip()
    try:
        ZoneInfo(written)
    except (ValueError, OSError, KeyError):
        meant = closest(written, sorted(available_timezones()))
        raise WrongValueError(
            f'"{written}" is no time zone',
            "it is a name of the IANA's database, such as Europe/Berlin",
            f'write "{meant or "UTC"}"',
        ) from None
    return written
