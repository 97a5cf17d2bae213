CREATE VIEW selected_runs AS
SELECT DISTINCT ON (study_id, backbone, strategy, guidance)
    study_id, study, run_id, backbone, strategy, seed, guidance, validation_loss, selection_loss
FROM selection_losses
ORDER BY study_id, backbone, strategy, guidance, selection_loss, run_id;
COMMENT ON VIEW selected_runs IS
'The best run per backbone, strategy and guidance, chosen by validation loss, never by test accuracy';
