"""What tables refuse."""

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

BAD = {
    "ck_prediction_total.*{}": "UPDATE prediction SET probabilities = '{}'",
    "ck_prediction_range.*NULL": "UPDATE prediction SET probabilities = '{0.5,0.5,NULL}'",
    "ck_prediction_total": "UPDATE prediction SET probabilities = '{0.5,0.1,0.1}'",
    "ck_prediction_range": "UPDATE prediction SET probabilities = '{1.5,-0.5,0}'",
    "ck_activation_map_grid_finite.*NULL": "UPDATE activation_map SET grid = '{1,2,3,NULL}' WHERE grid IS NOT NULL",
    "ck_activation_map_iou_curve.*NULL": "UPDATE activation_map SET iou_curve = '{0.5,NULL}'",
    "ck_activation_map_null_has_reason": "UPDATE activation_map SET iou_curve = NULL WHERE reason IS NULL",
    "ck_activation_map_grid_shape": "UPDATE activation_map SET rows = 3 WHERE grid IS NOT NULL",
    "ck_activation_map_grid_finite": "UPDATE activation_map SET grid = '{1,2,3,NaN}' WHERE grid IS NOT NULL",
    "ck_comparison_value_a": "UPDATE comparison SET value_a = 'NaN'",
    "ck_comparison_high": "UPDATE comparison SET low = 'NaN', high = 'NaN'",
    "ck_comparison_interval": "UPDATE comparison SET low = high + 0.1",
    "ck_epoch_counts": "UPDATE epoch SET seconds = 'NaN'",
    "ck_epoch_train_loss": "UPDATE epoch SET train_loss = 'NaN'",
    "ck_run_rates": "UPDATE run SET head_rate = 'NaN'",
    "ck_run_status": "UPDATE run SET status = 'lost', finished_at = NULL",
    "ck_run_reason": "UPDATE run SET status = 'failed'",
    "ck_run_score_value": "UPDATE run_score SET value = 'NaN'",
    "ck_run_score_sign": "UPDATE run_score SET low = -0.1 WHERE name = 'accuracy'",
    "ck_localization_iou": "UPDATE localization SET iou = 1.5",
    "ck_localization_null_has_reason": "UPDATE localization SET iou = NULL, reason = NULL",
    "ck_sample_window": "UPDATE sample SET window_x1 = window_x0",
    "leaves image .* of 300 x 500": "UPDATE sample SET window_y1 = 501",
    "sample .* leaves image": "UPDATE sample SET lesion_x1 = 301 WHERE lesion_id IS NOT NULL",
    "does not hold sample": "UPDATE image SET width = 109",
    "ck_image_size": "UPDATE image SET height = 0",
    "ck_image_whole_size": "UPDATE image SET height = NULL",
    "ck_sample_mask_fraction": "UPDATE sample SET mask_fraction = 1.01 WHERE mask_fraction IS NOT NULL",
    "ck_sample_lesion_has_mask": "UPDATE sample SET mask = NULL WHERE lesion_id IS NOT NULL",
    "ck_sample_split": "UPDATE sample SET split = 'holdout'",
    "ck_checkpoint_sha256": "UPDATE checkpoint SET sha256 = 'short'",
    "fk_prediction_sample_id_sample": "UPDATE prediction SET sample_id = -sample_id",
    "ck_mark_box": "UPDATE mark SET x1 = x0 - 1",
    "ck_mark_score": "UPDATE mark SET score = 'NaN'",
    "ck_detection_score_sign": "UPDATE detection_score SET low = -0.1",
    "ck_epoch_validated": "UPDATE epoch SET validation_froc = 0.5",
    "uq_run_digest": "UPDATE run SET digest = 'same'",
    "uq_run_score_identity": "INSERT INTO run_score (evaluation_id, name, population, group_name, value, n)"
    " SELECT evaluation_id, name, population, group_name, value, n FROM run_score WHERE name = 'accuracy'",
}  # fmt: skip


@pytest.mark.parametrize("constraint", BAD)
def test_the_record_refuses_bad_rows(connection: Connection, constraint: str) -> None:
    with pytest.raises(IntegrityError, match=f"(?s){constraint}"):
        connection.execute(text(BAD[constraint]))
