"""What the tests say of one model and one group of lesions, and the gates that stand before a yes.

Every gate is a Reason with the best verdict that it leaves possible; docs/report.md explains each code.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl

from lesionlens.records import BASELINES, ReportData
from lesionlens.reporting.data import Model, Row, Score, frame, lookup, rows
from lesionlens.reporting.formatting import NAMES, counted, joined, number, proportion

Question = Literal["detection", "diagnosis"]
Kind = Literal["no", "not shown", "partly", "yes"]
RANK: tuple[Kind, ...] = ("no", "not shown", "partly", "yes")

LEAST_EFFECT = 0.05
"""Below this mean fall of probability or of AUC a decision hardly uses the lesion."""
LEAST_PATIENTS = 10
LEAST_LESIONS = 20
LEAST_CELLS = 4
"""Rows and columns of a map below which a lesion's place can hardly be told."""
NULLS = ("whole_patch", "random_weights", "dealt_maps")
"""Baselines that know nothing of the lesion; the others know where lesions usually lie."""
EXPECTED = tuple(dict.fromkeys((*BASELINES, "dealt_maps")))


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an answer is not better: a fixed code and its words. `cap`: the best verdict that it leaves possible."""

    code: str
    words: str
    cap: Kind = "yes"


@dataclass(frozen=True, slots=True)
class Finding:
    """What the tests say before any gate, with the number that decided it."""

    verdict: Kind
    measure: str
    number: Score
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The scores of one model over one group of lesions (None: all), by name."""

    data: ReportData
    model: Model
    group: str | None
    lesions: pl.DataFrame
    """The model's lesions that the question is about: sample_results."""

    def score(self, name: str, value: str, ends: str = "", **key: str) -> Score:
        """One row of a report frame as a score; without a value where the record has none."""
        group = self.group or "all"
        found = rows(self.data, name, run_id=self.model.run_id, group_name=group, **key)
        row: Row = found[0] if found else {}
        return Score(row.get(value), row.get(f"{ends}low"), row.get(f"{ends}high"), row.get("n") or 0)

    def gaps(self) -> dict[str, Score]:
        """LL minus that of every baseline in the record, paired by lesion."""
        found = {name: self.score("baseline_differences", "difference", baseline=name) for name in EXPECTED}
        return {name: gap for name, gap in found.items() if gap.sign is not None}

    def decision(self, name: str) -> Score:
        return self.score("decisions", "value", score=name)

    @property
    def patients(self) -> int:
        return self.lesions["patient"].n_unique()


def gates(found: Evidence, question: Question) -> Iterator[Reason]:
    """What stands before a yes, gravest first."""
    yield from _trust(found.data)
    yield from _chance(found.data, found.model)
    yield from _shortcut(found.data, found.model)
    yield from _size(found, question)
    if question == "detection":
        yield from _map_gates(found)


def _trust(data: ReportData) -> Iterator[Reason]:
    """Leaks: patients in training and test, labels in the normalisation."""
    touched = (pl.col("split_a") == "test") | (pl.col("split_b") == "test")
    shared = frame(data, "split_check").filter(touched, pl.col("shared") > 0)
    if shared.height:
        counts = shared.group_by("entity", maintain_order=True).agg(pl.col("shared").sum()).rows()
        parts = joined([counted(n, entity, f"{entity}s") for entity, n in counts])
        yield Reason("leak", f"the test split shares {parts} with others", "not shown")
    if lookup(data.study.get("config"), "training.normalise") == "per_class":
        yield Reason("label_leak", "the normalisation of every patch used its label", "not shown")


def _chance(data: ReportData, model: Model) -> Iterator[Reason]:
    """Accuracy must lie above that of always naming the most frequent class."""
    accuracy = rows(data, "table_2_accuracy", run_id=model.run_id)[0]
    counts = frame(data, "table_1_patches")["test"]
    majority = float(counts.max() or 0) / max(int(counts.sum()), 1)  # type: ignore[arg-type]
    if accuracy["low"] is None or accuracy["low"] <= majority:
        words = proportion(*(accuracy[name] for name in ("accuracy", "low", "high"))) or "unknown"
        most = proportion(majority)
        yield Reason("chance", f"accuracy ({words}) is not above that of the largest class ({most})", "not shown")


def _shortcut(data: ReportData, model: Model) -> Iterator[Reason]:
    """Features outside the annotation must predict the class less well than the network does."""
    accuracy = rows(data, "table_2_accuracy", run_id=model.run_id)[0]["accuracy"]
    found = frame(data, "shortcut_audit").filter(pl.col("features") != "majority").drop_nulls("high")
    if found.is_empty():
        yield Reason("no_audit", "whether features outside the lesion tell the class was not tested", "partly")
    elif accuracy is not None and (best := found.sort("accuracy").row(-1, named=True))["high"] >= accuracy:
        reached = proportion(best["accuracy"], best["low"], best["high"])
        words = f"a regression on features outside the lesion is as accurate as the network ({reached})"
        yield Reason("shortcut", words, "partly")


def _size(found: Evidence, question: Question) -> Iterator[Reason]:
    """At least 10 patients and 20 lesions, also of those occluded."""
    tested = found.score("occlusion_test", "difference").n if question == "detection" else found.decision("auc").n
    if found.patients < LEAST_PATIENTS or found.lesions.height < LEAST_LESIONS or tested < LEAST_LESIONS:
        few = min(tested, found.lesions.height)
        words = f"{counted(few, 'lesion', 'lesions')} of {counted(found.patients, 'patient', 'patients')} are too few"
        yield Reason("few", words, "not shown")


def _map_gates(found: Evidence) -> Iterator[Reason]:
    """Every baseline present; a map of more than one cell, that could score above the baselines; hits above chance."""
    missing = [NAMES[name] for name in EXPECTED if name not in found.gaps()]
    if missing:
        yield Reason("no_baseline", f"LL was not compared with {joined(missing)}", "not shown")
    maps = frame(found.data, "maps").filter(run_id=found.model.run_id)
    size = maps.select(pl.min_horizontal(pl.col("rows").min(), pl.col("cols").min())).item() if maps.height else None
    if size is not None and size < LEAST_CELLS:
        words = f"a map of {size} × {size} cells can hardly show where it looks"
        yield Reason("coarse", words, "not shown" if size < 2 else "yes")
    located = found.lesions.drop_nulls("hit")
    hits = found.score("hit_rates", "value", population="correct_lesions")
    by_chance = located["mask_fraction"].mean()
    if hits.low is None or not isinstance(by_chance, float) or hits.low <= by_chance:
        words = f"the maximum of the map lies in the lesion ({proportion(hits.value) or 'unknown'}) no more often than "
        yield Reason("no_hits", f"{words}a random point", "not shown")


def detection(found: Evidence) -> Finding:
    """Maps above what knows nothing of the lesion, then above what knows the usual place, then used by the decision."""
    gaps = found.gaps()
    if not gaps:
        return Finding("not shown", "ll", found.score("localization_scores", "ll", population="correct_lesions"))
    lowest = sorted(gaps, key=lambda name: gaps[name].low or 0)
    failed = [name for name in lowest if gaps[name].sign != "above"]
    blind = [name for name in failed if name in NULLS]
    reasons = tuple(_against(name, gaps[name]) for name in failed)
    worst = (blind or failed or lowest)[0]
    if blind:
        below = any(gaps[name].sign == "below" for name in blind)
        return Finding("no" if below else "not shown", f"ll_minus_{worst}", gaps[worst], reasons)
    effect = found.score("occlusion_test", "difference", "difference_")
    used = _used(effect, "probability")
    if failed:
        return Finding("partly", f"ll_minus_{worst}", gaps[worst], (*reasons, *used))
    if used:
        return Finding("partly", "occlusion_difference", effect, used)
    return Finding("yes", f"ll_minus_{worst}", gaps[worst])


def _against(name: str, gap: Score) -> Reason:
    if gap.sign == "below":
        return Reason(f"below_{name}", f"its maps fit the lesions less well than {NAMES[name]}")
    return Reason(f"not_above_{name}", f"its maps do not fit the lesions better than {NAMES[name]}")


def _used(effect: Score, of: str) -> tuple[Reason, ...]:
    """Why the fall with the lesion filled in does not show that the decision uses it; nothing where it does."""
    if effect.sign is None or effect.value is None:
        return (Reason("no_occlusion", "the lesion was not filled in", "partly"),)
    if effect.sign != "above":
        return (Reason("not_used", f"filling in the lesion does not lower the {of} more than filling in a control"),)
    if effect.value < LEAST_EFFECT:
        return (Reason("hardly_used", f"filling in the lesion hardly lowers the {of} ({number(effect.value, 3)})"),)
    return ()


def diagnosis(found: Evidence) -> Finding:
    """What tells benign from malignant: the lesion, by two tests, or what surrounds it, by the same two."""
    intact, fall = found.decision("auc"), found.decision("auc_fall")
    without, own, other = (found.decision(name) for name in ("auc_occluded", "swap_lesion", "swap_surroundings"))
    if intact.value is None:
        return Finding("not shown", "auc", intact, (Reason("no_diagnosis", "the diagnosis was not tested"),))
    if intact.low is None or intact.low <= 0.5:
        at_chance = Reason("auc_chance", "the AUC of the diagnosis is not above 0.5")
        return Finding("not shown", "auc", intact, (at_chance,))
    absent = []
    if fall.low is None or without.low is None:
        absent.append(Reason("no_occlusion", "the lesion was not filled in"))
    if own.low is None or other.low is None:
        absent.append(Reason("no_swap", "lesions were not swapped between patients"))
    if absent:
        return Finding("not shown", "auc", intact, tuple(absent))
    against = _used(fall, "AUC")
    if own.low is not None and own.low <= 0.5:
        words = f"put into another patient's tissue, the lesion does not decide (AUC {own.text})"
        against = (*against, Reason("swap_not_lesion", words))
    around = {"auc_occluded": _told("still_told", "with the lesion filled in", without)}
    around["swap_surroundings"] = _told("surroundings", "by what surrounds a swapped lesion", other)
    deciding = next((measure for measure, reasons in around.items() if reasons), "")
    reasons = (*against, *(reason for each in around.values() for reason in each))
    if not deciding:
        return Finding("not shown" if against else "yes", "auc_fall", fall, reasons)
    return Finding("no" if against else "partly", deciding, found.decision(deciding), reasons)


def _told(code: str, where: str, auc: Score) -> tuple[Reason, ...]:
    """That the classes can be told apart without the lesion, where the interval lies above 0.5."""
    if auc.low is None or auc.low <= 0.5:
        return ()
    return (Reason(code, f"the classes are told apart {where} (AUC {auc.text})"),)
