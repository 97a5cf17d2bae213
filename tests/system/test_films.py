"""Whole films by a network that begins with one of patches at their scale, from the data to the report."""

from collections.abc import Callable

import pytest

from lesionlens.config.data import BackgroundConfig, DataConfig, ImageConfig, PatchConfig, PhantomConfig
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import GridConfig, HyperSet, StoppingConfig, TrainingConfig
from tests.system.conftest import Home

pytestmark = pytest.mark.slow

STOPPING = StoppingConfig(patience=1, max_epochs=1)


def study(name: str, **parts: object) -> StudyConfig:
    values = {
        "name": name,
        "data": DataConfig(
            source="phantom", phantom=PhantomConfig(height=300, train_per_class=5, test_per_class=4, callback_free=6)
        ),
        "images": ImageConfig(height=128, width=80),
        "patches": PatchConfig(size=48, frame="image", copies=2),
        "background": BackgroundConfig(size="matched", train=12, test=6, per_image=2),
        "training": TrainingConfig(weights="none", stopping=STOPPING),
        "grid": GridConfig(backbones=("resnet18",), strategies=("simultaneous",), sets=(HyperSet(batch_size=8),)),
        "evaluation": EvaluationConfig(resamples=100, randomisation_samples=0),
    }
    return StudyConfig.model_validate(values | parts)


def films(start: str, **images: int) -> StudyConfig:
    stopping = STOPPING.model_copy(update={"monitor": "auc"})
    training = TrainingConfig(
        weights="none", start=start, top="mbconv", augment="mammogram", balance="class_weights", stopping=stopping
    )
    grid = GridConfig(backbones=("resnet18",), strategies=("two_step",), sets=(HyperSet(batch_size=8),))
    size = {"height": 128, "width": 80} | images
    evaluation = EvaluationConfig(resamples=100, randomisation_samples=0, flips=True)
    return study("films", unit="image", images=ImageConfig(**size), training=training, grid=grid, evaluation=evaluation)


def breasts(start: str) -> StudyConfig:
    given = films(start)
    training = given.training.model_copy(update={"top": "two_views", "augment": "none"})
    same = {name: getattr(given, name) for name in ("grid", "images", "evaluation")}
    values = {"name": "breasts", "unit": "breast", "training": training, **same}
    return study(**values)  # type: ignore[arg-type]


def test_films_begin_with_patches_at_their_scale_and_are_reported(new_home: Callable[..., Home]) -> None:
    home = new_home(thin=True)
    with home.kept_server():
        for config in (study("patches"), films("patches"), breasts("films")):
            done = home.study(config)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        wrong = home.study(films("patches", height=160))
        assert wrong.returncode != 0 and "films of another size or fit" in wrong.stdout + wrong.stderr
    shape = home.sql("SELECT sample_height, sample_width FROM studies WHERE study = 'films'")
    assert shape.rows() == [("128", "80")]
    classes = home.sql("SELECT code FROM classes WHERE study = 'films' ORDER BY ordinal").to_series().to_list()
    assert classes == ["BENIGN", "MALIGNANT"]
    shown = home.sql("SELECT count(*), count(DISTINCT sample_id) FROM sample_lesion").row(0)
    assert int(shown[0]) >= int(shown[1]) > 0
    lift = "SELECT value FROM run_scores WHERE study = 'films' AND score = 'lift' AND group_name = 'all'"
    for method, wanted in (("breast", 1), ("ceiling", None)):
        [(value,)] = home.sql(f"{lift} AND method = '{method}' AND population = 'lesions'").rows()
        assert float(value) == pytest.approx(wanted) if wanted else float(value) > 3
    assert home.sql("SELECT start_study FROM transfer").rows() == [("patches",)]
    flipped = home.sql(
        "SELECT study, count(value) FROM binary_scores WHERE side = 'flips' GROUP BY study ORDER BY study"
    )
    assert flipped.rows() == [("breasts", "4"), ("films", "4")]
    grids = home.sql("SELECT DISTINCT rows, cols FROM activation_map WHERE method = 'sweep' AND target = 'none'").rows()
    assert sorted(grids) == [("16", "10"), ("32", "10")]  # six cells to a patch of 48 pixels, of films and of breasts
    marked = home.sql("SELECT DISTINCT method FROM froc_curves WHERE study = 'films' ORDER BY method")
    assert marked.to_series().to_list() == ["bright_blob", "grad_cam", "sweep"]
    baselines = home.sql("SELECT count(*) FROM localization WHERE method = 'centred_disc' AND evaluation_id IN"
                         " (SELECT evaluation_id FROM study_evaluations WHERE study = 'films')")  # fmt: skip
    assert baselines.rows() == [("0",)]
    _breasts_are_scored(home)
    page = next((home.path / "reports").glob("films-*.html")).read_text()
    assert "sweep of the patch run" in page and "Every evaluated test film" in page and "whole film" in page
    assert "Bright blobs" in page and "whole films, stretched to 128 x 80 pixels" in page


def _breasts_are_scored(home: Home) -> None:
    """Breasts of two views beside the same breasts by films of one view."""
    shape = home.sql("SELECT sample_height, sample_width FROM studies WHERE study = 'breasts'")
    assert shape.rows() == [("256", "80")]
    by = "SELECT patient, laterality, label, views FROM breast_scores WHERE study = '{}' ORDER BY patient, laterality"
    two, one = (home.sql(by.format(name)).rows() for name in ("breasts", "films"))
    assert two and {views for *_, views in two} == {"2"}
    assert two == [row for row in one if row[-1] == "2"]
    alone = home.sql("SELECT DISTINCT reason FROM exclusions WHERE study = 'breasts' ORDER BY reason")
    assert not {"no_laterality", "another_of_view"} & set(alone.to_series())
    lesions = home.sql("SELECT count(*) FROM sample_lesion AS x JOIN sample ON sample.id = x.sample_id"
                       " JOIN sample_set AS s ON s.id = sample.sample_set_id"
                       " WHERE s.config ->> 'unit' = 'breast' AND x.y0 >= 128")  # fmt: skip
    assert int(lesions.item()) > 0  # on the lower film, the MLO
    page = next((home.path / "reports").glob("breasts-*.html")).read_text()
    assert "Every evaluated test breast" in page and "the CC above the MLO" in page
    assert "per film" not in page
