"""Every query of the documents runs as the reader and answers truly; the reader sees views and nothing else."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Select, column, func, insert, inspect, literal_column, select, table, text
from sqlalchemy.exc import ProgrammingError

from db import schema, studies
from db.tables import metadata
from db.tables.scores import run_score
from lesionlens.config.evaluation import EvaluationConfig
from tests.record.makers import Filled

EMPTY = ("breast_scores", "external", "transfer", "transfer_correlations")
"""Views of what the small record lacks: classes known as malignant, other data, films."""
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "record.md").read_text()
ELSEWHERE = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUESTIONS = dict(re.findall(r"^([^\n]+)\n\n```sql\n(.*?)```", PAGE, flags=re.DOTALL | re.MULTILINE))


@pytest.fixture
def ask(connection: Connection, filled: Filled) -> Any:
    """Answers to the question that begins so, as the reader gets them: about the first run beside the second."""

    def answer(beginning: str, **numbers: int) -> list[Any]:
        (query,) = [query for question, query in QUESTIONS.items() if question.startswith(beginning)]
        given = {"study": filled.study, "run": filled.runs[0], "other": filled.runs[1]} | numbers
        connection.execute(text("SET LOCAL ROLE lesionlens_reader"))
        return [tuple(row) for row in connection.execute(text(query), given)]

    return answer


def sibling(connection: Connection, filled: Filled) -> int:
    """A second study of the same samples, with another seed."""
    config = studies.study_config(connection, filled.study) | {"seed": 7}
    return studies.save_study(connection, "s" * 64, "sibling", config, "e" * 64, filled.sample_set, {})


def everything(name: str) -> Select[Any]:
    """All columns and rows of a table or view."""
    return select(literal_column("*")).select_from(table(name))


def test_there_are_fifteen_questions() -> None:
    assert len(QUESTIONS) == 15


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_has_an_answer(connection: Connection, filled: Filled, ask: Any, question: str) -> None:
    masses = insert(run_score).values(name="ll", method="grad_cam", target="predicted", value=0.3, n=4)
    keys = {"evaluation_id": filled.evaluations[0], "policy": EvaluationConfig().policy}
    connection.execute(masses.values(**keys, population="correct_lesions", group_name="mass"))
    numbers = {"other": sibling(connection, filled)} if question.startswith("What changed") else {}
    assert ask(question, **numbers)


@pytest.mark.parametrize("page", ELSEWHERE, ids=lambda page: page.name)
def test_a_reader_may_ask_whatever_a_document_shows(connection: Connection, filled: Filled, page: Path) -> None:
    queries = re.findall(r"```sql\n(.*?)```", page.read_text(), flags=re.DOTALL)
    connection.execute(text("SET LOCAL ROLE lesionlens_reader"))
    numbers = {"study": filled.study, "run": filled.runs[0], "other": filled.runs[1]}
    for query in ";".join(queries).split(";"):
        if query.strip():
            connection.execute(text(query), numbers)


def test_worst_localized_first(ask: Any) -> None:
    """In the filled record the n-th test sample of the first run has IoU 0.5 - 0.01 n; the first is misclassified."""
    found = [(row[0], round(row[4], 6)) for row in ask("Worst localized")]
    assert found == [("sample 11", 0.45), ("sample 10", 0.46), ("sample 8", 0.48), ("sample 7", 0.49)]


def test_disagreements_are_those_of_the_predictions(ask: Any) -> None:
    """The first run is wrong on the first test sample, the second on the first two, always by the next class."""
    assert ask("Where two runs") == [("sample 7", "BM", "resnet18", "BM", "resnet18", "MM")]


def test_accuracy_of_a_patient(ask: Any) -> None:
    found = {patient: (count, float(accuracy)) for patient, count, accuracy in ask("Accuracy per patient")}
    assert found == {f"P_{n:05d}": (1, float(n > 6)) for n in range(6, 12)}


def test_lesions_elsewhere(ask: Any) -> None:
    assert ask("Right for the wrong") == [("BM", 0, 2), ("MM", 0, 2)]


def test_deciles_hold_every_scored_lesion_once(ask: Any) -> None:
    """Four lesions of one size: a decile each, in the order of their keys."""
    found = [(*row[:3], round(row[3], 6)) for row in ask("Localization against")]
    assert found == [(n, 0.0625, 0.0625, iou) for n, iou in zip(range(1, 5), (0.46, 0.45, 0.49, 0.48), strict=True)]


def test_the_leak_check_names_what_leaks(ask: Any) -> None:
    assert ask("Did the leak check") == [
        ("image", "train", "test", 1, False, ["image 3"]),
        ("patient", "train", "test", 0, True, []),
    ]


def test_the_headline_stands_beside_its_baselines(filled: Filled, ask: Any) -> None:
    baselines = ("centred_disc", "dealt_maps", "mean_mask", "random_weights", "whole_patch")
    assert [(row[0], row[3], *row[4:]) for row in ask("Does the model beat")] == [
        (run, baseline, pytest.approx(gap), pytest.approx(gap - 0.1), pytest.approx(gap + 0.2), 4)
        for run, gap in zip(filled.runs, (0.3, 0.2), strict=True)
        for baseline in baselines
    ]


def test_the_most_confident_mistake(ask: Any) -> None:
    assert ask("Most confident") == [("sample 6", "P_00006", "B", "BM", pytest.approx(0.8))]


def test_a_lesion_without_a_sample_has_its_reason(ask: Any) -> None:
    found = ask("Which lesions")
    assert found == [("no_mask", "image 0", "lesion lost", "BENIGN_WITHOUT_CALLBACK", "file is missing")]


def test_epochs_in_their_order(ask: Any) -> None:
    assert [(row[0], row[2]) for row in ask("How did training")] == [(1, 1.0), (2, 0.5)]


def test_differences_are_those_compared(filled: Filled, ask: Any) -> None:
    assert ask("Is the difference") == [(*filled.runs, "accuracy", 0.8, 0.7, 0.1, 0.0, 0.2, 0.5, 6, 1, 0.1, 0.1)]


def test_density_is_that_of_the_images(ask: Any) -> None:
    ((density, count, accuracy, _),) = ask("Accuracy and")
    assert (density, count, float(accuracy)) == (2, 6, pytest.approx(5 / 6))


def test_policies_are_averaged_over_lesions(ask: Any) -> None:
    found = {row[:3]: row[3:] for row in ask("How does the threshold")}
    lesions = [n for n in range(6) if n % 3]
    mean = 0.5 - 0.01 * sum(lesions) / len(lesions)
    for target in ("predicted", "true"):
        for policy in ("area", "fixed", "otsu", "validation"):
            assert found["grad_cam", target, policy] == (pytest.approx(mean), 4)


def test_what_changed_is_what_was_changed(connection: Connection, filled: Filled, ask: Any) -> None:
    assert ask("What changed", other=sibling(connection, filled)) == [("seed", 0, 7)]


def test_every_table_and_view_is_named() -> None:
    names = {t.name for t in metadata.sorted_tables} | schema.views().keys()
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []


def test_views_and_tables_are_about_the_same_samples(connection: Connection, filled: Filled) -> None:
    """The sums of views over one study are those of their tables."""
    queries = {
        "class_probabilities": "SELECT 3 * count(*) FROM prediction", "map_scores": "SELECT count(*) FROM localization",
        "samples": "SELECT count(*) FROM sample", "learning_curves": "SELECT count(*) FROM epoch",
        "run_scores": "SELECT count(*) FROM run_score", "exclusions": "SELECT count(*) FROM exclusion",
    }  # fmt: skip
    for view, query in queries.items():
        rows = select(func.count()).select_from(table(view)).where(column("study_id") == filled.study)
        assert connection.scalar(rows) == connection.scalar(text(query)), view
    sums: defaultdict[tuple[int, int], float] = defaultdict(float)
    for row in connection.execute(text("SELECT run_id, sample_id, probability FROM class_probabilities")):
        sums[row.run_id, row.sample_id] += row.probability
    assert list(sums.values()) == pytest.approx([1.0] * 12, abs=1e-6)


def test_the_reader_reads_views_and_nothing_else(connection: Connection) -> None:
    tables = inspect(connection).get_table_names()
    connection.execute(text("SET LOCAL ROLE lesionlens_reader"))
    for view in schema.views():
        assert connection.execute(everything(view)).all() or view in EMPTY, view
    for statement in [everything(name) for name in tables] + [text("CREATE TABLE mine (n int)")]:
        with pytest.raises(ProgrammingError, match="permission denied"), connection.begin_nested():
            connection.execute(statement)
