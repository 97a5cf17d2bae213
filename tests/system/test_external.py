"""A finished run on other mammograms, by the command: beside its own test split, on the page and in the record."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lesionlens.config.data import PhantomConfig
from lesionlens.phantom.dataset import write_phantom
from tests.system.conftest import Home, study

pytestmark = pytest.mark.slow


@pytest.fixture
def home(new_home: Callable[..., Home]) -> Iterator[Home]:
    """A home whose server stays from command to command."""
    found = new_home(thin=True)
    with found.kept_server():
        yield found


def test_another_data_set_stands_beside_the_own_one_and_is_evaluated_once(home: Home, tmp_path: Path) -> None:
    config = study("carried", epochs=1)
    assert home.study(config).returncode == 0
    drawn = config.data.phantom.model_dump() | {"seed": 1, "train_per_class": 2, "callback_free": 2}
    write_phantom(PhantomConfig(**drawn), tmp_path / "other")
    before = home.sql("SELECT * FROM sample_results ORDER BY sample_id")
    for _ in range(2):
        done = home.run("commands", "evaluate", "--run", "1", "--data", str(tmp_path / "other"))
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        assert home.count("SELECT count(*) FROM evaluation") == 2
    assert "nothing to do" in done.stdout + done.stderr
    assert home.sql("SELECT * FROM sample_results ORDER BY sample_id").equals(before)
    found = home.sql("SELECT * FROM external ORDER BY measure")
    assert found["measure"].to_list() == ["accuracy", "auc", "balanced_accuracy", "hit_rate", "ll"]
    assert set(found["is_external"]) == {"t"} and set(found["left_out"]) == {"0"}
    own, other = found["internal"][0], found["external_n"][0]
    assert home.sql("SELECT accuracy FROM table_2_accuracy").item() == own
    assert int(other) == home.count(
        "SELECT count(*) FROM sample WHERE sample_set_id = (SELECT sample_set_id FROM external_evaluation)"
    )
    assert int(other) >= 20 and home.count("SELECT count(DISTINCT split) FROM sample WHERE sample_set_id = 2") == 1
    pages = [page.read_text() for page in (home.path / "reports").glob("*.html")]
    assert any('id="external"' in page for page in pages)
    again = home.run("commands", "evaluate", "--run", "1", "--data", str(home.path / "phantom" / next(
        path.name for path in (home.path / "phantom").iterdir() if path.is_dir())))  # fmt: skip
    assert again.returncode == 0, again.stderr[-3000:]
    same = home.sql("SELECT internal, external, difference FROM external WHERE NOT is_external")
    assert same.height == 5 and same["internal"].to_list() == same["external"].to_list()
