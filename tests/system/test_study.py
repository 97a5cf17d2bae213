"""One command, from an empty folder to a report that agrees with the record."""

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import psycopg
import pytest

from tests.system.conftest import Home, small_study

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
WHOLE = "SELECT state_type, count(*) FROM task_run GROUP BY state_type"


def test_every_run_is_finished_and_evaluated(finished: Home) -> None:
    runs = finished.sql("SELECT status, count(*) AS n FROM run GROUP BY status")
    assert runs.rows() == [("finished", "4")]
    assert finished.sql("SELECT count(*) AS n FROM table_2_accuracy").item() == "4"


def test_every_test_sample_has_a_result_in_every_run(finished: Home) -> None:
    tested = int(finished.sql("SELECT count(*) FROM sample WHERE split = 'test'").item())
    assert tested >= 30
    counts = finished.sql("SELECT count(*) FROM sample_results GROUP BY run_id").to_series().to_list()
    assert counts == [str(tested)] * 4


def test_every_run_is_audited_and_the_sample_set_once(finished: Home) -> None:
    for view in ("occlusion_test", "quadrants", "subgroup_scores", "reliability_curve", "binary_scores", "roc_curve",
                 "weight_randomisation", "iou_curves", "localization_scores"):  # fmt: skip
        assert finished.sql(f"SELECT count(DISTINCT run_id) AS n FROM {view}").item() == "4", view  # noqa: S608
    sides = finished.sql("SELECT DISTINCT side FROM binary_scores ORDER BY side").to_series().to_list()
    assert sides == ["lesion", "malignant"]
    common = finished.sql("SELECT DISTINCT n FROM localization_scores WHERE population = 'common_lesions' AND headline"
                          " AND group_name = 'all'")  # fmt: skip
    assert common.height == 1  # the same samples for every run
    audited = finished.sql("SELECT question, features FROM shortcut_score ORDER BY 1, 2").rows()
    of_grey = ["intensity", "sharpness", "size", "surroundings"]
    expected = [(question, name) for question in ("class", "detection", "diagnosis") for name in of_grey]
    assert audited == sorted([*expected, ("class", "majority")])


def test_every_lesion_is_a_sample_or_has_a_reason(finished: Home) -> None:
    lost = finished.sql(
        "SELECT lesion.key FROM lesion"
        " LEFT JOIN sample ON sample.lesion_id = lesion.id"
        " LEFT JOIN exclusion ON exclusion.lesion_id = lesion.id"
        " WHERE sample.id IS NULL AND exclusion.id IS NULL"
    )
    assert lost.is_empty()


def test_every_two_runs_are_compared_by_every_score(finished: Home) -> None:
    """Holm's correction runs within a score; an area is that of the same patches as among the operating points."""
    pairs = dict(finished.sql("SELECT score, count(*) FROM model_comparisons GROUP BY score").rows())
    assert {name: pairs[name] for name in ("accuracy", "auc_detection", "auc_diagnosis")} == {
        "accuracy": "6", "auc_detection": "6", "auc_diagnosis": "6",
    }  # fmt: skip
    apart = finished.sql(
        "SELECT count(*) FROM model_comparisons AS c JOIN operating_points AS p ON p.run_id = c.run_a"
        " AND p.measure = 'auc' AND p.level = 'lesion' AND c.score = 'auc_' || p.question"
        " WHERE abs(p.value - c.value_a) < 1e-6"
    )
    assert apart.item() == "12"


def test_the_flow_of_lesions_adds_up(finished: Home) -> None:
    """Of a phantom with findings that are of no class."""
    parts = "SELECT stage, sum(lesions) FROM flow_counts WHERE stage <> 'included' OR split IS NOT NULL GROUP BY stage"
    counts = dict(finished.sql(parts).rows())
    assert int(counts["listed"]) == int(finished.sql("SELECT count(*) FROM lesion").item())
    assert int(counts["listed"]) == int(counts["excluded"]) + int(counts["included"]) and int(counts["excluded"]) > 0
    split = finished.sql("SELECT split, samples FROM flow_counts WHERE split IS NOT NULL ORDER BY split").rows()
    assert split == finished.sql("SELECT split, count(*) FROM sample GROUP BY split ORDER BY split").rows()


def test_a_card_is_written_by_one_command(finished: Home) -> None:
    written = finished.run("commands", "card", "small")
    assert written.returncode == 0
    path = Path(re.search(r"Model card: (.*)", written.stdout)[1])
    card = json.loads(path.with_suffix(".json").read_text())
    assert path.parent in list((finished.path / "reports").iterdir())
    held = finished.sql(
        "SELECT accuracy, n FROM table_2_accuracy WHERE run_id = (SELECT run_id FROM answers LIMIT 1)"
    ).row(0)
    (accuracy,) = [score for score in card["scores"] if score["of"] == "test split"]
    assert (accuracy["value"], accuracy["n"]) == (pytest.approx(float(held[0])), int(held[1]))
    assert card["data"]["test_split"]["runs"] == 4
    answered = {item["claim"]: item["value"] for item in card["checklist"] if item["claim"]}
    tested = finished.sql("SELECT count(*), count(mask) FROM sample WHERE split = 'test'").row(0)
    assert answered["17"] == f"{tested[1]} of {tested[0]} test samples hold an annotated lesion"
    assert answered["27"] == "none; runs scored one by one: 4" and answered["44"] is None
    reasons = finished.sql("SELECT reason, count(*) FROM exclusion WHERE lesion_id IS NOT NULL GROUP BY 1").rows()
    for reason, lesions in reasons:
        assert f"{reason.replace('_', ' ')} {lesions}" in answered["8"]
    unknown = finished.run("commands", "card", "nobody")
    assert unknown.returncode == 2 and "no study 'nobody'" in unknown.stderr


BARE = """
import json, numpy, sys
about = json.load(open("model.json"))
exec("\\n".join(about["loading"]))
pixels = torch.from_numpy(numpy.load(sys.argv[1])).float() / 255
given = ((pixels - about["input"]["mean"]) / about["input"]["std"]).unsqueeze(1).expand(-1, 3, -1, -1)
numpy.save(sys.argv[2], net(given).softmax(1).detach().numpy())
"""
"""An exported model as somebody opens it who has torch, torchvision and safetensors alone."""


def test_an_exported_model_says_elsewhere_what_it_said_here(finished: Home, tmp_path: Path) -> None:
    held = finished.sql("SELECT run_id, accuracy, n FROM table_2_accuracy WHERE backbone = 'resnet18' LIMIT 1")
    run, accuracy, n = held.row(0)
    done = finished.run("commands", "export", run, "--to", str(tmp_path / "model"), "--no-onnx")
    assert done.returncode == 0, done.stderr
    with psycopg.connect(finished.url) as connection:
        of_run = "SELECT pixels, probabilities FROM prediction JOIN sample ON sample.id = sample_id JOIN evaluation ON "
        asked = connection.execute(of_run + "evaluation.id = evaluation_id WHERE run_id = %s ORDER BY 1", [run])
        stored = asked.fetchall()
    assert len(stored) == int(n)
    np.save(tmp_path / "pixels.npy", np.stack([np.frombuffer(row[0], np.uint8).reshape(48, 48) for row in stored]))
    (tmp_path / "bare.py").write_text(BARE)
    words = [sys.executable, "-I", tmp_path / "bare.py", tmp_path / "pixels.npy", tmp_path / "found.npy"]
    subprocess.run(words, cwd=tmp_path / "model", check=True)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), np.array([row[1] for row in stored]), atol=1e-4)
    about = json.loads((tmp_path / "model" / "model.json").read_text())
    assert (
        about["scores"]["accuracy"]["value"] == pytest.approx(float(accuracy)) and "medical device" in about["notice"]
    )
    again = finished.run("commands", "export", run, "--to", str(tmp_path / "model"))
    assert again.returncode == 2 and "is there already" in again.stderr


def test_lesions_are_predicted_in_windows_around_their_boxes(finished: Home, tmp_path: Path) -> None:
    held = finished.sql(
        "SELECT run_id, path, width, height, lesion_x0 AS x0, lesion_y0 AS y0, lesion_x1 AS x1, lesion_y1 AS y1"
        " FROM sample_results JOIN sample ON sample.id = sample_id JOIN image ON image.id = image_id"
        " WHERE sample_results.lesion_key IS NOT NULL ORDER BY run_id, sample_id LIMIT 3"
    )
    corners = held.select("x0", "y0", "x1", "y1").cast(pl.Int64).to_numpy()
    films = []
    for number, row in enumerate(held.iter_rows(named=True)):
        (film,) = (finished.path / "phantom").glob(f"*/{row['path']}")
        films.append(shutil.copy(film, tmp_path / f"{number}{film.suffix}"))
    lines = [",".join(map(str, [Path(film).name, *box])) for film, box in zip(films, corners.tolist(), strict=True)]
    (tmp_path / "boxes.csv").write_text("\n".join(["image,x0,y0,x1,y1", *lines]))
    words = ["predict", held["run_id"][0], *map(str, films), "--boxes", str(tmp_path / "boxes.csv")]
    done = finished.run("commands", *words, "--to", str(tmp_path / "found"))
    assert done.returncode == 0, done.stderr
    found = pl.read_csv(tmp_path / "found" / "predictions.csv")
    windows = found.select("x0", "y0", "x1", "y1").to_numpy()
    assert (windows[:, :2] <= corners[:, :2]).all() and (windows[:, 2:] >= corners[:, 2:]).all()
    sides = held.select("width", "height").cast(pl.Int64).to_numpy()
    assert ((windows[:, 2:] - windows[:, :2]) < 0.8 * sides).any(axis=1).all()  # and not the whole film
    codes = finished.sql("SELECT code FROM label ORDER BY ordinal")["code"].to_list()
    chances = found.select(codes).to_numpy()
    assert chances.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert [codes[k] for k in chances.argmax(axis=1)] == found["predicted"].to_list()
    assert len(list((tmp_path / "found").glob("*.png"))) == len(list((tmp_path / "found").glob("*.npy"))) == 3
    nothing = finished.run("commands", "predict", held["run_id"][0], str(tmp_path / "none.png"))
    assert nothing.returncode == 2 and "none.png is not there" in nothing.stderr


def test_results_are_the_views_as_files(finished: Home, tmp_path: Path) -> None:
    done = finished.run("commands", "results", "small", "--format", "csv", "--to", str(tmp_path / "results"))
    assert done.returncode == 0, done.stderr
    samples = pl.read_csv(tmp_path / "results" / "sample_results.csv")
    assert samples.height == finished.count("SELECT count(*) FROM sample_results")


def test_checkpoints_on_disk_are_those_in_the_record(finished: Home) -> None:
    recorded = {Path(p).name for p in finished.sql("SELECT path FROM checkpoint").to_series()}
    on_disk = {p.name for p in (finished.path / "checkpoints").rglob("*.safetensors")}
    assert recorded == on_disk


def printed(page: str, caption: str) -> str:
    """The text of the table with this caption, one space between cells."""
    tables = re.findall(r"<table.*?</table>", page, flags=re.DOTALL)
    texts = [re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", table))).strip() for table in tables]
    return next(text for text in texts if text.startswith(caption))


def test_the_views_return_what_the_report_prints(finished: Home) -> None:
    page = next((finished.path / "reports").glob("*.html")).read_text()
    accuracy = printed(page, "Model accuracy on test patches")
    for value, low, high in finished.sql("SELECT accuracy, low, high FROM table_2_accuracy").rows():
        assert f"{float(value):.2f} {float(low):.2f}–{float(high):.2f}" in accuracy
    areas = printed(page, "One-vs-rest area under the ROC curve")
    for (mean,) in finished.sql("SELECT auc FROM table_3_auc WHERE code = 'mean'").rows():
        assert f"from probabilities {float(mean):.2f}" in areas
    overlap = printed(page, "Lesion localisation beside accuracy")
    scores = finished.sql("SELECT ll, low, high, n FROM table_4_localization WHERE headline AND ll IS NOT NULL").rows()
    assert scores
    for ll, low, high, n in scores:
        assert f"{float(ll):.2f} {float(low):.2f}–{float(high):.2f} {n}" in overlap
    counts = printed(page, "Patches of each class")
    for code, *parts in finished.sql(
        "SELECT code, train, validation, train_and_validation, test FROM table_1_patches"
    ).rows():
        assert f" {code} {' '.join(parts)} " in counts
    for code, count, value, low, high in finished.sql(
        "SELECT true_code, count, row_fraction, low, high FROM confusion_matrix WHERE low IS NOT NULL"
    ).rows():
        assert f"{float(value):.2f} {float(low):.2f}–{float(high):.2f} {count}" in page_text(page), code


def page_text(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_confusion_matrix_adds_up_to_accuracy(finished: Home) -> None:
    wrong = finished.sql(
        "SELECT run_id FROM (SELECT run_id, sum(count) FILTER (WHERE true_code = predicted_code) / sum(count) AS hits"
        " FROM confusion_matrix GROUP BY run_id) AS c JOIN table_2_accuracy USING (run_id)"
        " WHERE abs(hits - accuracy) > 1e-6"
    )
    assert wrong.is_empty()


def test_running_again_does_nothing_and_says_so(finished: Home) -> None:
    before = finished.sql("SELECT count(*), max(created_at) FROM report").rows()
    epochs = finished.sql("SELECT count(*) FROM epoch").item()
    again = finished.study(small_study())
    assert again.returncode == 0
    assert "nothing to do" in again.stdout + again.stderr
    assert finished.sql("SELECT count(*), max(created_at) FROM report").rows() == before
    assert finished.sql("SELECT count(*) FROM epoch").item() == epochs


OTHERS = {
    "ALL_PROXY": "socks5://127.0.0.1:1080", "all_proxy": "socks://127.0.0.1:1080/", "no_proxy": "[::1]",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "PGHOSTADDR": "127.0.0.1", "PGPORT": "1", "PGSERVICE": "prod", "PGOPTIONS": "-c search_path=mine",
    "PREFECT_SERVER_API_AUTH_STRING": "admin:pass", "PREFECT_API_AUTH_STRING": "admin:pass",
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true", "PREFECT_SERVER_API_BASE_PATH": "/v2api",
    "PREFECT_API_KEY": "pnu_1", "PREFECT_API_URL": "https://prefect.example/api", "PREFECT_PROFILE": "production",
    "UVICORN_ROOT_PATH": "/v2", "WEB_CONCURRENCY": "4", "SSL_CERT_FILE": "/none",
    "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "DATA": "/etc", "TMPDIR": "/none",
}  # fmt: skip


def test_what_the_shell_holds_for_others_changes_nothing(finished: Home) -> None:
    """Proxies, PostgreSQL, Prefect, a web server, a terminal: the study is known, rendered and compared as before."""
    before = finished.sql("SELECT count(*) FROM report").item()
    again, compared = finished.study(small_study(), **OTHERS), finished.run("commands", "compare", "small", **OTHERS)
    for done in (again, compared):
        assert done.returncode == 0, done.stderr[-3000:]
        assert "Traceback" not in done.stdout + done.stderr
    assert "nothing to do" in again.stdout + again.stderr
    assert finished.sql("SELECT count(*) FROM report").item() == before
    seen = finished.run("commands", "sql", "--csv", "--command", "SELECT count(*) FROM report", **OTHERS)
    assert seen.stdout.split() == ["count", before]


def test_studies_and_runs_are_compared_by_one_command(finished: Home) -> None:
    with finished.kept_server():
        by_name, by_run = (
            finished.run("commands", "compare", "small"),
            finished.run("commands", "compare", "--runs", "2", "3"),
        )
    for done, models in ((by_name, 4), (by_run, 2)):
        assert done.returncode == 0, done.stderr[-3000:]
        page = Path(done.stdout.rpartition("Comparison: ")[2].strip())
        assert f"1 study \u00b7 {models} models" in page.read_text()
        assert (page.with_suffix("") / "tables" / "models.csv").read_text().count("small") == models
    nothing = finished.run("commands", "compare")
    assert nothing.returncode == 2 and "name at least one study, or runs" in nothing.stderr
    unknown = finished.run("commands", "compare", "--runs", "99")
    assert unknown.returncode == 2 and "no evaluation of run 99" in unknown.stderr


def test_the_readmes_sql_works_as_written(finished: Home) -> None:
    queries = re.findall(r"```sql\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(queries) >= 3
    for query in queries:
        assert not finished.sql(query).is_empty(), query


def test_the_history_is_whole_on_prefects_side(finished: Home) -> None:
    import sqlite3

    database = finished.path / "prefect" / "prefect.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        states = dict(connection.execute(WHOLE).fetchall())
        trained = connection.execute("SELECT count(*) FROM task_run WHERE name LIKE 'train %'").fetchone()[0]
    assert set(states) == {"COMPLETED"}
    assert trained == 4


def test_the_page_of_every_flow_run_has_its_result(finished: Home) -> None:
    """Whichever run a person opens in Prefect's UI, what it found is there, once: tables, the answer, a link."""
    import sqlite3

    database = finished.path / "prefect" / "prefect.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        found = connection.execute(
            "SELECT flow.name, flow_run.id, artifact.key, artifact.data FROM flow_run JOIN flow ON flow.id = flow_id"
            " LEFT JOIN artifact ON artifact.flow_run_id = flow_run.id AND artifact.key IS NOT NULL"
            " WHERE flow_run.state_type = 'COMPLETED'"
        ).fetchall()
    studies = {number for name, number, _, _ in found if name == "study"}
    kinds = ("samples", "left-out", "training", "report")
    for number in studies:
        keys = {key for _, other, key, _ in found if other == number}
        assert keys == {f"study-1-{k}" for k in kinds} | {f"run-{run}-epochs" for run in range(1, 5)}
    assert any("| Accuracy" in (data or "") for name, _, _, data in found if name == "compare")
    compared = {key.split("-", 2)[2] for name, _, key, _ in found if name == "compare"}
    assert compared == {"page"}
    tables = {key: data for _, _, key, data in found}
    assert tables["study-1-training"].count("finished") == 4 and "validation loss there" in tables["study-1-training"]
    assert "malignant mass" in tables["study-1-samples"]
    assert all(part in tables["study-1-report"] for part in ("# ", "/reports/1", "| finished |"))
    assert "Not a medical device" in tables["study-1-card"]
    assert any("/comparisons/" in data for _, _, key, data in found if key.endswith("page"))
