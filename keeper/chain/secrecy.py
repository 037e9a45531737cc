"""What must not be shown: how keys and seed phrases look, and where a URL may hold a key."""

import re
from collections.abc import Callable, Collection
from functools import cache
from ipaddress import ip_address
from urllib.parse import SplitResult, unquote, urlsplit

REDACTED = "[redacted]"
HEX_64 = re.compile(r"(?<![0-9a-zA-Z])(?:0[xX])?[0-9a-fA-F]{64}(?![0-9a-zA-Z])")
"""What a private key looks like, and a hash."""
MIN_SECRET_LENGTH = 6
"""Shorter parts of a URL are no keys: hiding "v3" or "key" wherever they stand would hide the rest."""
DOMAIN_LABELS = 2
"""Of a host name, those that belong to the provider: KEY.eth.rpc.provider.example."""


def public_host(url: str) -> str:
    """The host and port of a URL without the sub-domains, one of which may be a key.

    Raises `ValueError` for what is no URL."""
    parts = urlsplit(url)
    host, hidden = parts.netloc.rpartition("@")[2], _sub_domains(parts)
    return "*" + host[sum(len(label) + 1 for label in hidden) - 1 :] if hidden else host


def secret_parts(url: str) -> frozenset[str]:
    """All parts of a URL that may be a key, as they are written and as others may write them."""
    parts = urlsplit(url)
    found = [
        parts.username or "",
        parts.password or "",
        *re.split(r"[/&=]", f"{parts.path}/{parts.query}/{parts.fragment}"),
        *_sub_domains(parts),
    ]
    return frozenset(
        form
        for part in found
        for form in (part, unquote(part), part.lower())
        if len(part) >= MIN_SECRET_LENGTH
    )


def all_parts(url: str) -> frozenset[str]:
    """Of a URL of which nothing is known to be public: what others call a host may be a token."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    parts = [host, *re.split(r"[^A-Za-z0-9_-]+", host)]
    long = (part for part in parts if len(part) >= MIN_SECRET_LENGTH)
    return secret_parts(url) | frozenset(form for part in long for form in (part, part.lower()))


def hider(secrets: Collection[str]) -> Callable[[str], str]:
    """Takes the secrets out of a text wherever they stand, even within a word."""
    # The longest first, so that no part of it stays behind.
    known = sorted((re.escape(secret) for secret in secrets if secret), key=len, reverse=True)
    if not known:
        return lambda text: text
    pattern = re.compile("|".join(known))
    return lambda text: pattern.sub(REDACTED, text)


@cache
def bip39_words() -> frozenset[str]:
    """The words of seed phrases."""
    # Imported here because it takes most of a second and is seldom needed.
    from eth_account.hdaccount.mnemonic import Mnemonic
    from eth_account.types import Language

    return frozenset(Mnemonic(Language.ENGLISH).wordlist)


def _sub_domains(parts: SplitResult) -> list[str]:
    host = parts.netloc.rpartition("@")[2].partition(":")[0]
    return [] if _is_address(parts.hostname or "") else host.split(".")[:-DOMAIN_LABELS]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
