CREATE VIEW selected_cells AS
SELECT
    study_id, study, backbone, strategy, batch_size, head_rate, unit1_rate, guidance, count(*) AS seeds,
    avg(selection_loss) AS selection_loss,
    row_number() OVER (
        PARTITION BY study_id
        ORDER BY avg(selection_loss), backbone, strategy, batch_size, head_rate, unit1_rate, guidance
    ) = 1 AS selected
FROM selection_losses
GROUP BY study_id, study, backbone, strategy, batch_size, head_rate, unit1_rate, guidance;
COMMENT ON VIEW selected_cells IS
'Every cell of the grid with the mean validation loss of its seeds; the one with the lowest is the study''s answer';
