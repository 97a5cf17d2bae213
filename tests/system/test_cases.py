"""The preset of case-based models on a tiny phantom: a black box, and cases that begin with it, to record and page."""

import json
import re
from collections.abc import Callable

import pytest

from lesionlens.config.data import PhantomConfig
from lesionlens.config.presets import demo_cases
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import StoppingConfig
from tests.system.conftest import Home

pytestmark = pytest.mark.slow
DRAWN = PhantomConfig(height=320, train_per_class=10, test_per_class=4, callback_free=2, margins=True)


def tiny(config: StudyConfig, name: str) -> StudyConfig:
    """The same study of few, small patches, with one epoch of every kind."""
    cases = config.training.prototypes.model_copy(
        update={"per_class": 2, "channels": 8, "warm": 1, "push_every": 1, "last": 1, "rounds": 1}
    )
    start = config.training.start and "black box"
    training = {"prototypes": cases, "start": start, "stopping": StoppingConfig(patience=1, max_epochs=1)}
    grid = config.grid.model_copy(update={"backbones": ("resnet18",)})
    changed = {
        "name": name,
        "data": config.data.model_copy(update={"phantom": DRAWN}),
        "patches": config.patches.model_copy(update={"size": 64}),
        "training": config.training.model_copy(update=training),
        "evaluation": config.evaluation.model_copy(update={"resamples": 100}),
        "grid": grid,
    }
    return StudyConfig.model_validate(config.model_copy(update=changed).model_dump())


def test_cases_begin_with_the_black_box_and_are_on_record_and_page(new_home: Callable[..., Home]) -> None:
    home = new_home(thin=True)
    with home.kept_server():
        for config, name in zip(demo_cases(), ("black box", "cases"), strict=True):
            done = home.study(tiny(config, name))
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert home.sql("SELECT code FROM classes WHERE study = 'cases' ORDER BY ordinal").height == 3
    prototypes = home.sql("SELECT number, kept, source_key FROM prototypes WHERE study = 'cases'")
    kept = prototypes.filter(kept="t")
    assert prototypes.height == 6 and kept.height >= 3 and kept["source_key"].null_count() == 0
    learnt = home.sql("SELECT sample_key FROM samples WHERE study = 'cases' AND split = 'train'")["sample_key"]
    assert set(kept["source_key"]) <= set(learnt)
    tested = home.count("SELECT count(*) FROM samples WHERE study = 'cases' AND split = 'test'")
    assert home.count("SELECT count(*) FROM prototype_matches WHERE study = 'cases'") == tested * kept.height
    methods = home.sql("SELECT DISTINCT method FROM activation_precisions WHERE study = 'cases'")["method"]
    assert {"each_prototype", "prototypes", "grad_cam"} <= set(methods)
    asked = home.sql("SELECT study, n FROM binary_scores WHERE side = 'pathology' AND score = 'auc' ORDER BY study")
    assert asked.rows() == [("black box", str(tested)), ("cases", str(tested))]
    page = next((home.path / "reports").glob("cases-*.html")).read_text()
    shown = json.loads(str(re.search(r'id="gallery-data">(.*?)</script>', page, re.S)[1]))  # type: ignore[index]
    (run,) = shown["cases"]["runs"].values()
    assert len(run["prototypes"]) == kept.height and len(run["likeness"]) == tested
    assert "the black box that it started from has" in page and "Malignancy from the classes" in page
