-- The run that gave first weights stands in the configuration of training by its digest.
CREATE VIEW transfer AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    begun.id AS start_run_id, before.study AS start_study, before.ll AS start_ll, before.low AS start_ll_low,
    before.high AS start_ll_high, auc.value AS auc, auc.low AS auc_low, auc.high AS auc_high,
    lift.value AS lift, lift.low AS lift_low, lift.high AS lift_high
FROM study_evaluations AS e
JOIN run ON run.id = e.run_id
JOIN run AS begun ON begun.digest = run.config #>> '{training,start}'
JOIN sample_set AS patches ON patches.id = begun.sample_set_id AND patches.scale = 1
JOIN evaluation ON evaluation.id = e.evaluation_id
JOIN LATERAL (
    SELECT study, ll, low, high FROM table_4_localization
    WHERE run_id = begun.id AND headline ORDER BY study_id DESC LIMIT 1
) AS before ON true
JOIN run_score AS auc ON auc.evaluation_id = e.evaluation_id AND auc.name = 'malignant_auc'
JOIN run_score AS lift
    ON lift.evaluation_id = e.evaluation_id AND lift.name = 'lift' AND lift.target = 'predicted'
    AND lift.method = evaluation.config #>> '{methods,0}' AND lift.population = 'lesions'
    AND lift.group_name = 'malignant';
COMMENT ON VIEW transfer IS
'One row per study and run of films that begins with a run of patches: how well that located, and the AUC and lift of the films'' run';
