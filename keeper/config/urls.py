"""Endpoints: an API key comes by `${NAME}` from the environment, never from the file itself."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from keeper.config.fields import text
from keeper.config.written import EnvironmentText, WrongValueError

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
API_KEY = re.compile(r"(?=[A-Za-z0-9_-]*\d)(?=[A-Za-z0-9_-]*[A-Za-z])[A-Za-z0-9_-]{20,}")


def expand(value: Any, environ: Mapping[str, str]) -> Any:
    """Replace each `${NAME}`; refuses an API key or password written out."""
    if not isinstance(value, str):
        return value
    _refuse_written_secret(REFERENCE.sub("", value))

    def variable(found: re.Match[str]) -> str:
        if not environ.get(found[1]):
            raise WrongValueError(
                f"the environment variable {found[1]} is not set",
                "the URL takes its API key from it",
                f"set {found[1]} where keeper starts, or take ${{{found[1]}}} out of the URL",
            )
        return environ[found[1]]

    expanded = REFERENCE.sub(variable, value)
    return EnvironmentText(expanded) if expanded != value else value


def http_url(value: Any) -> str:
    """Where requests are posted."""
    return _url(value, "http", "https")


def webhook_url(value: Any) -> SecretStr:
    """Where alerts are posted. From the environment; what is wrong is said without showing it."""
    return SecretStr(_url(value, "https", "http"))


def apprise_url(value: Any) -> SecretStr:
    """Where alerts go, as apprise writes it. From the environment; what is wrong is said without
    showing it."""
    from apprise import Apprise  # it takes its half second, and most commands tell nobody

    url = text(value).strip()
    if Apprise.instantiate(url, suppress_exceptions=True) is None:
        raise WrongValueError(
            "apprise knows no service of this URL",
            "nobody would hear of an alert",
            "write it as appriseit.com/services says for your service, such as "
            "mailto://user:password@example.org",
        )
    return SecretStr(url)


def ws_url(value: Any) -> str:
    """Where new heads are heard."""
    return _url(value, "ws", "wss")


def _url(value: Any, *schemes: str) -> str:
    url = text(value).strip()
    near = True
    try:
        parts = urlsplit(url)
        near = parts.scheme in {"https", "wss"} or _is_near(parts.hostname or "")
        valid = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or re.search(r"\s", url):
        raise WrongValueError(
            f"this is not a URL of {schemes[0]} or {schemes[1]}",
            "keeper must know how to reach the node",
            f'write it like "{schemes[0]}://127.0.0.1:8545"',
        )
    if not near:
        raise WrongValueError(
            f"{schemes[0]} to a remote host is not encrypted",
            "whoever is on the way can read the API key and change what the node says",
            f"write {schemes[1]}:// if the provider offers it, or reach it through a tunnel",
        )
    return url


def near(url: str) -> bool:
    """Whether the endpoint is in a network of one's own."""
    return _is_near(urlsplit(url).hostname or "")


def normal(url: str) -> str:
    """The same for two URLs that lead to the same place."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{(parts.hostname or '').lower()}:{port}{parts.path.rstrip('/')}?{parts.query}"


def _is_near(host: str) -> bool:
    """Whether what is sent there stays in a network of one's own: this machine, a private address,
    or a name that means nothing outside, as a container's."""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal"))
    return address.is_private or address.is_loopback


def _refuse_written_secret(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    words = re.split(r"[/&=]", f"{parts.path}/{parts.query}")
    if parts.password or parts.username or any(API_KEY.fullmatch(word) for word in words):
        raise WrongValueError(
            "the URL holds an API key or a password",
            "files are copied, committed and backed up",
            "write ${RPC_KEY} in its place and set the environment variable RPC_KEY to it, or give "
            "the whole URL by KEEPER_CHAIN__RPC_URL, KEEPER_CHAIN__WS_URL or "
            "KEEPER_ENDPOINTS__<NAME>__URL",
        )
