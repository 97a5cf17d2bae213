"""Tables of the data: exclusions, leaks, normalisation, runs."""

import polars as pl

from lesionlens.reporting.tables import data as tables


def test_exclusions_by_reason_and_those_of_files_one_by_one(data, changed):
    assert tables.exclusions(data).frame.select("reason", "lesions", "images").rows() == [
        ("overwritten", 12, 0),
        ("mask_missing", 3, 0),
        ("same_pixels", 0, 2),
    ]
    many = pl.concat([data.frames["exclusions"]] * (tables.LISTED + 1))
    ruled = many.with_columns(reason=pl.lit("overwritten"))
    table = tables.exclusion_list(changed(data, exclusions=pl.concat([ruled, many])))
    assert len(table) == tables.LISTED and set(table.frame["reason"]) == {"mask_missing"} and len(table.notes) == 1


def test_leaks_are_marked_and_those_of_the_official_splits_noted(data, changed):
    assert tables.leaks(data).notes == ()
    touched = (pl.col("entity") == "patient") & (pl.col("split_b") == "test") & (pl.col("split_a") == "train")
    official = data.frames["official_overlap"].with_columns(shared=pl.Series([31, 29]))
    table = tables.leaks(
        changed(data, split_check={"shared": pl.when(touched).then(5).otherwise(0)}, official_overlap=official)
    )
    assert table.frame.select("split_a", "split_b", "patient", "image", "lesion").rows() == [
        ("train", "validation", 0, 0, 0),
        ("train", "test", 5, 0, 0),
        ("validation", "test", 0, 0, 0),
    ]
    assert [[cell.mark for cell in row.cells[1:]] for row in table.rows] == [[""] * 4, ["alarm", "", "", ""], [""] * 4]
    assert "31 patients" in table.notes[0] and "29 images" in table.notes[0]


def test_what_the_record_lacks_is_said_in_the_checklist(data):
    table = tables.checklist(data)
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["Where the data come from", "demo, layout phantom", "7", "5a"],
        ["Prospective or retrospective", "not recorded", "5", ""],
    ]


def test_statistics_of_all_classes_and_of_each(data):
    assert tables.normalisation(data).frame.select("name", "mean").rows() == [
        ("all classes", 0.41),
        ("background", 0.3),
    ]


def test_every_run_has_its_state_and_times(data, changed):
    failed = {"status": pl.lit("failed"), "reason": pl.lit("loss is not finite")}
    row, *_ = tables.runs(changed(data, runs=failed)).rows
    assert [cell.text for cell in row.cells[1:7]] == ["failed", "cpu", "12", "48 s", "12 s", "0"]
    assert row.cells[1].lines == ("loss is not finite",) and row.series == 0
