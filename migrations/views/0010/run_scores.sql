CREATE VIEW run_scores AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    score.name AS score,
    score.method,
    score.target,
    score.policy,
    score.population,
    score.group_name,
    score.value,
    score.low,
    score.high,
    score.n,
    score.reason
FROM study_evaluations AS e
JOIN run_score AS score ON score.evaluation_id = e.evaluation_id;
COMMENT ON VIEW run_scores IS 'One row per study, run and score of the whole test split or a population of it';
COMMENT ON COLUMN run_scores.study_id IS 'Number of the study';
COMMENT ON COLUMN run_scores.study IS 'Name of the study';
COMMENT ON COLUMN run_scores.run_id IS 'Number of the run';
COMMENT ON COLUMN run_scores.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN run_scores.backbone IS 'Network';
COMMENT ON COLUMN run_scores.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN run_scores.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN run_scores.score IS 'Which score, for example accuracy, f1_macro or ll';
COMMENT ON COLUMN run_scores.method IS 'How maps were made; NULL for classification scores';
COMMENT ON COLUMN run_scores.target IS 'Class explained: predicted, true, none; NULL for classification scores';
COMMENT ON COLUMN run_scores.policy IS 'How maps were thresholded; NULL where none is';
COMMENT ON COLUMN run_scores.population IS 'Samples counted: all, lesions, correct_lesions';
COMMENT ON COLUMN run_scores.group_name IS 'all, or one label group';
COMMENT ON COLUMN run_scores.value IS 'The score';
COMMENT ON COLUMN run_scores.low IS 'Lower end of the interval';
COMMENT ON COLUMN run_scores.high IS 'Upper end of the interval';
COMMENT ON COLUMN run_scores.n IS 'Samples counted';
COMMENT ON COLUMN run_scores.reason IS 'Why the value is NULL';
