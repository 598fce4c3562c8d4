//! Two entities of one data date that yield the same key: whose row would it be?
//!
//! In: the staged fetches of a source with entities. Out: the fetches that fail, each with the rows it
//! fails for. Of two that are staged together both fail; beside a published one the new one does, for what
//! readers see stays. Deliberately absent: keys that move to another entity on another day; the newest
//! fetch has them.

use std::collections::BTreeMap;

use daymark_plan::{Model, Source};
use tokio_postgres::Transaction;

use super::stage::{staged_table, statements_table};
use super::{Context, Statement};
use crate::error::WarehouseError;
use crate::sql::{list, qualified};

/// How many keys a reason names.
const SHOWN: usize = 3;

/// The ordinals of the staged fetches that fail, each with the reason.
pub(super) async fn conflicts(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    staged: &[Statement],
) -> Result<BTreeMap<i32, String>, WarehouseError> {
    let doing = WarehouseError::statement("comparing the keys of entities");
    let mut failed = BTreeMap::new();
    if staged.iter().all(|statement| statement.entity.is_empty()) {
        return Ok(failed);
    }
    // A day with more than one entity, and one that was published for another entity before.
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
        if several {
            queries.push(among_staged(source, model));
        }
        if beside {
            queries.push(beside_published(context, source, model));
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
                failed.entry(ordinal).or_insert_with(|| {
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
    Ok(failed)
}

/// Staged keys of several entities of a day. Names of our own start with `_`: a key's column may have
/// any other.
fn among_staged(source: &Source, model: &Model) -> String {
    let key = list("", model.key.iter().map(String::as_str));
    let fetches = statements_table(source);
    format!(
        "with twice as (
             select {key}, _data_date as _day, array_agg(distinct said._entity) as _entities
             from (select {key}, _ordinal from {staged}) as staged join {fetches} as said using (_ordinal)
             group by {key}, said._data_date having count(distinct said._entity) > 1
         )
         select distinct staged._ordinal, ({key})::text,
                array_to_string(array_remove(twice._entities, said._entity), ', ')
         from twice join (select {key}, _ordinal from {staged}) as staged using ({key})
         join {fetches} as said on said._ordinal = staged._ordinal and said._data_date = twice._day
         order by 1, 2",
        staged = staged_table(model),
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
