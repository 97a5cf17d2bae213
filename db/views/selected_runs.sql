CREATE VIEW selected_runs AS
SELECT DISTINCT ON (study_id, backbone, strategy)
    study_id, study, backbone, strategy, run_id, validation_loss, selection_loss
FROM selection_losses
ORDER BY study_id, backbone, strategy, selection_loss, run_id;
COMMENT ON VIEW selected_runs IS
'The best run per backbone and strategy, chosen by validation loss, never by test accuracy';
