"""What cannot be handed over on a fork is named before anything is read."""

from pathlib import Path
from typing import Any, cast

import pytest

from keeper.cli.forking import hand_over
from keeper.config import load_settings
from keeper.model.errors import ConfigurationError
from tests.unit.test_config import ACCOUNT, OTHER, VALID


def test_hand_over__positions_of_another_protocol__are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "keeper.toml"
    perp = VALID.replace(
        f'protocol = "aave_v3"\npool_addresses_provider = "{OTHER}"',
        f'protocol = "perp_v2"\nclearing_house = "{OTHER}"\nbase_tokens = ["{ACCOUNT}"]',
    )
    path.write_text(perp)
    settings = load_settings(path, {})
    with pytest.raises(ConfigurationError, match="positions of perp_v2 cannot be handed over"):
        hand_over(cast("Any", None), settings, tmp_path)
