"""What the tests say of one group of lesions, and the gates that stand before a yes.

Every gate is a Reason with the best verdict that it leaves possible; docs/report.md explains each code.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl

from lesionlens.records import BASELINES, FILM_BASELINES, ReportData
from lesionlens.reporting.data import Row, Score, frame, lookup, rows
from lesionlens.reporting.formatting import ENTITIES, METHODS, NAMES, counted, joined, number, proportion, term, within

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


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an answer is not better: a fixed code and its words, empty where another reason's words tell of it, too.

    cap: the best verdict that it leaves possible. silent: with it not even a no can be shown.
    """

    code: str
    words: str
    cap: Kind = "yes"
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What the tests say before any gate, with the number that decided it."""

    verdict: Kind
    measure: str
    number: Score
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The scores of the chosen model, all its seeds together, over one group of lesions (None: all)."""

    data: ReportData
    run_id: int
    group: str | None

    @property
    def guided(self) -> bool:
        """Whether the model was trained on annotations."""
        return bool(set(frame(self.data, "decisions")["guidance"]) - {"none"})

    @property
    def methods(self) -> list[str]:
        """The attribution methods that count: of a guided model those whose maps were not trained for."""
        asked = list(lookup(self.data.study.get("config"), "evaluation.methods") or ["grad_cam"])
        return [name for name in asked if not is_cam(name)] if self.guided else asked

    @property
    def method(self) -> str:
        """The attribution method that the answer rests on: the first that counts."""
        return str([*self.methods, "grad_cam"][0])

    @property
    def baselines(self) -> tuple[str, ...]:
        """The baselines that LL is compared with."""
        return BASELINES if lookup(self.data.study.get("config"), "unit") in (None, "patch") else FILM_BASELINES

    def score(self, question: str, measure: str, variant: str = "smooth") -> Score:
        """A measure of the frame `decisions`; without a value where the record has none."""
        found = frame(self.data, "decisions").filter(
            pl.col("group_name").eq_missing(self.group), question=question, variant=variant, measure=measure
        )
        row: Row = found.row(0, named=True) if found.height else {}
        ends = (row.get("value"), row.get("low"), row.get("high"))
        return Score(*ends, row.get("lesions") or 0, row.get("patients") or 0)

    def gaps(self, method: str = "", of: str = "over") -> dict[str, Score]:
        """LL of a method's maps (`over`), or its ceiling (`ceiling_over`), minus each baseline's, paired by lesion."""
        found = {name: self.score("localization", f"{of}_{name}", method or self.method) for name in self.baselines}
        return {name: gap for name, gap in found.items() if gap.sign is not None}


def is_cam(method: str) -> bool:
    """Whether a method reads the maps of the last block, which guidance trains."""
    return "cam" in method.split("_")


def gates(found: Evidence, question: Question) -> Iterator[Reason]:
    """What stands before a yes, gravest first."""
    yield from _trust(found.data)
    yield from _guided(found, question)
    yield from _chance(found)
    yield from _shortcut(found, question)
    yield from _reference(found, question)
    yield from _size(found, question)
    if question == "detection":
        yield from _map_gates(found)


def _trust(data: ReportData) -> Iterator[Reason]:
    """Leaks: patients in training and test, labels in the normalisation."""
    touched = (pl.col("split_a") == "test") | (pl.col("split_b") == "test")
    shared = frame(data, "split_check").filter(touched, pl.col("shared") > 0)
    if shared.height:
        counts = shared.group_by("entity", maintain_order=True).agg(pl.col("shared").sum()).rows()
        parts = joined([counted(n, ENTITIES[entity].removesuffix("s"), ENTITIES[entity]) for entity, n in counts])
        yield Reason("leak", f"the test split shares {parts} with others", "not shown")
    if lookup(data.study.get("config"), "training.normalise") == "per_class":
        yield Reason("label_leak", "the normalisation of every patch used its label", "not shown")


def _guided(found: Evidence, question: Question) -> Iterator[Reason]:
    """Maps that were trained for prove nothing: what was not guided must speak."""
    if not found.guided:
        return
    words = "it was trained on annotations, so the fit of its own maps proves nothing, and "
    if found.methods:
        rest = f"this rests on filled-in and swapped lesions and on {term(found.method, METHODS)}, which was not guided"
        yield Reason("guided", words + rest)
    else:
        cap: Kind = "not shown" if question == "detection" else "partly"
        yield Reason("guided_maps", f"{words}no method that was not guided explained it", cap)


def _chance(found: Evidence) -> Iterator[Reason]:
    """Accuracy must lie above that of always naming the most frequent class."""
    whole = Evidence(found.data, found.run_id, None)
    over = whole.score("class", "accuracy_over_majority", "all")
    if over.sign != "above":
        accuracy, majority = (whole.score("class", name, "all") for name in ("accuracy", "majority"))
        words = within(proportion(accuracy.value, accuracy.low, accuracy.high)) or "unknown"
        most = proportion(majority.value) or "unknown"
        yield Reason("chance", f"accuracy ({words}) is not above that of the largest class ({most})", "not shown")


def _shortcut(found: Evidence, question: Question) -> Iterator[Reason]:
    """Features outside the annotation must tell the two sides apart less well than the network does."""
    own = Evidence(found.data, found.run_id, None).score(question, "auc_intact")
    audit = rows(found.data, "shortcut_audit", question=question, features="surroundings")
    if not audit or audit[0]["high"] is None:
        yield Reason("no_audit", "whether features outside the lesion tell the class was not tested", "partly")
    elif own.value is not None and audit[0]["high"] >= own.value:
        reached = within(Score(audit[0]["auc"], audit[0]["low"], audit[0]["high"]).text)
        words = f"a regression on features outside the lesion does as well as the network (AUC {reached})"
        yield Reason("shortcut", words, "partly")


def _reference(found: Evidence, question: Question) -> Iterator[Reason]:
    """A network must beat a regression on its own first weights; where it does not, that is said."""
    whole = Evidence(found.data, found.run_id, None)
    theirs, over = (whole.score(question, f"auc_{name}", "reference") for name in ("reference", "over_reference"))
    if over.value is None or over.sign == "above":
        return
    compared = "does better than the network" if over.sign == "below" else "does as well as the network"
    words = f"a penalised regression on an earlier block of its first weights {compared} (AUC {within(theirs.text)})"
    yield Reason("reference", words)


def _size(found: Evidence, question: Question) -> Iterator[Reason]:
    """At least 10 patients and 20 lesions, also of those occluded."""
    tested = [found.score(question, "fall" if question == "detection" else "auc_fall")]
    tested += [found.score("localization", "ll", found.method)] if question == "detection" else []
    lesions, patients = min(score.n for score in tested), min(score.patients for score in tested)
    if patients < LEAST_PATIENTS or lesions < LEAST_LESIONS:
        words = f"{counted(lesions, 'lesion', 'lesions')} of {counted(patients, 'patient', 'patients')} are too few"
        yield Reason("few", words, "not shown", silent=True)


def _map_gates(found: Evidence) -> Iterator[Reason]:
    """Every baseline present; a map of more than one cell, that could score above the baselines; hits above chance."""
    missing = [NAMES[name] for name in found.baselines if name not in found.gaps()]
    if missing:
        yield Reason("no_baseline", f"LL was not compared with {joined(missing)}", "not shown")
    headlines = rows(found.data, "table_4_localization", run_id=found.run_id, headline=True)
    sides = [row[name] for row in headlines for name in ("map_rows", "map_cols") if row[name] is not None]
    if sides and min(sides) < LEAST_CELLS:
        words = f"a map of {' × '.join(map(str, sides))} cells can hardly show where it looks"
        yield Reason("coarse", words, "not shown" if min(sides) < 2 else "yes", silent=min(sides) < 2)
    low = [NAMES[name] for name, gap in found.gaps(of="ceiling_over").items() if gap.sign != "above"]
    if low:
        words = f"not even a perfect map on its grid would score above {joined(low)}"
        yield Reason("ceiling", words, "not shown", silent=True)
    located = frame(found.data, "sample_results").filter(pl.col("hit").is_not_null(), correct=True, run_id=found.run_id)
    by_chance = located["mask_fraction"].mean()
    hits = rows(found.data, "hit_rates", run_id=found.run_id, group_name=found.group or "all")
    if found.guided:
        asked = {"method": found.method, "target": "predicted", "population": "correct_lesions", "score": "hit_rate"}
        hits = rows(found.data, "threshold_free_scores", run_id=found.run_id, **asked)
    ends = hits[0] if hits else {"value": None, "low": None}
    if ends["low"] is None or not isinstance(by_chance, float) or ends["low"] <= by_chance:
        rate = proportion(ends["value"]) or "unknown"
        words = f"the maximum of the map lies in the lesion ({rate}) no more often than a random point"
        yield Reason("no_hits", words, "not shown")


def maps(found: Evidence, method: str = "") -> Finding:
    """Maps above what knows nothing of the lesion, then above what knows where lesions usually lie."""
    gaps = found.gaps(method)
    if not gaps:
        return Finding("not shown", "ll", found.score("localization", "ll", method or found.method))
    lowest = sorted(gaps, key=lambda name: gaps[name].low or 0)
    failed = [name for name in lowest if gaps[name].sign != "above"]
    blind = [name for name in failed if name in NULLS]
    worst = (blind or failed or lowest)[0]
    verdict: Kind = "partly" if failed else "yes"
    if blind:
        verdict = "no" if any(gaps[name].sign == "below" for name in blind) else "not shown"
    lower = [name for name in failed if gaps[name].sign == "below"]
    others = [name for name in failed if name not in lower]
    reasons = (
        *_against("below", "its maps fit the lesions less well than", lower),
        *_against("not_above", "its maps do not fit the lesions better than", others),
    )
    return Finding(verdict, f"over_{worst}", gaps[worst], reasons)


def _against(code: str, words: str, names: list[str]) -> list[Reason]:
    """A reason for each baseline; the first one's words name them all."""
    listed = [f"{words} {joined([NAMES[name] for name in names])}", *[""] * len(names)]
    return [Reason(f"{code}_{name}", text) for name, text in zip(names, listed, strict=False)]


def detection(found: Evidence) -> Finding:
    """The maps, and whether the probability of a lesion falls with the lesion filled in."""
    of_maps, fall = maps(found), found.score("detection", "fall")
    used = _used(fall, "probability of a lesion")
    if not used and _used(found.score("detection", "fall_lesion", "texture"), ""):
        used = (Reason("other_filling", "filled with the texture around it, the lesion is still called one", "partly"),)
    if of_maps.verdict == "yes" and used:
        return Finding("partly", "fall", fall, used)
    reasons = (*of_maps.reasons, *used) if of_maps.verdict == "partly" else of_maps.reasons
    return Finding(of_maps.verdict, of_maps.measure, of_maps.number, reasons)


def _used(fall: Score, of: str) -> tuple[Reason, ...]:
    """Why the fall with the lesion filled in does not show that the decision uses it; nothing where it does."""
    if fall.sign is None or fall.value is None:
        return (Reason("no_occlusion", "the lesion was not filled in", "partly"),)
    if fall.sign != "above":
        return (Reason("not_used", f"filling in the lesion does not lower the {of}"),)
    if fall.value < LEAST_EFFECT:
        return (Reason("hardly_used", f"filling in the lesion hardly lowers the {of} (by {number(fall.value, 3)})"),)
    return ()


def diagnosis(found: Evidence) -> Finding:
    """What tells the classes apart: the lesion, by two tests, or what surrounds it, by the same two."""
    intact, fall = found.score("diagnosis", "auc_intact"), found.score("diagnosis", "auc_fall")
    without = found.score("diagnosis", "auc_lesion")
    own, other = (found.score("diagnosis", f"swap_{name}_auc", "swap") for name in ("lesion", "surroundings"))
    if intact.value is None:
        return Finding("not shown", "auc_intact", intact, (Reason("no_diagnosis", "the diagnosis was not tested"),))
    if intact.low is None or intact.low <= 0.5:
        at_chance = Reason("auc_chance", "the AUC of the diagnosis is not above 0.5")
        return Finding("not shown", "auc_intact", intact, (at_chance,))
    filled = fall.low is not None and without.low is not None
    absent = () if filled else (Reason("no_occlusion", "the lesion was not filled in"),)
    if own.low is None or other.low is None:
        absent = (*absent, Reason("no_swap", "lesions were not swapped between patients"))
    if absent:
        return Finding("not shown", "auc_intact", intact, absent)
    against = unused = _used(fall, "AUC of the diagnosis")
    if own.low is not None and own.low <= 0.5:
        words = f"put into another patient's tissue, the lesion is not shown to decide (AUC {within(own.text)})"
        against = (*against, Reason("swap_not_lesion", words))
    around = {
        ("auc_lesion", without): _told("still_told", "with the lesion filled in", without),
        ("swap_surroundings_auc", other): _told("surroundings", "by what surrounds a swapped lesion", other),
    }
    deciding = next((measured for measured, reasons in around.items() if reasons), None)
    reasons = (*against, *(reason for each in around.values() for reason in each))
    if deciding is None:
        textured = found.score("diagnosis", "auc_lesion", "texture")
        still = _told("other_filling", "with the lesion filled with the texture around it", textured)
        verdict: Kind = "not shown" if against else "partly" if still else "yes"
        return Finding(verdict, "auc_fall", fall, (*reasons, *still))
    # a lesion that is missed where it is filled in is not denied because a swap fails to show it
    less = found.score("diagnosis", "swap_difference", "swap").sign == "below"
    return Finding("no" if unused or less else "not shown" if against else "partly", *deciding, reasons)


def _told(code: str, where: str, auc: Score) -> tuple[Reason, ...]:
    """That the classes can be told apart without the lesion, where the interval lies above 0.5."""
    if auc.low is None or auc.low <= 0.5:
        return ()
    return (Reason(code, f"the classes are told apart {where} (AUC {within(auc.text)})"),)
