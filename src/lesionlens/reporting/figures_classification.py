"""Charts of how well probabilities tell classes apart, and whether they mean what they say."""

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.axes import Scale, path, spread
from lesionlens.reporting.data import Model, Row, frame, rows, shown
from lesionlens.reporting.figures import Chart, Dot, Line
from lesionlens.reporting.formatting import count, number, spoken
from lesionlens.scoring.calibration import error_by_chance

SIZE = (300, 238)
LARGEST = 7.0


def _scales() -> tuple[Scale, Scale]:
    return Scale(0, 1, 28, 204), Scale(0, 1, 200, 24)


def _diagonal(x: Scale, y: Scale) -> Line:
    return Line(path([(x(0), y(0)), (x(1), y(1))]), None, "random")


def roc_curves(data: ReportData) -> tuple[Chart, ...]:
    """One chart per model, one line per class against all others, named by class and area."""
    names = {row["code"]: row["name"] for row in frame(data, "labels").to_dicts()}
    return tuple(chart for model in shown(data) if (chart := _roc(data, model, names)) is not None)


def _roc(data: ReportData, model: Model, names: dict[str, str]) -> Chart | None:
    points = frame(data, "roc_curve").filter(
        (pl.col("run_id") == model.run_id)
        & pl.col("true_positive_rate").is_not_null()
        & pl.col("false_positive_rate").is_not_null()
    )
    if not points.height:
        return None
    areas = {row["code"]: row for row in rows(data, "table_3_auc", run_id=model.run_id)}
    x, y = _scales()
    drawn = {
        code: part.sort("threshold", descending=True).select("false_positive_rate", "true_positive_rate").rows()
        for (code,), part in points.partition_by("code", as_dict=True, maintain_order=True).items()
    }
    places = spread([y(0.5) - 17 * (len(drawn) / 2 - n) for n in range(len(drawn))], 17, y.end, y.start)
    lines = [_diagonal(x, y)]
    for n, (code, line) in enumerate(drawn.items()):
        corners = path((x(a), y(b)) for a, b in _staircase([(0.0, 0.0), *line, (1.0, 1.0)]))
        lines.append(
            Line(corners, n, "curve thin", f"{code} {number(_area(areas, code)[0])}", x.end + 12, places[n] + 4)
        )
    words = "; ".join(f"{names.get(code, code)} {spoken(*_area(areas, code))}" for code in drawn)
    return Chart(
        f"roc-{model.run_id}", model.title, f"Area under the curve: {words}.", SIZE, x, y,
        x_label="false positive rate", y_label="true positive rate", lines=tuple(lines),
    )  # fmt: skip


def _area(areas: dict[str, Row], code: str) -> tuple[float | None, float | None, float | None]:
    row = areas.get(code, {})
    return row.get("auc"), row.get("auc_low"), row.get("auc_high")


def _staircase(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points without those that lie on a straight line between their neighbours."""
    kept = points[:1]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        turn = (here[0] - before[0]) * (after[1] - here[1]) - (here[1] - before[1]) * (after[0] - here[0])
        if abs(turn) > 1e-12:
            kept.append(here)
    return [*kept, points[-1]]


def reliability(data: ReportData) -> tuple[Chart, ...]:
    """One chart per model: share of correct predictions against their mean probability, by bin, with intervals.

    A mark's area follows the number of samples in its bin.
    """
    return tuple(chart for model in shown(data) if (chart := _reliability(data, model)) is not None)


def _reliability(data: ReportData, model: Model) -> Chart | None:
    bins = [row for row in rows(data, "reliability_curve", run_id=model.run_id) if row["confidence"] is not None]
    if not bins:
        return None
    x, y = _scales()
    most = max(row["n"] for row in bins)
    lines, dots = [_diagonal(x, y)], []
    for row in bins:
        at = x(row["confidence"])
        if row["low"] is not None and row["high"] is not None:
            lines.append(Line(path([(at, y(row["low"])), (at, y(row["high"]))]), model.series, "baseline"))
        right = spoken(row["accuracy"], row["low"], row["high"])
        title = f"mean probability {number(row['confidence'])}: {right} correct, {count(row['n'])} samples"
        radius = round(max(2.0, LARGEST * (row["n"] / most) ** 0.5), 1)
        dots.append(Dot(at, y(row["accuracy"]), model.series, "own", title, radius))
    return Chart(
        f"reliability-{model.run_id}", model.title, _error(data, model), (240, 238), x, y, x_label="mean probability",
        y_label="share correct", lines=tuple(lines), dots=tuple(dots),
    )  # fmt: skip


def _error(data: ReportData, model: Model) -> str:
    found = rows(data, "calibration", run_id=model.run_id)
    confidences = frame(data, "sample_results").filter(run_id=model.run_id)["confidence"].drop_nulls()
    if not found or confidences.is_empty():
        return ""
    own, chance = found[0], number(error_by_chance(confidences.to_numpy()))
    error = spoken(own["calibration_error"], own["low"], own["high"])
    return f"Expected calibration error {error}; chance alone gives a perfectly calibrated model {chance} here."
