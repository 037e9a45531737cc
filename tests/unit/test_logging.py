"""Logs: a canary in every place from which a secret could fly."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from keeper import app
from keeper.cli.run import run
from keeper.service.logging import configure_logging
from keeper.service.redaction import Redactor
from tests.unit.test_config import VALID

KEY = "c0ffee" * 10 + "abcd"
API_KEY = "canary-4711-api-key"
PHRASE = "abandon " * 11 + "about"
TX_HASH = "0x" + "12" * 32


class Terminal(io.StringIO):
    """A stream that a person watches."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, keeper_level = root.handlers, root.level, logging.getLogger("keeper").level
    yield
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)
    logging.getLogger("keeper").setLevel(keeper_level)
    logging.captureWarnings(capture=False)


def logger() -> structlog.stdlib.BoundLogger:
    bound: structlog.stdlib.BoundLogger = structlog.get_logger("keeper.test")
    return bound


@pytest.fixture(params=[io.StringIO, Terminal], ids=["json", "terminal"])
def stream(request: pytest.FixtureRequest) -> io.StringIO:
    chosen: io.StringIO = request.param()
    return chosen


@pytest.mark.parametrize(
    "text",
    [
        f"invalid key 0x{KEY}",
        f"invalid key {KEY.upper()}!",
        f"GET https://node.example/v3/{API_KEY} failed",
        f"GET https://node.example/?apikey={API_KEY}",
        f"wss://user:{API_KEY}@node.example:8546",
        f"Max retries exceeded with url: /v3/{API_KEY} (Caused by …)",
        f"cannot derive from {PHRASE}",
    ],
)
def test_logging__secret_in_any_place__is_redacted(stream: io.StringIO, text: str) -> None:
    configure_logging("debug", secrets=[API_KEY], stream=stream)

    logger().info("test.said", reason=text)
    logger().info(text)
    logger().info("test.nested", inner={"list": [text, (text,)]})
    logger().info("test.error", reason=ValueError(text))
    logging.getLogger("aiohttp").warning("library says %s", text)
    try:
        secret = text  # noqa: F841 - local variables must not be shown either
        nothing: dict[str, str] = {}
        try:
            nothing[text]
        except KeyError as cause:
            raise ValueError(text) from cause
    except ValueError:
        logger().exception("test.failed")

    said = stream.getvalue()
    assert "test.failed" in said
    assert KEY not in said.lower()
    assert API_KEY not in said
    assert "abandon abandon" not in said
    assert "[redacted]" in said


def test_logging__secret_under_its_name__is_redacted(stream: io.StringIO) -> None:
    configure_logging("info", stream=stream)
    logger().info("test.said", keystore_password="bird", private_key=7, raw=b"\x01\x02")
    assert "bird" not in stream.getvalue()
    assert "[2 bytes]" in stream.getvalue()


def test_logging__hash_under_its_name__stays() -> None:
    stream = io.StringIO()
    configure_logging("info", stream=stream)
    logger().info("transaction.sent", tx_hash=TX_HASH, block_hash=TX_HASH, reason=TX_HASH)
    line = json.loads(stream.getvalue())
    assert line["tx_hash"] == line["block_hash"] == TX_HASH
    assert line["reason"] == "[redacted]"


def test_logging__no_terminal__one_json_object_per_line() -> None:
    stream = io.StringIO()
    configure_logging("info", stream=stream)
    logger().debug("test.quiet")
    logger().info(
        "plan.refused", reason="daily limit", health=1.1, endpoint="http://127.0.0.1:8545"
    )
    logging.getLogger("library").info("chatter")

    (line,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line["event"] == "plan.refused"
    assert line["level"] == "info"
    assert line["logger"] == "keeper.test"
    assert line["health"] == 1.1
    assert line["endpoint"] == "http://127.0.0.1:8545"
    assert line["timestamp"].endswith("Z")


def test_logging__long_sentence__is_no_seed_phrase(stream: io.StringIO) -> None:
    configure_logging("info", stream=stream)
    sentence = "the node was asked for more than one thing and then did not give any answer"
    logger().info("test.said", reason=sentence)
    assert sentence in stream.getvalue()


def test_redactor__words_around_a_seed_phrase__stay_with_their_gaps() -> None:
    plain = "two entries would protect one\n  position twice and\tspend twice the  limits\nhere\n"
    phrase = "\n".join(["test"] * 11 + ["junk"])
    assert Redactor().text(plain) == plain
    assert Redactor().text(f"looked at\n{phrase}\nelsewhere") == "looked at\n[redacted]\nelsewhere"


def test_run__crashes_unexpectedly__the_log_tells_where_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def crash(*_: Any, **__: Any) -> None:
        local = f"a local variable with {KEY}"
        raise ZeroDivisionError(f"at {API_KEY} in {len(local)}")

    monkeypatch.setattr(app, "run", crash)
    monkeypatch.setenv("RPC_KEY", API_KEY)
    path = tmp_path / "keeper.toml"
    path.write_text(VALID.replace("http://127.0.0.1:8545", "https://${RPC_KEY}.node.example:8545"))
    with pytest.raises(SystemExit) as ended:
        run(path, once=True, live=False)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    (line,) = map(json.loads, said.splitlines())
    assert (line["event"], line["level"]) == ("keeper.crashed", "error")
    assert "ZeroDivisionError" in said
    assert '"name": "crash"' in said
    assert API_KEY not in said
    assert KEY not in said
