"""A minimal synchronous JSON-RPC client for a local chain."""

import http.client
import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

_TIMEOUT_S = 60.0


class RpcError(Exception):
    """The node answered with an error."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(f"{method}: {error.get('message')} (code {error.get('code')})")
        self.method = method
        self.code: int | None = error.get("code")
        self.data: Any = error.get("data")


class Rpc:
    """One kept-alive connection; for use by one thread at a time."""

    def __init__(self, url: str) -> None:
        """`url` is `http://host:port`, optionally with a path."""
        parts = urlsplit(url)
        self._path = parts.path or "/"
        self._connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port or 80, timeout=_TIMEOUT_S
        )

    def call(self, method: str, *params: Any) -> Any:
        """The result of one request; raises `RpcError` or `OSError`."""
        return self.batch([(method, params)])[0]

    def batch(self, requests: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """The results of several requests sent in one POST, in their order.

        Raises `RpcError` for the first that failed; the node tries all of them nevertheless.
        """
        if not requests:
            return []
        bodies = [
            {"jsonrpc": "2.0", "id": index, "method": method, "params": list(params)}
            for index, (method, params) in enumerate(requests)
        ]
        answers = sorted(self._post(bodies), key=lambda answer: int(answer["id"]))
        for (method, _), answer in zip(requests, answers, strict=True):
            if "error" in answer:
                raise RpcError(method, answer["error"])
        return [answer["result"] for answer in answers]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _post(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
        content = json.dumps(bodies).encode()
        try:
            self._connection.request(
                "POST", self._path, content, {"Content-Type": "application/json"}
            )
            answers: list[dict[str, Any]] = json.loads(self._connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            # A half-read connection cannot be used again; the next request opens a new one.
            self._connection.close()
            raise
        return answers
