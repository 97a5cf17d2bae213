"""The SQL that gives a table's numbers from the record: shown to be copied, never run here."""

from collections.abc import Sequence

from lesionlens.records import ReportData

QUERIES = {
    "table_1": """\
select label, train, validation, train_and_validation, test
from table_1_patches where study_id = {study} order by ordinal""",
    "table_2": """\
select backbone, strategy, batch_size, accuracy, low, high, n, best_epoch, epochs, validation_loss
from table_2_accuracy where study_id = {study} order by run_id""",
    "table_3": """\
select backbone, strategy, code, auc, auc_low, auc_high, auc_hard, auc_hard_low, auc_hard_high
from table_3_auc where study_id = {study} order by run_id, ordinal""",
    "table_4": """\
select backbone, strategy, ll, low, high, n, accuracy, accuracy_low, accuracy_high,
       accuracy_x_ll, accuracy_x_ll_low, accuracy_x_ll_high, whole_patch, centred_disc, mean_mask, random_weights
from table_4_localization where study_id = {study} and headline order by run_id""",
    "confusion": """\
select backbone, strategy, true_code, predicted_code, count, row_fraction, low, high
from confusion_matrix join runs using (study_id, run_id)
where study_id = {study} order by run_id, true_ordinal, predicted_ordinal""",
    "samples": """\
select sample_key, backbone, strategy, true_code, predicted_code, confidence, iou, whole_patch_iou
from sample_results where evaluation_id in (select evaluation_id from study_evaluations where study_id = {study})
order by sample_key, run_id""",
    "binary": """\
select backbone, strategy, side, score, value, low, high, n
from binary_scores where study_id = {study} order by run_id, side, score""",
    "quadrants": """\
select backbone, strategy, code, correct, located, n, lesions, proportion, low, high, sample_ids
from quadrants where study_id = {study} order by run_id, ordinal, correct desc, located desc""",
    "erase": """\
select backbone, strategy, group_name, n, lesion_drop, control_drop, difference, difference_low, difference_high
from occlusion_test where study_id = {study} and population = 'correct_lesions' order by run_id, group_name""",
    "shortcuts": """\
select features, s.accuracy, s.low, s.high, s.n,
       min(t.accuracy) as weakest_network, max(t.accuracy) as strongest_network
from shortcut_audit as s
left join (table_2_accuracy as t join selected_runs as r on r.study_id = t.study_id and r.run_id = t.run_id)
  on t.study_id = s.study_id
where s.study_id = {study} group by features, s.accuracy, s.low, s.high, s.n order by s.accuracy""",
    "subgroups": """\
select backbone, strategy, subgroup, level, name, value, low, high, n, whole_patch, whole_patch_low, whole_patch_high,
       centred_disc, centred_disc_low, centred_disc_high, mean_mask, mean_mask_low, mean_mask_high,
       random_weights, random_weights_low, random_weights_high
from subgroup_scores where study_id = {study} and population in ('all', 'correct_lesions')
order by run_id, subgroup, level, name""",
    "baselines": """\
select d.backbone, d.strategy, ll, l.low, l.high, l.n, baseline,
       case baseline when 'whole_patch' then whole_patch when 'centred_disc' then centred_disc
                     when 'mean_mask' then mean_mask else random_weights end as of_baseline,
       d.difference, d.low as difference_low, d.high as difference_high
from table_4_localization as l join baseline_differences as d using (study_id, run_id, method, target, policy)
where study_id = {study} and l.headline and population = 'correct_lesions' and group_name = 'all'
order by run_id, baseline""",
    "populations": """\
select backbone, strategy, population, ll, low, high, n
from localization_scores
where study_id = {study} and headline and group_name = 'all' order by run_id, population""",
    "selection": """\
select backbone, strategy, batch_size, unit1_rate, seed, t.validation_loss, accuracy, low, high,
       exists (select from selected_runs as s where s.study_id = t.study_id and s.run_id = t.run_id) as chosen
from table_2_accuracy as t where study_id = {study} order by backbone, strategy, validation_loss""",
    "groups": """\
select l.backbone, l.strategy, group_name, l.n, ll, l.low, l.high,
       baseline, case baseline when 'whole_patch' then whole_patch when 'centred_disc' then centred_disc
                               when 'mean_mask' then mean_mask else random_weights end as of_baseline,
       d.difference, d.low as difference_low, d.high as difference_high
from localization_scores as l
left join baseline_differences as d using (study_id, run_id, method, target, policy, population, group_name)
where study_id = {study} and l.headline and population = 'correct_lesions' and group_name <> 'all'
order by run_id, group_name, baseline""",
    "variants": """\
select backbone, strategy, method, target, policy, headline, ll, low, high, n
from table_4_localization where study_id = {study}
order by run_id, headline desc, method, target, policy""",
    "other_scores": """\
select backbone, strategy, method, score, value, low, high, n
from run_scores
where study_id = {study} and score in ('hit_rate', 'energy', 'rank_accuracy', 'pixel_ap')
  and population = 'correct_lesions' and group_name = 'all'
  and (target = 'predicted' and method in ('random_weights',
       (select config #>> '{{evaluation,methods,0}}' from studies where studies.study_id = {study}))
       or method = 'centred_disc')
order by run_id, method, score""",
    "classes": """\
select run_id, backbone, strategy, code, precision, precision_low, precision_high, recall, recall_low, recall_high,
       f1, f1_low, f1_high, support
from class_scores where study_id = {study}
union all
select run_id, backbone, strategy, kind || ' average',
       max(value) filter (where score = kind || '_precision'), max(low) filter (where score = kind || '_precision'),
       max(high) filter (where score = kind || '_precision'), max(value) filter (where score = kind || '_recall'),
       max(low) filter (where score = kind || '_recall'), max(high) filter (where score = kind || '_recall'),
       max(value) filter (where score = kind || '_f1'), max(low) filter (where score = kind || '_f1'),
       max(high) filter (where score = kind || '_f1'), null
from run_scores cross join (values ('macro'), ('weighted')) as a (kind)
where study_id = {study} and group_name = 'all'
group by run_id, backbone, strategy, kind
order by run_id, support nulls last, code""",
    "comparisons": """\
select run_a, run_b as minus_run_b, score, difference, low, high, p_holm, n
from model_comparisons where study_id = {study} order by run_a, run_b, score""",
    "seeds": """\
select backbone, strategy, batch_size, head_rate, unit1_rate, name, method, policy, seeds, mean, lowest, highest
from seed_spread
where study_id = {study} and seeds > 1 and group_name = 'all'
  and (name = 'accuracy' and population = 'all'
       or name = 'll' and population = 'correct_lesions' and target = 'predicted')
order by backbone, strategy, batch_size, name""",
    "exclusions": """\
select reason, lesions from exclusion_reasons where study_id = {study} order by lesions desc, reason""",
    "exclusion_list": """\
select image_key, lesion_key, reason, detail
from exclusions where study_id = {study} order by reason, image_key, lesion_key""",
    "normalisation": """\
select code, mean, std from input_statistics where study_id = {study} order by code nulls first""",
    "leaks": """\
select split_a, split_b, unit, shared, passed from leak_checks where study_id = {study}
order by unit, split_a, split_b""",
    "runs": """\
select backbone, strategy, batch_size, unit1_rate, seed, status, reason, device, digest, epochs,
       finished_at - started_at as training, evaluation_seconds
from runs where study_id = {study} order by run_id""",
}

# of several studies on one page
COMPARED = {
    "models": """\
select study, run_id, t.backbone, t.strategy, t.accuracy, t.low, t.high, t.n, l.ll, l.low as ll_low, l.high as ll_high,
       whole_patch, centred_disc, mean_mask, random_weights, difference, difference_low, difference_high
from table_2_accuracy as t
left join (select * from table_4_localization where headline) as l using (study_id, study, run_id)
left join (select * from occlusion_test where population = 'correct_lesions' and group_name = 'all') as e
     using (study_id, study, run_id)
where study_id in ({studies}) order by study_id, run_id""",
    "options": """\
select study_id, study, jsonb_pretty(config) as config from studies where study_id in ({studies}) order by study_id""",
    "patches": """\
select study_id, study, sum(train) as train, sum(validation) as validation, sum(test) as test,
       (select sum(shared) from leak_checks as c where c.study_id = t.study_id and unit = 'patient') as shared_patients,
       (select sum(lesions) from exclusion_reasons as x where x.study_id = t.study_id) as left_out
from table_1_patches as t where study_id in ({studies}) group by study_id, study order by study_id""",
    "origins": """\
select study_id, study, created_at, config -> 'seed' as seed, digest, dataset_digest, sample_set_digest, versions
from studies where study_id in ({studies}) order by study_id""",
    "samples": """\
select study_id, study, s.sample_key, s.backbone, s.strategy, s.true_code, s.predicted_code, s.confidence, s.iou
from study_evaluations as e join sample_results as s using (evaluation_id)
where study_id in ({studies}) order by s.sample_key, study_id, s.run_id""",
}


def compared(name: str, studies: Sequence[ReportData]) -> str:
    """The query of that name over these studies."""
    numbers = dict.fromkeys(int(data.study["id"]) for data in studies)
    return COMPARED[name].format(studies=", ".join(map(str, numbers))) + ";"


def query(name: str, data: ReportData) -> str:
    """The query of that name for this study."""
    return QUERIES[name].format(study=int(data.study["id"])) + ";"
