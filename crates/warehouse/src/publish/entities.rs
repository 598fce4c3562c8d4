//! Two entities of one data date that yield the same key: whose row would it be?
//!
//! In: the staged fetches of a source with entities. Out: the fetches that fail, each with the rows it
//! fails for. Of two that are staged together both fail; beside a published one the new one does, for what
//! readers see stays. Deliberately absent: keys that move to another entity on another day; the newest
//! fetch has them.

use std::collections::BTreeMap;

use daymark_plan::{Model, Source};
use tokio_postgres::Transaction;

use super::difference::{self, Beside, Staged};
use super::stage::{staged_table, statements_table};
use super::{Context, Statement};
use crate::error::WarehouseError;
use crate::sql::{list, qualified};

/// How many keys a reason names.
const SHOWN: usize = 3;

/// What comparing the keys of entities found.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// The ordinals of the staged fetches that fail, each with the reason.
    pub(super) failed: BTreeMap<i32, String>,
    /// Where all staged rows were held against the published ones for it: how many of them are there, and
    /// how many of those differ, by table. It need not be found out again.
    pub(super) beside: BTreeMap<String, Beside>,
}

/// Compares the keys of entities.
pub(super) async fn conflicts(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    staged: &[Statement],
) -> Result<Compared, WarehouseError> {
    let doing = WarehouseError::statement("comparing the keys of entities");
    let mut compared = Compared::default();
    if staged.is_empty() {
        return Ok(compared);
    }
    // A day with more than one entity, and one that was published for another entity before: a source whose
    // entities were taken out of the folder has had some.
    let days: Vec<_> = staged.iter().map(|statement| statement.data_date).collect();
    let names: Vec<&str> = staged.iter().map(|statement| statement.entity.as_str()).collect();
    let beside: bool = transaction
        .query_one(
            "select exists (
                 select 1 from unnest($2::date[], $3::text[]) as said (data_date, entity)
                 join daymark.fetch as noted using (data_date)
                 where noted.source_id = $1 and noted.state = 'published'
                   and coalesce(noted.entity, '') <> said.entity)",
            &[&source.id.as_str(), &days, &names],
        )
        .await
        .map_err(&doing)?
        .get(0);
    let several = staged.iter().any(|one| {
        staged.iter().any(|other| one.data_date == other.data_date && one.entity != other.entity)
    });
    for model in context.plan.models_of(&source.id) {
        let mut queries = Vec::new();
        let mut counted = None;
        if several || beside {
            let all = Staged::count(transaction, model, staged.len()).await?;
            // Without it a join of two millions of rows was seen to fill 28 GB of disk.
            let analyse = difference::analyse(model, &all);
            transaction.batch_execute(&analyse).await.map_err(&doing)?;
            counted = Some(all);
        }
        if let Some(counted) = counted.filter(|_| several) {
            // Keys that come once are nobody else's.
            if counted.keys < counted.rows {
                queries.push(among_staged(source, model));
            }
        }
        if let Some(counted) = counted.filter(|_| beside) {
            let query = whose(context, source, model);
            let row = transaction.query_one(&query, &[]).await.map_err(&doing)?;
            if row.get(2) {
                queries.push(beside_published(context, source, model));
            } else if counted.keys == counted.rows {
                let beside = Beside { there: row.get(0), differing: row.get(1) };
                compared.beside.insert(model.table.clone(), beside);
            }
        }
        for query in queries {
            let mut keys: BTreeMap<i32, Vec<String>> = BTreeMap::new();
            for row in transaction.query(&query, &[]).await.map_err(&doing)? {
                let (key, other): (String, String) = (row.get(1), row.get(2));
                keys.entry(row.get(0)).or_default().push(format!("{key} (also of {other})"));
            }
            for (ordinal, keys) in keys {
                let more = match keys.len() {
                    count if count > SHOWN => format!(" and {} more", count - SHOWN),
                    _ => String::new(),
                };
                let shown = keys.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>();
                compared.failed.entry(ordinal).or_insert_with(|| {
                    format!(
                        "{}: two entities yield the same key for one data date: {}{more}; make the \
                         entity part of the key",
                        model.file,
                        shown.join(", "),
                    )
                });
            }
        }
    }
    Ok(compared)
}

/// Staged keys of several entities of a day. Names of our own start with `_`: a key's column may have
/// any other.
fn among_staged(source: &Source, model: &Model) -> String {
    let key = list("", model.key.iter().map(String::as_str));
    let of = |alias: &str| list(alias, model.key.iter().map(String::as_str));
    let keyed = format!("(select {key}, _ordinal from {})", staged_table(model));
    format!(
        "with twice as materialized (
             select {key}, said._data_date as _day
             from {keyed} as staged join {fetches} as said using (_ordinal)
             group by {key}, said._data_date having min(said._entity) <> max(said._entity)
         )
         select mine._ordinal, ({})::text, string_agg(distinct others._entity, ', ')
         from twice join {keyed} as mine using ({key})
         join {fetches} as said on said._ordinal = mine._ordinal and said._data_date = twice._day
         join {keyed} as theirs using ({key})
         join {fetches} as others on others._ordinal = theirs._ordinal
              and others._data_date = twice._day and others._entity <> said._entity
         group by mine._ordinal, {}
         order by 1, 2",
        of("mine."),
        of("mine."),
        fetches = statements_table(source),
    )
}

/// How the staged rows stand to the published ones of their keys, and whether one of those was said for
/// the same day by another entity. Whose a row is is asked once for all rows that two fetches share.
fn whose(context: &Context<'_>, source: &Source, model: &Model) -> String {
    format!(
        "select coalesce(sum(there), 0)::bigint, coalesce(sum(differing), 0)::bigint,
                coalesce(bool_or(noted.data_date = said._data_date and noted.entity <> said._entity), false)
         from (select staged._ordinal, published._fetch_id, count(*) as there,
                      count(*) filter (where {}) as differing
               from {} as staged join {} as published using ({})
               group by staged._ordinal, published._fetch_id) as pairs
         join {} as said using (_ordinal)
         left join daymark.fetch as noted on noted.fetch_id = pairs._fetch_id",
        difference::differs(model),
        staged_table(model),
        qualified(&context.schema, &model.table),
        list("", model.row_key()),
        statements_table(source),
    )
}

/// Staged keys whose published row was said for the same day by another entity.
fn beside_published(context: &Context<'_>, source: &Source, model: &Model) -> String {
    let key = list("staged.", model.key.iter().map(String::as_str));
    let row_key = list("", model.row_key());
    format!(
        "select staged._ordinal, ({key})::text, noted.entity
         from {} as staged join {} as published using ({row_key})
         join {} as said on said._ordinal = staged._ordinal
         join daymark.fetch as noted on noted.fetch_id = published._fetch_id
         where noted.data_date = said._data_date and noted.entity <> said._entity
         order by 1, 2",
        staged_table(model),
        qualified(&context.schema, &model.table),
        statements_table(source),
    )
}
