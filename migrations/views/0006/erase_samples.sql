CREATE VIEW erase_samples AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    s.patch_id,
    s.patch_key,
    s.patient,
    s.group_name,
    s.true_code,
    s.predicted_code,
    s.correct,
    s.hit,
    s.iou,
    erasure.probability,
    erasure.lesion_erased,
    erasure.control_erased,
    erasure.probability - erasure.lesion_erased AS lesion_drop,
    erasure.probability - erasure.control_erased AS control_drop,
    erasure.control_erased - erasure.lesion_erased AS difference,
    erasure.reason
FROM study_evaluations AS e
JOIN erasure ON erasure.evaluation_id = e.evaluation_id
JOIN sample_results AS s ON s.evaluation_id = e.evaluation_id AND s.patch_id = erasure.patch_id;
COMMENT ON VIEW erase_samples IS
'Erase test, one row per run and lesion patch of the test part';
COMMENT ON COLUMN erase_samples.study_id IS 'Number of the study';
COMMENT ON COLUMN erase_samples.study IS 'Name of the study';
COMMENT ON COLUMN erase_samples.run_id IS 'Number of the run';
COMMENT ON COLUMN erase_samples.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN erase_samples.backbone IS 'Network';
COMMENT ON COLUMN erase_samples.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN erase_samples.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN erase_samples.patch_id IS 'Number of the patch';
COMMENT ON COLUMN erase_samples.patch_key IS 'Name of the patch';
COMMENT ON COLUMN erase_samples.patient IS 'Patient';
COMMENT ON COLUMN erase_samples.group_name IS 'Label group';
COMMENT ON COLUMN erase_samples.true_code IS 'Class';
COMMENT ON COLUMN erase_samples.predicted_code IS 'Class predicted for the whole patch';
COMMENT ON COLUMN erase_samples.correct IS 'Whether they agree';
COMMENT ON COLUMN erase_samples.hit IS 'Whether the headline map''s maximum lies in the mask';
COMMENT ON COLUMN erase_samples.iou IS 'IoU of the headline map';
COMMENT ON COLUMN erase_samples.probability IS 'Probability of the predicted class, whole patch';
COMMENT ON COLUMN erase_samples.lesion_erased IS 'Its probability with the lesion inpainted';
COMMENT ON COLUMN erase_samples.control_erased IS 'Its probability with the same shape inpainted beside the lesion';
COMMENT ON COLUMN erase_samples.lesion_drop IS 'probability - lesion_erased';
COMMENT ON COLUMN erase_samples.control_drop IS 'probability - control_erased';
COMMENT ON COLUMN erase_samples.difference IS 'lesion_drop - control_drop';
COMMENT ON COLUMN erase_samples.reason IS 'Why control_erased is NULL: no_room';
