"""Every query of docs/record.md runs as the reader and answers truly; the reader role sees views and nothing else."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Select, column, func, insert, inspect, literal_column, select, table, text
from sqlalchemy.exc import ProgrammingError

from db import tables, write
from lesionlens.config import EvaluationConfig

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "record.md").read_text()
ELSEWHERE = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUESTIONS = dict(re.findall(r"^([^\n]+)\n\n```sql\n(.*?)```", PAGE, flags=re.DOTALL | re.MULTILINE))


def ask(engine: Engine, filled: Any, beginning: str, **numbers: int) -> list[Any]:
    """Answers to the question that begins so, as the reader gets them: about the first run beside the second."""
    (query,) = [query for question, query in QUESTIONS.items() if question.startswith(beginning)]
    run, other = filled.runs
    with engine.connect() as connection:
        connection.execute(text("SET ROLE lesionlens_reader"))
        return list(connection.execute(text(query), {"study": filled.study, "run": run, "other": other} | numbers))


def sibling(engine: Engine, filled: Any) -> int:
    """A second study of the same patches, with another seed."""
    with engine.begin() as connection:
        config = connection.scalar(select(tables.study.c.config).where(tables.study.c.id == filled.study)) | {"seed": 7}
        return write.save_study(connection, "s" * 64, "sibling", config, "e" * 64, filled.sample_set, {})


def everything(name: str) -> Select[Any]:
    """All columns and rows of a table or view."""
    return select(literal_column("*")).select_from(table(name))


def test_there_are_fifteen_questions() -> None:
    assert len(QUESTIONS) == 15


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_has_an_answer(engine: Engine, filled: Any, question: str) -> None:
    masses = insert(tables.run_score).values(name="ll", method="grad_cam", target="predicted", value=0.3, n=4)
    with engine.begin() as connection:
        policy, population = EvaluationConfig().policy, "correct_lesions"
        keys = {"evaluation_id": filled.evaluations[0], "policy": policy, "population": population}
        connection.execute(masses.values(**keys, group_name="mass"))
    numbers = {"other": sibling(engine, filled)} if question.startswith("What changed") else {}
    assert ask(engine, filled, question, **numbers), question


@pytest.mark.parametrize("page", ELSEWHERE, ids=lambda page: page.name)
def test_a_reader_may_ask_whatever_a_document_shows(engine: Engine, filled: Any, page: Path) -> None:
    queries = re.findall(r"```sql\n(.*?)```", page.read_text(), flags=re.DOTALL)
    with engine.connect() as connection:
        connection.execute(text("SET ROLE lesionlens_reader"))
        numbers = {"study": filled.study, "run": filled.runs[0], "other": filled.runs[1]}
        for query in ";".join(queries).split(";"):
            if query.strip():
                connection.execute(text(query), numbers)


def test_worst_localised_first(engine: Engine, filled: Any) -> None:
    """In the filled record the n-th test patch of the first run has IoU 0.5 - 0.01 n; the first is misclassified."""
    found = [(row.patch_key, round(row.iou, 6)) for row in ask(engine, filled, "Worst localised")]
    assert found == [("patch 11", 0.45), ("patch 10", 0.46), ("patch 8", 0.48), ("patch 7", 0.49)]


def test_disagreements_are_those_of_the_predictions(engine: Engine, filled: Any) -> None:
    """The first run is wrong on the first test patch, the second on the first two, always by the next class."""
    found = [tuple(row) for row in ask(engine, filled, "Where two runs")]
    assert found == [("patch 7", "BM", "resnet18", "BM", "resnet18", "MM")]


def test_accuracy_of_a_patient(engine: Engine, filled: Any) -> None:
    found = {row.patient: (row.patches, float(row.accuracy)) for row in ask(engine, filled, "Accuracy per patient")}
    assert found == {f"P_{n:05d}": (1, float(n > 6)) for n in range(6, 12)}


def test_lesions_elsewhere(engine: Engine, filled: Any) -> None:
    found = [tuple(row) for row in ask(engine, filled, "Right for the wrong")]
    assert found == [("BM", 0, 2), ("MM", 0, 2)]


def test_deciles_hold_every_scored_lesion_once(engine: Engine, filled: Any) -> None:
    """Four lesions of one size: a decile each, in the order of their keys."""
    found = [(row.decile, *row[1:3], round(row.ll, 6)) for row in ask(engine, filled, "Localisation against")]
    assert found == [(n, 0.0625, 0.0625, iou) for n, iou in zip(range(1, 5), (0.46, 0.45, 0.49, 0.48), strict=True)]


def test_the_leak_check_names_what_leaks(engine: Engine, filled: Any) -> None:
    found = [tuple(row) for row in ask(engine, filled, "Did the leak check")]
    assert found == [
        ("image", "train", "test", 1, False, ["image 3"]),
        ("patient", "train", "test", 0, True, []),
    ]


def test_the_headline_stands_beside_its_baselines(engine: Engine, filled: Any) -> None:
    found = [tuple(row) for row in ask(engine, filled, "Does the model beat")]
    baselines = ("centred_disc", "mean_mask", "random_weights", "whole_patch")
    assert [(row[0], row[3], *row[4:]) for row in found] == [
        (run, baseline, pytest.approx(gap), pytest.approx(gap - 0.1), pytest.approx(gap + 0.2), 4)
        for run, gap in zip(filled.runs, (0.3, 0.2), strict=True)
        for baseline in baselines
    ]


def test_the_most_confident_mistake(engine: Engine, filled: Any) -> None:
    found = [tuple(row) for row in ask(engine, filled, "Most confident")]
    assert found == [("patch 6", "P_00006", "B", "BM", pytest.approx(0.8))]


def test_a_lesion_without_a_patch_has_its_reason(engine: Engine, filled: Any) -> None:
    found = [tuple(row) for row in ask(engine, filled, "Which lesions")]
    assert found == [("no_mask", "image 0", "lesion lost", "BENIGN_WITHOUT_CALLBACK", "file is missing")]


def test_epochs_in_their_order(engine: Engine, filled: Any) -> None:
    found = [(row.epoch, row.train_loss) for row in ask(engine, filled, "How did training")]
    assert found == [(1, 1.0), (2, 0.5)]


def test_differences_are_those_compared(engine: Engine, filled: Any) -> None:
    found = [tuple(row) for row in ask(engine, filled, "Is the difference")]
    assert found == [(*filled.runs, "accuracy", 0.8, 0.7, 0.1, 0.0, 0.2, 0.5, 6)]


def test_density_is_that_of_the_images(engine: Engine, filled: Any) -> None:
    found = [(row.breast_density, row.patches, float(row.accuracy)) for row in ask(engine, filled, "Accuracy and")]
    assert found == [(2, 6, pytest.approx(5 / 6))]


def test_policies_are_averaged_over_lesions(engine: Engine, filled: Any) -> None:
    found = {tuple(row[:3]): (row.mean_iou, row.lesions) for row in ask(engine, filled, "How does the threshold")}
    lesions = [n for n in range(6) if n % 3]
    mean = 0.5 - 0.01 * sum(lesions) / len(lesions)
    for target in ("predicted", "true"):
        for policy in ("area", "fixed", "otsu", "validation"):
            assert found["grad_cam", target, policy] == (pytest.approx(mean), 4)


def test_what_changed_is_what_was_changed(engine: Engine, filled: Any) -> None:
    answer = ask(engine, filled, "What changed", other=sibling(engine, filled))
    assert [tuple(row) for row in answer] == [("seed", 0, 7)]


def test_every_table_and_view_is_named(engine: Engine) -> None:
    names = {t.name for t in tables.metadata.sorted_tables} | set(inspect(engine).get_view_names())
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []


def test_views_and_tables_are_about_the_same_samples(engine: Engine, filled: Any) -> None:
    """The sums of views over one study are those of their tables."""
    queries = {
        "class_probabilities": "SELECT 3 * count(*) FROM prediction", "map_scores": "SELECT count(*) FROM localization",
        "patches": "SELECT count(*) FROM sample", "learning_curves": "SELECT count(*) FROM epoch",
        "run_scores": "SELECT count(*) FROM run_score", "exclusions": "SELECT count(*) FROM exclusion",
    }  # fmt: skip
    with engine.connect() as connection:
        for view, query in queries.items():
            rows = select(func.count()).select_from(table(view)).where(column("study_id") == filled.study)
            assert connection.scalar(rows) == connection.scalar(text(query)), view
        sums: defaultdict[int, float] = defaultdict(float)
        for row in connection.execute(text("SELECT run_id, sample_id, probability FROM class_probabilities")):
            sums[hash((row.run_id, row.sample_id))] += row.probability
        assert list(sums.values()) == pytest.approx([1.0] * 12, abs=1e-6)


def test_the_reader_reads_views_and_nothing_else(engine: Engine, filled: object) -> None:
    views, found = inspect(engine).get_view_names(), inspect(engine).get_table_names()
    with engine.connect() as connection:
        connection.execute(text("SET ROLE lesionlens_reader"))
        for view in views:
            assert connection.execute(everything(view)).all(), view
        connection.commit()
        for statement in [everything(name) for name in found] + [text("CREATE TABLE mine (n int)")]:
            connection.execute(text("SET ROLE lesionlens_reader"))
            with pytest.raises(ProgrammingError, match="permission denied"):
                connection.execute(statement)
            connection.rollback()
