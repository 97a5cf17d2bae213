"""Who is in a phantom data set: patients, views, findings and the words that describe them.

A plan is pure arithmetic on the configuration; nothing is drawn here. Word lists and their rough
frequencies follow the case files of CBIS-DDSM.
"""

import hashlib
from dataclasses import dataclass
from typing import get_args

import numpy as np

from lesionlens.config.data import PhantomConfig
from lesionlens.datasets.case_files import Kind, OfficialSplit, Pathology, Side, View, case_name

UID_ROOT = "1.3.6.1.4.1.9590.100.1.2."

# Shape (or calcification type), margins (or distribution), in pairs that occur together.
WORDS: dict[tuple[Kind, Pathology], tuple[tuple[str, str], ...]] = {
    ("mass", "BENIGN"): (
        ("OVAL", "CIRCUMSCRIBED"), ("ROUND", "CIRCUMSCRIBED"), ("LOBULATED", "CIRCUMSCRIBED"), ("OVAL", "OBSCURED"),
        ("LOBULATED", "OBSCURED"),
    ),
    ("mass", "MALIGNANT"): (
        ("IRREGULAR", "SPICULATED"), ("IRREGULAR", "ILL_DEFINED-SPICULATED"),
        ("IRREGULAR-ARCHITECTURAL_DISTORTION", "SPICULATED"),
    ),
    ("mass", "BENIGN_WITHOUT_CALLBACK"): (
        ("LYMPH_NODE", "CIRCUMSCRIBED"), ("ASYMMETRIC_BREAST_TISSUE", "N/A"), ("OVAL", "CIRCUMSCRIBED"),
    ),
    ("calc", "BENIGN"): (
        ("ROUND_AND_REGULAR", "REGIONAL"), ("COARSE", "N/A"), ("ROUND_AND_REGULAR-LUCENT_CENTER", "N/A"),
        ("DYSTROPHIC", "SEGMENTAL"),
    ),
    ("calc", "MALIGNANT"): (
        ("PLEOMORPHIC", "CLUSTERED"), ("FINE_LINEAR_BRANCHING", "LINEAR"),
        ("PLEOMORPHIC-FINE_LINEAR_BRANCHING", "CLUSTERED-LINEAR"),
    ),
    ("calc", "BENIGN_WITHOUT_CALLBACK"): (("VASCULAR", "N/A"), ("LUCENT_CENTER", "N/A"), ("N/A", "REGIONAL")),
}  # fmt: skip
# Where margins are drawn: a third of all masses each, of which two are mostly of one pathology, as in the case files.
MARGIN_WORDS: dict[tuple[Kind, Pathology], tuple[tuple[str, str], ...]] = WORDS | {
    ("mass", "BENIGN"): (("OVAL", "CIRCUMSCRIBED"), ("ROUND", "CIRCUMSCRIBED"), ("OVAL", "ILL_DEFINED")),
    ("mass", "MALIGNANT"): (("IRREGULAR", "SPICULATED"), ("IRREGULAR", "SPICULATED"), ("OVAL", "ILL_DEFINED")),
}
# Assessment (BI-RADS) and subtlety (1 subtle to 5 obvious), each drawn evenly from its tuple.
ASSESSMENT: dict[Pathology, tuple[int, ...]] = {
    "BENIGN": (4, 4, 4, 3, 3, 0),
    "MALIGNANT": (5, 5, 4, 4, 3, 0),
    "BENIGN_WITHOUT_CALLBACK": (2, 2, 2, 3),
}
SUBTLETY = (2, 3, 3, 4, 4, 5, 5)
DENSITY = (1, 2, 2, 2, 3, 3, 3, 4)

# Proportions
TWO_FINDINGS = 0.06  # of patients: two lesions in each image
LATE_IDS = 0.04  # of patients: abnormality ids start at 2
BOTH_FILES = 0.04  # of patients with calcifications: they are also in a mass file, any split
APART: dict[Kind, float] = {"mass": 0.07, "calc": 0.01}  # of lesions: mask and crop have a series each


@dataclass(frozen=True, slots=True)
class Finding:
    """One lesion. `size` is the side of its box as a fraction of the image width."""

    abnormality: int
    words: tuple[str, str]
    assessment: int
    subtlety: int
    size: float
    apart: bool


@dataclass(frozen=True, slots=True)
class Case:
    """One full mammogram and its lesions: consecutive rows of a case file. `number` counts from 0 in the plan."""

    number: int
    split: OfficialSplit
    kind: Kind
    patient: str
    side: Side
    view: View
    density: int
    pathology: Pathology
    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        return case_name(self.kind, self.split, self.patient, self.side, self.view)


def uid(seed: int, *parts: object) -> str:
    """A DICOM UID (at most 64 characters), the same for the same seed and parts."""
    digest = hashlib.sha256("/".join(map(str, (seed, *parts))).encode()).hexdigest()
    return UID_ROOT + str(int(digest, 16))[:39]


def plan(config: PhantomConfig) -> tuple[Case, ...]:
    """Every case of the data set, ordered by split, kind, patient and view."""
    rng = np.random.default_rng([config.seed, 1])
    slots = _slots(config)
    order = rng.permutation(len(slots))
    numbers = {int(slot): f"P_{place + 1:05d}" for place, slot in enumerate(order)}
    sides: list[Side] = ["LEFT" if left else "RIGHT" for left in rng.random(len(slots)) < 0.5]
    for calc, mass in _patients_in_both_files(slots, rng):
        numbers[calc], sides[calc] = numbers[mass], sides[mass]
    drafts = []
    words = MARGIN_WORDS if config.margins else WORDS
    for index, (split, kind, pathology) in enumerate(slots):
        density = int(rng.choice(DENSITY))
        for view, findings in _both_views(kind, words[kind, pathology], ASSESSMENT[pathology], rng):
            drafts.append((split, kind, numbers[index], sides[index], view, density, pathology, findings))
    drafts.sort(key=lambda d: (d[0] == "test", d[1] != "mass", d[2], d[4]))
    cases = tuple(Case(number, *draft) for number, draft in enumerate(drafts))
    return tuple(case for case in cases if case.kind == "mass") if config.margins else cases


def _slots(config: PhantomConfig) -> list[tuple[OfficialSplit, Kind, Pathology]]:
    """One entry per patient."""
    slots: list[tuple[OfficialSplit, Kind, Pathology]] = []
    kinds: tuple[Kind, ...] = get_args(Kind)
    pathologies: tuple[Pathology, ...] = ("BENIGN", "MALIGNANT")
    for kind in kinds:
        for pathology in pathologies:
            slots += [("train", kind, pathology)] * config.train_per_class
            slots += [("test", kind, pathology)] * config.test_per_class
    proportion = config.train_per_class / (config.train_per_class + config.test_per_class)
    in_train = min(max(round(config.callback_free * proportion), 1), config.callback_free - 1)
    for n in range(config.callback_free):
        slots.append(("train" if n < in_train else "test", kinds[n % 2], "BENIGN_WITHOUT_CALLBACK"))
    return slots


def _patients_in_both_files(
    slots: list[tuple[OfficialSplit, Kind, Pathology]], rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Pairs (calcification slot, mass slot) that are one patient, as for 79 patients of CBIS-DDSM."""
    masses = [i for i, slot in enumerate(slots) if slot[1] == "mass"]
    calcs = [i for i, slot in enumerate(slots) if slot[1] == "calc"]
    count = min(round(BOTH_FILES * len(calcs)), len(masses))
    chosen = rng.permutation(calcs)[:count]
    partners = rng.permutation(masses)[:count]
    return [(int(c), int(m)) for c, m in zip(chosen, partners, strict=True)]


def _both_views(
    kind: Kind, named: tuple[tuple[str, str], ...], assessments: tuple[int, ...], rng: np.random.Generator
) -> list[tuple[View, tuple[Finding, ...]]]:
    """The same findings seen in CC and MLO; size and file layout differ between the views."""
    first = 2 if rng.random() < LATE_IDS else 1
    count = 2 if rng.random() < TWO_FINDINGS else 1
    traits = []
    for n in range(count):
        words = named[int(rng.integers(len(named)))]
        assessment, subtlety = int(rng.choice(assessments)), int(rng.choice(SUBTLETY))
        # Sizes come from one distribution for every class, so that size alone predicts nothing.
        traits.append((first + n, words, assessment, subtlety, float(np.exp(rng.uniform(np.log(0.075), np.log(0.15))))))

    def seen(n: int, words: tuple[str, str], assessment: int, subtlety: int, size: float) -> Finding:
        size *= float(rng.uniform(0.9, 1.1))
        return Finding(n, words, assessment, subtlety, size, bool(rng.random() < APART[kind]))

    views: tuple[View, ...] = get_args(View)
    return [(view, tuple(seen(*trait) for trait in traits)) for view in views]
