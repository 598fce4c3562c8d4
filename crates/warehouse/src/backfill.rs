//! What a backfill has to know of the ledger.
//!
//! In: sources and a range of days. Out: how far each part of each day has come, and how long requests took so
//! far. Deliberately absent: which days are wanted (`backfill` in `daymark`), and the states that depend on the
//! clock (`days`): a backfill asks for what is not there, late or not.

use std::collections::BTreeMap;
use std::time::Duration;

use daymark_plan::{Reached, SourceId};
use jiff::civil::Date;

use crate::error::WarehouseError;
use crate::session::Session;

/// How far a part of a day has come: a source's, or an entity's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// The best outcome reached.
    pub reached: Option<Reached>,
    /// Whether a person gave it up after that.
    pub is_discarded: bool,
}

/// Parts by source, day and entity; `""` is a source without entities, or the whole day.
pub type Parts = BTreeMap<(String, Date), BTreeMap<String, Part>>;

/// How far the days of some sources have come.
pub async fn parts(
    session: &mut Session,
    sources: &[&SourceId],
    from: Date,
    to: Date,
) -> Result<Parts, WarehouseError> {
    let sources: Vec<&str> = sources.iter().map(|source| source.as_str()).collect();
    let rows = session
        .client()
        .query(
            "select source_id, data_date, entity, state,
                    coalesce(skip.kind = 'discarded' and skip.at >= coalesce(day.last_at, skip.at), false)
             from daymark.day full join daymark.skip using (source_id, data_date, entity)
             where source_id = any($1) and data_date between $2 and $3",
            &[&sources, &from, &to],
        )
        .await
        .map_err(WarehouseError::statement("reading the days"))?;
    let mut parts = Parts::new();
    for row in rows {
        let reached = row.get::<_, Option<&str>>(3).map(|state| match state {
            "published" => Reached::Published,
            "quarantined" => Reached::Quarantined,
            "fetched" => Reached::Fetched,
            _ => Reached::Failed,
        });
        let part = Part { reached, is_discarded: row.get(4) };
        parts.entry((row.get(0), row.get(1))).or_default().insert(row.get(2), part);
    }
    Ok(parts)
}

/// How long an answered request of each source took, on average over its newest hundred.
pub async fn request_times(
    session: &mut Session,
    sources: &[&SourceId],
) -> Result<BTreeMap<String, Duration>, WarehouseError> {
    let sources: Vec<&str> = sources.iter().map(|source| source.as_str()).collect();
    let rows = session
        .client()
        .query(
            "select source.id, avg(newest.duration_ms)::float8
             from unnest($1::text[]) as source (id) cross join lateral (
                 select duration_ms from daymark.attempt
                 where source_id = source.id and outcome = 'answered' and duration_ms is not null
                 order by data_date desc limit 100
             ) as newest
             group by source.id",
            &[&sources],
        )
        .await
        .map_err(WarehouseError::statement("reading how long requests took"))?;
    let millis = |ms: f64| Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default();
    Ok(rows.iter().map(|row| (row.get(0), millis(row.get(1)))).collect())
}

/// Has the next publish try the fetches of a range of days again that the database had refused. Gives of how many
/// that is so.
pub async fn try_failed_again(
    session: &mut Session,
    sources: &[&SourceId],
    from: Date,
    to: Date,
) -> Result<u64, WarehouseError> {
    let sources: Vec<&str> = sources.iter().map(|source| source.as_str()).collect();
    session
        .client()
        .execute(
            "update daymark.fetch set code_hash = ''
             where source_id = any($1) and data_date between $2 and $3 and state = 'failed'",
            &[&sources, &from, &to],
        )
        .await
        .map_err(WarehouseError::statement("having fetches tried again"))
}

/// How many fetches of a range of days the database had refused.
pub async fn failed_fetches(
    session: &mut Session,
    source: &SourceId,
    from: Date,
    to: Date,
) -> Result<usize, WarehouseError> {
    let row = session
        .client()
        .query_one(
            "select count(*) from daymark.fetch
             where source_id = $1 and data_date between $2 and $3 and state = 'failed'",
            &[&source.as_str(), &from, &to],
        )
        .await
        .map_err(WarehouseError::statement("counting fetches that failed"))?;
    Ok(usize::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}
