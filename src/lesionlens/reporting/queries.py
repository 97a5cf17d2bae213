"""The SQL that gives a table's numbers from the record: shown to be copied, never run here."""

from lesionlens.records import ReportData

QUERIES = {
    "table_1": """\
select label, train, validation, train_and_validation, test
from table_1_patches where study_id = {study} order by ordinal""",
    "table_2": """\
select backbone, strategy, batch_size, accuracy, low, high, n, best_epoch, epochs, validation_loss
from table_2_accuracy where study_id = {study} order by run_id""",
    "table_3": """\
select backbone, strategy, code, auc, auc_hard
from table_3_auc where study_id = {study} order by run_id, ordinal""",
    "table_4": """\
select backbone, strategy, ll, low, high, n, accuracy, accuracy_x_ll,
       whole_patch, centred_disc, mean_mask, random_weights
from table_4_localization where study_id = {study} and headline order by run_id""",
    "confusion": """\
select backbone, strategy, true_code, predicted_code, count, row_fraction
from confusion_matrix join run on run.id = run_id
where study_id = {study} order by run_id, true_ordinal, predicted_ordinal""",
    "samples": """\
select patch_key, backbone, strategy, true_code, predicted_code, confidence, iou, whole_patch_iou
from sample_results where run_id in (select run_id from study_run where study_id = {study})
order by patch_key, run_id""",
    "binary": """\
select backbone, strategy, side, score, value, low, high, n
from binary_scores where study_id = {study} order by run_id, side, score""",
    "quadrants": """\
select backbone, strategy, code, correct, located, n, lesions, share, patch_ids
from quadrants where study_id = {study} order by run_id, ordinal, correct desc, located desc""",
    "erase": """\
select backbone, strategy, group_name, n, lesion_drop, control_drop, difference, difference_low, difference_high
from erase_test where study_id = {study} and population = 'correct_lesions' order by run_id, group_name""",
    "shortcuts": """\
select features, accuracy, low, high, highest_model_accuracy
from shortcut_audit where study_id = {study} order by accuracy""",
    "strata": """\
select backbone, strategy, stratum, level, name, value, low, high, n, whole_patch, centred_disc, random_weights
from stratum_scores where study_id = {study} and population in ('all', 'correct_lesions')
order by run_id, stratum, level, name""",
}


def query(name: str, data: ReportData) -> str:
    """The query of that name for this study."""
    return QUERIES[name].format(study=int(data.study["id"])) + ";"
