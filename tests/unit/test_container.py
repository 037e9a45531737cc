"""The image and the composition, as far as they can be held without a container engine: what they copy
and mount exists, nothing is installed without its hash, nothing runs as root or listens outside."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from keeper.service.attendance import LAST_WORDS_S
from keeper.service.stopping import FINISH_S, RECEIPTS_S

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = [
    line.strip().split(maxsplit=1)
    for line in DOCKERFILE.replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]
OURS = {"keeper.toml", "secrets"}
"""What the user brings."""


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


SERVICES = compose()["services"]


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def test_image__what_is_copied__is_in_the_context() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    sources = [
        source
        for rest in arguments("COPY")
        if not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert set(sources) == kept
    for source in sources:
        assert (ROOT / source).exists(), source


def test_image__packages__are_installed_by_hash_or_built_from_here() -> None:
    installs = re.findall(r"pip install ([^&\n]*)", DOCKERFILE.replace("\\\n", " "))
    assert len(installs) == 3
    for install in installs:
        assert "--require-hashes" in install or "--no-index" in install
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    lock = (ROOT / "requirements-build.lock").read_text()
    assert all(requirement in lock for requirement in build)
    assert lock.count("--hash=sha256:") >= len(re.findall(r"^\S+==", lock, flags=re.MULTILINE))


def test_image__stages__leave_the_tools_behind_and_run_as_nobody_in_particular() -> None:
    assert len(arguments("FROM")) == 2
    names = [name for name, _ in INSTRUCTIONS]
    last = INSTRUCTIONS[len(names) - names[::-1].index("FROM") :]
    (user,) = [rest for name, rest in last if name == "USER"]
    assert user.split(":")[0].isdigit()
    assert int(user.split(":")[0]) > 0
    assert [rest for name, rest in last if name == "ENTRYPOINT"] == ['["keeper"]']
    assert [rest for name, rest in last if name == "STOPSIGNAL"] == ["SIGTERM"]
    assert "--live" not in "".join(rest for name, rest in last if name == "CMD")


@pytest.mark.parametrize("name", SERVICES)
def test_composition__service__has_no_privilege_and_listens_on_loopback_alone(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    if "image" in service:
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_composition__files__exist_and_are_mounted_for_reading(name: str) -> None:
    for mount in SERVICES[name]["volumes"]:
        source, _, mode = (*mount.split(":"), "")[:3]
        if not source.startswith("./"):
            assert source in compose()["volumes"]
            continue
        assert mode == "ro"
        assert source[2:] in OURS or (ROOT / source).is_file(), source


def test_composition__prometheus__reaches_the_keepers_loopback_and_grafana_reaches_it() -> None:
    assert SERVICES["prometheus"]["network_mode"] == "service:keeper"
    source = yaml.safe_load((ROOT / "config/grafana/datasource.yml").read_text())
    assert source["datasources"][0]["url"] == "http://keeper:9090"
    provider = yaml.safe_load((ROOT / "config/grafana/provider.yml").read_text())
    folder = provider["providers"][0]["options"]["path"]
    assert any(f":{folder}/" in mount for mount in SERVICES["grafana"]["volumes"])


def test_composition__keeper__is_given_time_to_stop_and_keeps_its_journal() -> None:
    keeper = SERVICES["keeper"]
    assert int(keeper["stop_grace_period"].removesuffix("s")) > FINISH_S + RECEIPTS_S + LAST_WORDS_S
    assert "journal:/var/lib/keeper" in keeper["volumes"]
    assert keeper["read_only"] is True
    assert "--live" not in keeper["command"]
