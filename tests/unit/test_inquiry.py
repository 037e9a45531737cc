"""What a command finds in the store for its forecast: the daemon's fits and rounds, where there are any."""

from pathlib import Path

import pytest

from keeper.backtest.shipped import shipped
from keeper.inquiry import _Known
from keeper.model.units import WAD, Wad
from keeper.storage.pair_fits import StoredFit
from keeper.storage.store import Store
from tests.unit.fake_rpc import address
from tests.unit.test_plan import LOAN
from tests.unit.test_refit import CHAIN_ID, brownian, end_of, fitted


async def test_known__fit_and_start_of_the_daemon__are_what_the_forecast_goes_by(
    tmp_path: Path,
) -> None:
    path, rounds = tmp_path / "j.sqlite3", brownian(120)
    fit = fitted(rounds)
    store = Store(path)
    stored = StoredFit(pair=fit.pair, fitted_at=end_of(rounds), document=fit.to_json())
    await store.run(store.pair_fits.keep, CHAIN_ID, stored)
    # The keeper goes on running while somebody asks.
    known = _Known(path)
    calibration = await known.calibration(CHAIN_ID, end_of(rounds))
    other_chain = await known.calibration(CHAIN_ID + 1, end_of(rounds))
    store.starts.keep(LOAN.id, Wad(12 * WAD // 10), 1)
    assert known.starts(LOAN.id.chain_id) == {LOAN.id: 12 * WAD // 10}
    known.close()
    store.close()
    assert calibration.table_of("NEW/USD") == "NEW/USD"
    assert other_chain.table_of("NEW/USD") == "pooled"


@pytest.mark.parametrize("content", [None, b"not a database"])
async def test_known__no_store_that_can_be_read__is_what_ships_and_stays_as_it_was(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "j.sqlite3"
    if content is not None:
        path.write_bytes(content)
    known = _Known(path)
    assert (await known.calibration(CHAIN_ID, 0)).to_json() == shipped().to_json()
    assert known.since(CHAIN_ID, address("fe"), 0) == ()
    assert known.starts(CHAIN_ID) == {}
    known.close()
    assert (path.read_bytes() if path.exists() else None) == content
