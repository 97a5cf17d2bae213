"""Who is in a phantom data set."""

from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from lesionlens.config.data import PhantomConfig
from lesionlens.phantom.files import files_of
from lesionlens.phantom.plan import plan, uid


@settings(max_examples=25, deadline=None)
@given(
    train=st.integers(2, 12),
    test=st.integers(1, 6),
    free=st.integers(2, 12),
    seed=st.integers(0, 2**32),
)
def test_counts_are_the_configured_ones(train: int, test: int, free: int, seed: int) -> None:
    cases = plan(PhantomConfig(train_per_class=train, test_per_class=test, callback_free=free, seed=seed))
    patients = Counter((c.split, c.kind, c.pathology) for c in cases if c.view == "CC")
    for kind in ("mass", "calc"):
        for pathology in ("BENIGN", "MALIGNANT"):
            assert patients["train", kind, pathology] == train
            assert patients["test", kind, pathology] == test
    callback_free = Counter(c.split for c in cases if c.view == "CC" and c.pathology == "BENIGN_WITHOUT_CALLBACK")
    assert sum(callback_free.values()) == free
    assert min(callback_free["train"], callback_free["test"]) >= 1
    assert [c.number for c in cases] == list(range(len(cases)))
    assert len({c.name for c in cases}) == len(cases)
    series = [p.path for c in cases for p in files_of(c, seed)]
    assert len(set(series)) == len(series)


def test_every_patient_has_both_views_of_one_side_with_the_same_findings() -> None:
    views = defaultdict(list)
    for case in plan(PhantomConfig()):
        views[case.kind, case.patient].append(case)
    for pair in views.values():
        assert [c.view for c in pair] == ["CC", "MLO"]
        assert pair[0].side == pair[1].side
        assert [f.words for f in pair[0].findings] == [f.words for f in pair[1].findings]
        assert [f.abnormality for f in pair[0].findings] == [f.abnormality for f in pair[1].findings]


def test_some_patients_are_in_both_files_and_some_in_both_parts() -> None:
    cases = plan(PhantomConfig())
    masses = {c.patient: c.split for c in cases if c.kind == "mass"}
    calcs = {c.patient: c.split for c in cases if c.kind == "calc"}
    both = masses.keys() & calcs.keys()
    assert 4 <= len(both) <= 12
    assert any(masses[patient] != calcs[patient] for patient in both)


def test_size_predicts_no_class() -> None:
    sizes = defaultdict(list)
    for case in plan(PhantomConfig(train_per_class=300, test_per_class=100)):
        sizes[case.kind, case.pathology] += [f.size for f in case.findings]
    means = [sum(values) / len(values) for values in sizes.values()]
    assert max(means) / min(means) < 1.08


def test_uids_are_valid_and_follow_the_seed() -> None:
    assert uid(0, "a") == uid(0, "a")
    assert len({uid(0, "a"), uid(0, "b"), uid(1, "a")}) == 3
    assert all(part == "0" or not part.startswith("0") for n in range(200) for part in uid(n, "a").split("."))


def test_margins_come_in_thirds_and_follow_pathology_in_part() -> None:
    config = PhantomConfig(train_per_class=150, test_per_class=50, callback_free=2, margins=True)
    assert {case.kind for case in plan(config)} == {"mass"}
    found = Counter((c.pathology, f.words[1]) for c in plan(config) for f in c.findings)
    margins = Counter[str]()
    for (pathology, word), n in found.items():
        margins[word] += n if pathology != "BENIGN_WITHOUT_CALLBACK" else 0
    del margins["N/A"]
    assert set(margins) == {"CIRCUMSCRIBED", "ILL_DEFINED", "SPICULATED"}
    assert min(margins.values()) > 0.8 * max(margins.values())
    assert found["MALIGNANT", "CIRCUMSCRIBED"] == found["BENIGN", "SPICULATED"] == 0
    assert min(found["BENIGN", "ILL_DEFINED"], found["MALIGNANT", "ILL_DEFINED"]) > 50
