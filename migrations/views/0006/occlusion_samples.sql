CREATE VIEW occlusion_samples AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    s.sample_id,
    s.patch_key,
    s.patient,
    s.group_name,
    s.true_code,
    s.predicted_code,
    s.correct,
    s.hit,
    s.iou,
    occlusion.probability,
    occlusion.lesion_erased,
    occlusion.control_erased,
    occlusion.probability - occlusion.lesion_erased AS lesion_drop,
    occlusion.probability - occlusion.control_erased AS control_drop,
    occlusion.control_erased - occlusion.lesion_erased AS difference,
    occlusion.reason
FROM study_evaluations AS e
JOIN occlusion ON occlusion.evaluation_id = e.evaluation_id
JOIN sample_results AS s ON s.evaluation_id = e.evaluation_id AND s.sample_id = occlusion.sample_id;
COMMENT ON VIEW occlusion_samples IS
'Erase test, one row per run and lesion patch of the test split';
COMMENT ON COLUMN occlusion_samples.study_id IS 'Number of the study';
COMMENT ON COLUMN occlusion_samples.study IS 'Name of the study';
COMMENT ON COLUMN occlusion_samples.run_id IS 'Number of the run';
COMMENT ON COLUMN occlusion_samples.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN occlusion_samples.backbone IS 'Network';
COMMENT ON COLUMN occlusion_samples.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN occlusion_samples.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN occlusion_samples.sample_id IS 'Number of the patch';
COMMENT ON COLUMN occlusion_samples.patch_key IS 'Name of the patch';
COMMENT ON COLUMN occlusion_samples.patient IS 'Patient';
COMMENT ON COLUMN occlusion_samples.group_name IS 'Label group';
COMMENT ON COLUMN occlusion_samples.true_code IS 'Class';
COMMENT ON COLUMN occlusion_samples.predicted_code IS 'Class predicted for the whole patch';
COMMENT ON COLUMN occlusion_samples.correct IS 'Whether they agree';
COMMENT ON COLUMN occlusion_samples.hit IS 'Whether the headline map''s maximum lies in the mask';
COMMENT ON COLUMN occlusion_samples.iou IS 'IoU of the headline map';
COMMENT ON COLUMN occlusion_samples.probability IS 'Probability of the predicted class, whole patch';
COMMENT ON COLUMN occlusion_samples.lesion_erased IS 'Its probability with the lesion inpainted';
COMMENT ON COLUMN occlusion_samples.control_erased IS 'Its probability with the same shape inpainted beside the lesion';
COMMENT ON COLUMN occlusion_samples.lesion_drop IS 'probability - lesion_erased';
COMMENT ON COLUMN occlusion_samples.control_drop IS 'probability - control_erased';
COMMENT ON COLUMN occlusion_samples.difference IS 'lesion_drop - control_drop';
COMMENT ON COLUMN occlusion_samples.reason IS 'Why control_erased is NULL: no_room';
