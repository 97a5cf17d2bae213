"""What a model card holds: what the record knows of a study's model, and nothing else; None is 'not recorded'."""

import json
from typing import Any

import polars as pl

from lesionlens.datasets.download import LICENCE
from lesionlens.records import ReportData
from lesionlens.reporting.data import Model, Row, confidence, frame, headline, lookup, rows
from lesionlens.reporting.verdict import JUDGED, chosen
from lesionlens.reporting.warnings import warnings

CARD = (
    *JUDGED, "table_1_patches", "table_3_auc", "answers", "operating_points", "subgroup_scores", "flow_counts",
    "test_uses", "checkpoints", "checklist",
)  # fmt: skip
"""Frames that `content` needs."""
NOTICE = "Not a medical device. For research only: nothing here was tested for use in the care of patients."
USE = "To study whether the decisions of an image classifier rest on the lesion. Use on patients: not intended."
SOFTWARE = "lesionlens: Apache-2.0"
CBIS = ("cbis_kaggle", "cbis_dicom")
ENDS = ("value", "low", "high", "n")
CELL = ("backbone", "strategy", "batch_size", "head_rate", "unit1_rate", "guidance", "seeds")
POPULATIONS = ("all", "correct_lesions")


def content(data: ReportData) -> dict[str, Any]:
    """The card by section: strings, numbers, lists and dicts, as JSON holds them; None where the record holds nothing.

    About the model that the study's answer is about. Scores are of its run with the lowest validation loss of its
    seeds, as in the gallery of the report; what the answer rests on is over all seeds.
    """
    model, study = chosen(data), data.study
    return {
        "notice": NOTICE,
        "study": {name: study[name] for name in ("name", "id", "digest")} | {"entered": _moment(study["created_at"])},
        "intended_use": USE,
        "intervals": confidence(data),
        "model": _model(data, model),
        "classes": rows(data, "labels"),
        "data": _data(data),
        "training": {"grid": lookup(study["config"], "grid"), "options": lookup(study["config"], "training")},
        "answers": rows(data, "answers"),
        "gates": [
            {"question": row["question"], "group_name": row["group_name"], "failed": row["reasons"]}
            for row in rows(data, "answers")
        ],
        "scores": _scores(data, model),
        "subgroups": _subgroups(data, model),
        "limits": [{"title": found.title, "text": found.text, "grave": found.grave} for found in warnings(data)],
        "licences": licences(data),
        "checklist": rows(data, "checklist"),
        "versions": study["versions"],
    }


def as_json(card: dict[str, Any]) -> str:
    """The card as JSON, keys in their order."""
    return json.dumps(card, indent=2, ensure_ascii=False, default=str) + "\n"


def _moment(at: Any) -> str | None:
    return at.isoformat() if at else None


def _model(data: ReportData, model: Model | None) -> dict[str, Any] | None:
    """The cell that was chosen, its run, the weights' digest and its maps; None without an evaluated model."""
    if model is None:
        return None
    cells = frame(data, "decisions").select(CELL).unique(maintain_order=True).to_dicts()
    cell: Row = cells[0] if cells else {name: getattr(model, name, None) for name in CELL}
    config, maps = data.study["config"], headline(data, model) or {}
    weights = rows(data, "checkpoints", run_id=model.run_id)
    kept = {name: weights[0][name] for name in ("epoch", "sha256", "bytes")} if weights else None
    return cell | {
        "run": model.run_id,
        "seed": model.seed,
        "pretrained_weights": lookup(config, "training.weights") or lookup(config, "examined.weights"),
        "normalisation": lookup(config, "training.normalise") or lookup(config, "examined.normalise"),
        "checkpoint": kept,
        "maps": {"method": maps.get("method"), "rows": maps.get("map_rows"), "cols": maps.get("map_cols")},
    }


def _data(data: ReportData) -> dict[str, Any]:
    study, uses = data.study, rows(data, "test_uses")
    names = ("patients", "images", "lesions", "samples")
    flow = {
        stage: [
            {name: row[name] for name in (*keys, *names)}
            for row in rows(data, "flow_counts", stage=stage)
            if stage != "included" or row["split"] is not None
        ]
        for stage, keys in (("listed", ()), ("excluded", ("reason",)), ("included", ("split",)))
    }
    return {
        "name": study["dataset_name"],
        "layout": study["dataset_kind"],
        "digest": study["dataset_digest"],
        "sample_set_digest": study["sample_set_digest"],
        **flow,
        "samples_by_class": rows(data, "table_1_patches"),
        "test_split": uses[0] if uses else None,
    }


def _scores(data: ReportData, model: Model | None) -> list[Row]:
    """score, of, value, low, high, n: accuracy, AUC, LL, operating points, and what the answer for all rests on."""
    if model is None:
        return []
    key = {"run_id": model.run_id}
    found = [_score("accuracy", "test split", row, "accuracy") for row in rows(data, "table_2_accuracy", **key)]
    tested = {"n": found[0]["n"] if found else None}  # one class against the rest: over the whole split
    found += [_score("auc", row["code"], row | tested, "auc", "auc_") for row in rows(data, "table_3_auc", **key)]
    ll = headline(data, model)
    found += [_score("ll", "correctly classified lesions", ll, "ll")] if ll else []
    for row in rows(data, "operating_points", **key):
        if row["measure"] == "roc":
            continue
        at = "" if row["at"] is None else f", specificity {row['at']:g} on validation"
        found.append(_score(row["measure"], f"{row['question']} by {row['level']}{at}", row, "value"))
    whole = frame(data, "decisions").filter(
        pl.col("group_name").is_null(), ~pl.col("measure").str.contains("^(lesions_|ceiling_)")
    )
    for row in whole.iter_rows(named=True):
        of = f"{row['question']}, {row['variant']}"
        found.append(_score(row["measure"], of, row | {"n": row["lesions"]}, "value"))
    return found


def _score(name: str, of: str, row: Row, value: str, ends: str = "") -> Row:
    return {"score": name, "of": of} | dict(
        zip(ENDS, (row[value], row[f"{ends}low"], row[f"{ends}high"], row.get("n")), strict=True)
    )


def _subgroups(data: ReportData, model: Model | None) -> list[Row]:
    """subgroup, level, score, value, low, high, n."""
    if model is None:
        return []
    found = frame(data, "subgroup_scores").filter(pl.col("population").is_in(POPULATIONS), run_id=model.run_id)
    return found.select("subgroup", "level", *ENDS, score="name").to_dicts()


def licences(data: ReportData) -> list[str]:
    """Software, data, and first weights, each with its licence as far as it is known."""
    own = (
        f"CBIS-DDSM: {LICENCE}" if data.study["dataset_kind"] in CBIS else f"{data.study['dataset_name']}: not recorded"
    )
    weights = lookup(data.study["config"], "training.weights")
    pretrained = ["Pretrained weights (ImageNet, torchvision): not recorded"] if weights == "imagenet" else []
    return [SOFTWARE, own, *pretrained]
