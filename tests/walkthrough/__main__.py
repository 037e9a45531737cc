"""Keeper as a new user meets it: a fresh clone, the README's commands, the local chain, a crash.

    python -m tests.walkthrough [--output docs/WALKTHROUGH.md]

Every step is run and what it printed is kept; it ends with 1 where one does not do what it should.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

import tenacity

T = TypeVar("T")
SOURCE = Path(__file__).resolve().parents[2]
PATIENCE_S = 180.0
WAIT_S = 90
"""Until the crash begins: enough for the steps before it."""
HEAD = """\
# A walk through Keeper

What `make walkthrough` printed: a fresh clone, the README's commands only, on the local chain with the
real contracts. Run it again to see it happen; it fails if a step does not do what it should. The
addresses are of that run; `~/keeper` stands for the clone's folder.
"""


class UnexpectedError(Exception):
    """A step did not do what it should."""


class Hook(HTTPServer):
    """Where alerts are posted: somebody's chat, so to speak."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Walk:
    """Runs commands in the clone and keeps what they printed."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "keeper"
        self.text = HEAD
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "COLUMNS": "100",
            # What packages need where they come from a mirror.
            **{
                name: value
                for name, value in os.environ.items()
                if name.startswith(("PIP_", "UV_", "npm_", "NPM_"))
                or name.lower() in {"http_proxy", "https_proxy", "no_proxy", "ssl_cert_file"}
            },
        }
        npmrc = Path.home() / ".npmrc"
        if npmrc.exists():
            self.environ.setdefault("NPM_CONFIG_USERCONFIG", str(npmrc))

    def title(self, words: str, why: str = "") -> None:
        self.text += f"\n## {words}\n" + (f"\n{why}\n" if why else "")
        sys.stdout.write(f"== {words}\n")
        sys.stdout.flush()

    def run(self, command: str, *, shown: bool = True, code: int = 0, **environ: str) -> str:
        """One command, as it would be typed in the clone's folder; its standard output."""
        done = subprocess.run(
            ["/bin/bash", "-c", self._found(command)],
            cwd=self.clone if self.clone.exists() else self.clone.parent,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        if done.returncode != code:
            raise UnexpectedError(
                f"{command} ended with {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
            )
        if shown:
            given = "".join(f"{name}=… " for name in environ)
            self.show(given + command, done.stdout + done.stderr)
        return done.stdout

    def start(self, command: str, log: Path, **environ: str) -> subprocess.Popen[bytes]:
        """One that goes on in the background."""
        with log.open("wb") as out:
            return subprocess.Popen(
                ["/bin/bash", "-c", f"exec {self._found(command)}"],
                cwd=self.clone,
                env={**self.environ, **environ},
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def show(self, command: str, output: str) -> None:
        output = "\n".join(line.rstrip() for line in output.strip().splitlines())
        text = f"$ {command}\n{output}".replace(str(self.clone), "~/keeper")
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
        self.text += f"\n```text\n{text}\n```\n"

    def shown_json(self, document: Any) -> None:
        text = json.dumps(document, indent=2, ensure_ascii=False)
        self.text += f"\n```json\n{text.replace(str(self.clone), '~/keeper')}\n```\n"

    @staticmethod
    def _found(command: str) -> str:
        return re.sub(r"^keeper\b", ".venv/bin/keeper", command)


def until(what: str, look: Callable[[], T | None]) -> T:
    """Wait for something to be so; returns it."""
    looking = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda seen: not seen),
        wait=tenacity.wait_fixed(0.25),
        stop=tenacity.stop_after_delay(PATIENCE_S),
    )
    try:
        return cast("T", looking(look))
    except tenacity.RetryError as error:
        raise UnexpectedError(f"waited in vain for {what}") from error


def require(holds: object, what: str) -> None:
    if not holds:
        raise UnexpectedError(what)


def take(walk: Walk, stack: ExitStack) -> None:
    walk.title("Set it up")
    walk.run(f"git clone --quiet {SOURCE} {walk.clone}", shown=False)
    walk.run("make setup")
    chain = _chain(walk, stack)
    password = _configured(walk, chain)
    hook = Hook()
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    stack.callback(hook.shutdown)
    _dry_run(walk, password)
    _crash(walk, stack, hook, password)
    _paused(walk, hook)
    _after(walk)


def _chain(walk: Walk, stack: ExitStack) -> dict[str, Any]:
    walk.title(
        "A chain to try it on",
        f"The real contracts, a market, a liquidator; 12 March 2020 begins in {WAIT_S} seconds. Less "
        "than half of each debt lies in its wallet as a reserve, which will be needed to the last.",
    )
    command = f"keeper devnet up --wait {WAIT_S} --reserve 0.42 --json"
    log = walk.clone / "devnet.json"
    chain = walk.start(command, log)
    stack.callback(_stop, chain)

    def ready() -> dict[str, Any] | None:
        text = log.read_text(errors="replace")
        try:
            found: dict[str, Any] = json.JSONDecoder().raw_decode(text[text.index("{") :])[0]
        except ValueError:
            return None
        return found

    details = until("the local chain", ready)
    walk.show(f"{command} &", f"… chain {details['chain_id']} at {details['rpc_url']}")
    return details


def _configured(walk: Walk, chain: Mapping[str, Any]) -> str:
    walk.title(
        "Find the positions and write a configuration",
        "`forecast` is one of the accounts with a position on that chain; its keystore lies beside "
        "the configuration that `keeper devnet up` names, and its password is printed there, too.",
    )
    account = chain["accounts"]["forecast"]["address"]
    keystore = Path(chain["config"]).with_name("forecast.json")
    said = walk.run(
        f"keeper init --account {account} --rpc {chain['rpc_url']} --keystore {keystore}"
    )
    require("keeper.toml is written" in said, "init writes the configuration")
    walk.run("cat keeper.toml")
    password: str = chain["environment"]["KEEPER_KEYSTORE_PASSWORD"]
    return password


def _dry_run(walk: Walk, password: str) -> None:
    walk.title("Is everything as it has to be?")
    said = walk.run("keeper check", KEEPER_KEYSTORE_PASSWORD=password)
    require("0 to put right" in said, "nothing fails the check")
    walk.title("A dry run", "It looks once, says what it would do, and sends nothing.")
    walk.run("keeper run --once", shown=False)
    walk.show("keeper run --once", "… its log, as JSON lines, on standard error")
    said = walk.run("keeper status")
    require("watched" in said, "the dry run watches")
    walk.title("By hand", "What a repayment would do; without `--simulate` it asks, then does it.")
    walk.run("keeper act repay --usd 100 --simulate", KEEPER_KEYSTORE_PASSWORD=password)


def _crash(walk: Walk, stack: ExitStack, hook: Hook, password: str) -> None:
    walk.title(
        "Live, through a crash",
        "Alerts are posted to `KEEPER_WEBHOOK_URL`, here a listener of this walk.",
    )
    command = "KEEPER_KEYSTORE_PASSWORD=… KEEPER_WEBHOOK_URL=… keeper run --live"
    keeper = walk.start(
        "keeper run --live",
        walk.clone / "keeper.log",
        KEEPER_KEYSTORE_PASSWORD=password,
        KEEPER_WEBHOOK_URL=hook.url,
    )
    stack.callback(_stop, keeper)
    walk.show(f"{command} &", "… its log, as JSON lines, on standard error")

    def done() -> bool:
        history = walk.clone / "keeper.sqlite3"
        if not history.exists():
            return False
        told = json.loads(walk.run("keeper history --json", shown=False))
        decisions = told["decisions"] if isinstance(told, dict) else told
        return any(each["outcome"] == "done" for each in decisions)

    until("an action in the crash", done)
    until(
        "a margin call",
        lambda: [each for each in hook.told if each["name"] == "position.margin_call"],
    )
    walk.run("keeper history")
    walk.title("The alerts that were seen", "As they were posted.")
    called = [each for each in hook.told if each["name"] == "position.margin_call"]
    for alert in called[:2]:
        walk.shown_json(alert)


def _paused(walk: Walk, hook: Hook) -> None:
    walk.title("Pause and resume", "Effective before the next signature, and confirmed.")
    said = walk.run("keeper pause")
    require("confirmed by the running keeper" in said, "the pause is confirmed")
    paused = until(
        "the alert of the pause",
        lambda: [each for each in hook.told if each.get("name") == "keeper.paused"],
    )
    walk.shown_json(paused[0])
    said = walk.run("keeper resume")
    require("confirmed by the running keeper" in said, "the resumption is confirmed")


def _after(walk: Walk) -> None:
    walk.title("What it came to")
    walk.run("keeper status")
    said = walk.run("keeper report --html report.html --csv report.csv")
    require("losses avoided" in said, "the report tells of losses avoided")
    require((walk.clone / "report.html").read_text().startswith("<!doctype html>"), "a page")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=SOURCE / "docs" / "WALKTHROUGH.md")
    output = parser.parse_args().output
    with TemporaryDirectory(prefix="keeper-walk-") as name, ExitStack() as stack:
        steps = Walk(Path(name))
        try:
            take(steps, stack)
        except UnexpectedError as error:
            sys.stderr.write(f"the walk ends here: {error}\n")
            return 1
    output.write_text(steps.text, encoding="utf-8")
    sys.stdout.write(f"{output} is written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
