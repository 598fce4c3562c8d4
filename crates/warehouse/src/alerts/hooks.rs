//! What the ledger itself says is wrong: looked at in the transaction that wrote it.
//!
//! In: a run, the fetches of a publish, days that are given up or left out. Out: alerts and their messages, committed or rolled back with the
//! publish or the run's last statement. Days that are late or missing belong to the clock (`look`). Of a source's
//! rejects, checks and drift the newest day counts: a backfill of old days neither opens nor closes them.
//! Deliberately absent: who is told.

use std::collections::{BTreeMap, BTreeSet};

use daymark_plan::{AlertEvent, Plan, Rule, SourceId};
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::state::{Condition, Known};
use super::{day_key, lock, open, reason_given_up, settle_conditions};
use crate::error::WarehouseError;

/// The key of a run that failed as a whole.
const RUN: &str = "run";
/// How many entities, paths and rows a reason tells of.
const TOLD: usize = 3;

/// After a publish, before its commit.
pub(crate) async fn published(
    transaction: &Transaction<'_>,
    plan: &Plan,
    run_id: Uuid,
    manifest_keys: &[&str],
    now: Timestamp,
) -> Result<(), WarehouseError> {
    lock(transaction).await?;
    days_of(transaction, Some(plan), run_id, now).await?;
    sources_of(transaction, plan, run_id, manifest_keys, now).await
}

/// When a run is closed in order, before the commit.
pub(crate) async fn run_closed(
    transaction: &Transaction<'_>,
    run_id: Uuid,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    lock(transaction).await?;
    days_of(transaction, None, run_id, now).await?;
    let known = open(transaction, &[RUN.to_owned()], None).await?;
    settle_conditions(transaction, Vec::new(), &known, now).await
}

/// When a run failed as a whole, before the commit.
pub(crate) async fn run_failed(
    transaction: &Transaction<'_>,
    run_id: Uuid,
    reason: &str,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    lock(transaction).await?;
    days_of(transaction, None, run_id, now).await?;
    let known = open(transaction, &[RUN.to_owned()], None).await?;
    let failed = Condition {
        key: RUN.to_owned(),
        event: AlertEvent::RunFailed,
        source_id: None,
        data_date: None,
        amount: None,
        reason: reason.to_owned(),
    };
    settle_conditions(transaction, vec![failed], &known, now).await
}

/// When the schedule gives days up, before the commit.
pub(crate) async fn days_given_up(
    transaction: &Transaction<'_>,
    days: &[(&str, Date)],
    now: Timestamp,
) -> Result<(), WarehouseError> {
    if days.is_empty() {
        return Ok(());
    }
    lock(transaction).await?;
    let (sources, dates): (Vec<&str>, Vec<Date>) = days.iter().copied().unzip();
    let rows = transaction
        .query(
            "select source_id, data_date, reason, dead_because from daymark.retry
             where state = 'dead'
               and (source_id, data_date) in (select * from unnest($1::text[], $2::date[]))
             order by source_id, data_date",
            &[&sources, &dates],
        )
        .await
        .map_err(WarehouseError::statement("reading the days that were given up"))?;
    let found: Vec<Condition> = rows
        .iter()
        .map(|row| {
            let (source_id, date): (String, Date) = (row.get(0), row.get(1));
            Condition {
                key: day_key(&source_id, date),
                event: AlertEvent::GivenUp,
                source_id: Some(source_id),
                data_date: Some(date),
                amount: None,
                reason: reason_given_up(row.get(2), row.get(3)),
            }
        })
        .collect();
    let keys: Vec<String> = found.iter().map(|condition| condition.key.clone()).collect();
    let known = open(transaction, &keys, None).await?;
    settle_conditions(transaction, found, &known, now).await
}

/// When a person leaves a day out, before the commit: nothing is wrong with it any more.
pub(crate) async fn day_left_out(
    transaction: &Transaction<'_>,
    source_id: &SourceId,
    date: Date,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    lock(transaction).await?;
    let known = open(transaction, &[day_key(source_id.as_str(), date)], None).await?;
    settle_conditions(transaction, Vec::new(), &known, now).await
}

/// What an entity's part of a day came to.
struct Part {
    entity: String,
    state: String,
    last_outcome: String,
    reason: String,
}

/// The days that a run touched.
async fn days_of(
    transaction: &Transaction<'_>,
    plan: Option<&Plan>,
    run_id: Uuid,
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let rows = transaction
        .query(
            "select source_id, data_date, entity, state, last_outcome,
                    coalesce(last_reason, reason, '')
             from daymark.day
             where (source_id, data_date) in (select source_id, data_date from daymark.day where run_id = $1)
             order by source_id, data_date, entity",
            &[&run_id],
        )
        .await
        .map_err(WarehouseError::statement("reading the days of a run"))?;
    let mut days: BTreeMap<(String, Date), Vec<Part>> = BTreeMap::new();
    for row in rows {
        days.entry((row.get(0), row.get(1))).or_default().push(Part {
            entity: row.get(2),
            state: row.get(3),
            last_outcome: row.get(4),
            reason: row.get(5),
        });
    }
    let keys: Vec<String> = days.keys().map(|(id, date)| day_key(id, *date)).collect();
    let mut known = open(transaction, &keys, None).await?;
    let given_up = super::given_up(transaction).await?;
    let mut found = Vec::new();
    for (day, parts) in &days {
        let (source_id, date) = day;
        let key = day_key(source_id, *date);
        if let Some((event, reason)) = wrong(parts) {
            let (event, reason) = match (event, given_up.get(day)) {
                (AlertEvent::RunFailed, Some(because)) => {
                    (AlertEvent::GivenUp, reason_given_up(&reason, because))
                }
                _ => (event, reason),
            };
            found.push(Condition {
                key,
                event,
                source_id: Some(source_id.clone()),
                data_date: Some(*date),
                amount: None,
                reason,
            });
        } else if !is_whole(plan, source_id, parts) {
            // What the clock found it has to find gone: an entity may still be missing.
            known.retain(|known| {
                known.key != key || !matches!(known.event, AlertEvent::Late | AlertEvent::Missing)
            });
        }
    }
    settle_conditions(transaction, found, &known, now).await
}

/// Whether every entity of a day is published, as far as the folder is known.
fn is_whole(plan: Option<&Plan>, source_id: &str, parts: &[Part]) -> bool {
    let source = SourceId::new(source_id).and_then(|id| plan?.source(&id));
    let published = parts.iter().filter(|part| part.state == "published").count();
    source.is_some_and(|source| published >= source.entities.rows.len().max(1))
}

/// What is wrong with a day by its last attempts.
fn wrong(parts: &[Part]) -> Option<(AlertEvent, String)> {
    let of = |word: &str| -> Vec<&Part> {
        parts.iter().filter(|part| part.state == word || part.last_outcome == word).collect()
    };
    let said = |part: &Part| {
        let before = if part.state == "published" { "published before; now: " } else { "" };
        format!("{before}{}", part.reason)
    };
    for (word, event) in
        [("failed", AlertEvent::RunFailed), ("quarantined", AlertEvent::Quarantined)]
    {
        let wrong = of(word);
        let Some(first) = wrong.first() else { continue };
        if parts.len() == 1 && first.entity.is_empty() {
            return Some((event, said(first)));
        }
        let told: Vec<String> = wrong
            .iter()
            .take(TOLD)
            .map(|part| format!("{}: {}", part.entity, said(part)))
            .collect();
        let more = wrong.len().saturating_sub(TOLD);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let (count, all) = (wrong.len(), parts.len());
        let reason = format!("{count} of {all} entities: {}{more}", told.join("; "));
        return Some((event, reason));
    }
    None
}

/// What the fetches of a publish say of their sources: rejects, checks that warn, drift.
async fn sources_of(
    transaction: &Transaction<'_>,
    plan: &Plan,
    run_id: Uuid,
    manifest_keys: &[&str],
    now: Timestamp,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("looking at what was published");
    // A response that was refused says nothing of rows.
    let newest = transaction
        .query(
            "select source_id, max(data_date) from daymark.fetch
             where manifest_key = any($1) and state in ('published', 'quarantined') group by source_id",
            &[&manifest_keys],
        )
        .await
        .map_err(&doing)?;
    for row in newest {
        let (source_id, date): (String, Date) = (row.get(0), row.get(1));
        let mut found = Vec::new();
        let mut keys = BTreeSet::new();
        let looked = Looked { transaction, manifest_keys, source_id: &source_id, date };
        looked.rejects(&mut keys, &mut found).await?;
        looked.checks(plan, run_id, &mut keys, &mut found).await?;
        looked.drift(&mut keys, &mut found).await?;
        let keys: Vec<String> = keys.into_iter().collect();
        let mut known = open(transaction, &keys, None).await?;
        // An old day says nothing of a newer one.
        let is_newer = |known: &Known| known.data_date.is_some_and(|of| of > date);
        found.retain(|condition| {
            !known.iter().any(|known| known.key == condition.key && is_newer(known))
        });
        known.retain(|known| !is_newer(known));
        settle_conditions(transaction, found, &known, now).await?;
    }
    Ok(())
}

/// The fetches of a source's day in a publish.
struct Looked<'l> {
    transaction: &'l Transaction<'l>,
    manifest_keys: &'l [&'l str],
    source_id: &'l str,
    date: Date,
}

impl Looked<'_> {
    fn condition(&self, key: String, event: AlertEvent, rows: i64, reason: String) -> Condition {
        Condition {
            key,
            event,
            source_id: Some(self.source_id.to_owned()),
            data_date: Some(self.date),
            amount: Some(rows),
            reason,
        }
    }

    /// Rows set aside, by extraction (which counts more than it keeps) and by checks.
    async fn rejects(
        &self,
        keys: &mut BTreeSet<String>,
        found: &mut Vec<Condition>,
    ) -> Result<(), WarehouseError> {
        let row = self
            .transaction
            .query_one(
                "with fetches as (
                     select fetch_id, rejected from daymark.fetch
                     where manifest_key = any($1) and source_id = $2 and data_date = $3
                       and state in ('published', 'quarantined')
                 ), checked as (
                     select count(*) as rows from daymark.reject join fetches using (fetch_id)
                     where check_name is not null
                 )
                 select coalesce((select sum(rejected) from fetches), 0)::bigint + checked.rows,
                        (select reason from daymark.reject join fetches using (fetch_id)
                         order by reject_id limit 1)
                 from checked",
                &[&self.manifest_keys, &self.source_id, &self.date],
            )
            .await
            .map_err(WarehouseError::statement("counting rejects"))?;
        let (rows, first): (i64, Option<String>) = (row.get(0), row.get(1));
        let key = format!("rejects:{}", self.source_id);
        keys.insert(key.clone());
        if rows > 0 {
            let first = first.map_or_else(String::new, |reason| format!(", the first: {reason}"));
            let reason = format!("{} set aside{first}", counted(rows));
            found.push(self.condition(key, AlertEvent::Rejects, rows, reason));
        }
        Ok(())
    }

    /// What `warn` checks found.
    async fn checks(
        &self,
        plan: &Plan,
        run_id: Uuid,
        keys: &mut BTreeSet<String>,
        found: &mut Vec<Condition>,
    ) -> Result<(), WarehouseError> {
        let rows = self
            .transaction
            .query(
                "select table_name, check_name, sum(failing)::bigint,
                        bool_or(outcome in ('failed', 'error')),
                        max(reason) filter (where outcome = 'error'),
                        (array_agg(sample::text) filter (where sample is not null))[1]
                 from daymark.check_result
                 where run_id = $1 and manifest_key = any($2) and source_id = $3 and data_date = $4
                   and severity = 'warn'
                 group by table_name, check_name order by table_name, check_name",
                &[&run_id, &self.manifest_keys, &self.source_id, &self.date],
            )
            .await
            .map_err(WarehouseError::statement("reading what checks warned of"))?;
        for row in rows {
            let (table, check, failing): (&str, &str, i64) = (row.get(0), row.get(1), row.get(2));
            let (is_wrong, error): (bool, Option<String>) = (row.get(3), row.get(4));
            let key = format!("check:{table}:{check}");
            keys.insert(key.clone());
            if !is_wrong {
                continue;
            }
            let is_volume = plan.models.iter().any(|model| {
                model.table == table
                    && model.checks.iter().any(|other| {
                        other.name == check && matches!(other.rule, Rule::VolumeAnomaly { .. })
                    })
            });
            let event = if is_volume { AlertEvent::VolumeAnomaly } else { AlertEvent::CheckWarned };
            let sample: Option<&str> = row.get(5);
            let usual = sample.filter(|_| is_volume).and_then(usual);
            let reason = match (error, usual) {
                (Some(error), _) => {
                    format!("`{table}`: the check `{check}` could not be asked: {error}")
                }
                (None, Some(usual)) => format!("`{table}`: {usual} (check `{check}`)"),
                (None, None) => {
                    format!("`{table}`: the check `{check}` found {}", counted(failing))
                }
            };
            found.push(self.condition(key, event, failing, reason));
        }
        Ok(())
    }

    /// What became other about the source's responses.
    async fn drift(
        &self,
        keys: &mut BTreeSet<String>,
        found: &mut Vec<Condition>,
    ) -> Result<(), WarehouseError> {
        let doing = WarehouseError::statement("reading what drifted");
        let rows = self
            .transaction
            .query(
                "select kind, path, coalesce(array_to_string(old_types, ' or '), ''),
                        coalesce(array_to_string(new_types, ' or '), '')
                 from daymark.drift
                 where manifest_key = any($1) and source_id = $2 and data_date = $3
                 order by is_mapped desc, drift_id",
                &[&self.manifest_keys, &self.source_id, &self.date],
            )
            .await
            .map_err(&doing)?;
        let key = format!("drift:{}", self.source_id);
        keys.insert(key.clone());
        if rows.is_empty() {
            return Ok(());
        }
        let told: Vec<String> = rows
            .iter()
            .take(TOLD)
            .map(|row| {
                let (kind, path): (&str, &str) = (row.get(0), row.get(1));
                let (old, new): (&str, &str) = (row.get(2), row.get(3));
                match kind {
                    "new" => format!("`{path}` is new ({new})"),
                    "missing" => format!("`{path}` is gone"),
                    _ => format!("`{path}` was {old} and is {new}"),
                }
            })
            .collect();
        let more = rows.len().saturating_sub(TOLD);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let reason = format!("the responses changed: {}{more}", told.join("; "));
        found.push(self.condition(key, AlertEvent::SchemaDrift, count, reason));
        Ok(())
    }
}

/// What a volume check found, out of its one row.
fn usual(sample: &str) -> Option<String> {
    let rows: Value = serde_json::from_str(sample).ok()?;
    let row = rows.get(0)?;
    let (count, median) = (row.get("row_count")?, row.get("median")?);
    Some(format!("the fetch has {count} rows, {median} are usual"))
}

fn counted(rows: i64) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}
