"""Nothing secret reaches a log: the last step before a line is rendered.

Keys, passwords, API keys and seed phrases come along in messages of other people's exceptions, so
every string is searched, not only our own fields.
"""

import re
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from structlog.typing import EventDict, WrappedLogger

from keeper.chain.secrecy import HEX_64, REDACTED, bip39_words, hider, public_host

HASH_FIELDS = frozenset({"hash", "tx_hash", "block_hash", "head_hash", "parent_hash"})
"""Public values as long as a private key, known by their names."""
SECRET_FIELDS = re.compile(r"password|private_key|mnemonic|seed|secret", re.IGNORECASE)
URL = re.compile(r"\b(?:https?|wss?)://[^\s\"'<>()\\]+", re.IGNORECASE)
WORDS = re.compile(r"\b[a-z]{3,8}(?:[\s,]+[a-z]{3,8}){11,}\b")
PHRASE_LENGTH = 12
"""The shortest BIP-39 seed phrase."""


class Redactor:
    """A structlog processor. `secrets` are replaced wherever they appear, even within a word."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        self._hide = hider(secrets)

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> EventDict:  # noqa: ARG002 - structlog's signature
        return {key: self._field(key, value) for key, value in event.items()}

    def _field(self, key: str, value: Any) -> Any:
        if key in HASH_FIELDS and isinstance(value, str) and HEX_64.fullmatch(value):
            return value
        if SECRET_FIELDS.search(key):
            return REDACTED
        return self._value(value)

    def _value(self, value: Any) -> Any:
        match value:
            case None | bool() | int() | float():
                return value
            case dict():
                return {str(key): self._field(str(key), inner) for key, inner in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._value(inner) for inner in value]
            case bytes() | bytearray():
                return f"[{len(value)} bytes]"
            case _:
                return self.text(str(value))

    def text(self, text: str) -> str:
        """The text without what must not be shown."""
        text = URL.sub(_host_only, self._hide(text))
        text = HEX_64.sub(REDACTED, text)
        return WORDS.sub(_without_phrase, text)


def _host_only(found: re.Match[str]) -> str:
    """Scheme, domain and port: all other parts may hold an API key."""
    try:
        parts, host = urlsplit(found[0]), public_host(found[0])
    except ValueError:
        return REDACTED
    rest = f"/{REDACTED}" if parts.path.strip("/") or parts.query or parts.fragment else ""
    return f"{parts.scheme}://{host}{rest}"


def _without_phrase(found: re.Match[str]) -> str:
    """Every run of words long enough for a seed phrase is taken out; the rest stays as it is."""
    kept, run = "", []
    for word, gap in [*re.findall(r"([a-z]+)([\s,]*)", found[0]), ("", "")]:
        if word in bip39_words():
            run.append((word, gap))
            continue
        if len(run) >= PHRASE_LENGTH:
            run = [(REDACTED, run[-1][1])]
        kept += "".join(map("".join, [*run, (word, gap)]))
        run = []
    return kept
