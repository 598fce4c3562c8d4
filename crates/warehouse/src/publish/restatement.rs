//! Restatements: what a source changed of what readers had been shown as final.
//!
//! In: the difference of a table, before it is written. Out: rows of `daymark.restatement`. It is a log
//! of what readers saw change, in the order of publishes, and no function of the raw store.
//! Deliberately absent: rows that were not final (`settled`), and reading it (`crate::restatements`).

use daymark_plan::{Model, Source};
use tokio_postgres::Transaction;

use super::Context;
use super::stage::{statements_table, temporary};
use crate::error::WarehouseError;
use crate::sql::{ident, list, literal, qualified, same};

/// Records what the difference of a table changes, deletes and brings back. Whether it changes anything is
/// known; a model that deletes has more to tell.
pub(super) async fn record(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    model: &Model,
    updates: bool,
) -> Result<(), WarehouseError> {
    if !updates && !model.write.deletes() {
        return Ok(());
    }
    let doing = WarehouseError::statement("recording restatements");
    let table = qualified(&context.schema, &model.table);
    let name = literal(&model.table);
    let key = list("", model.row_key());
    let newest = temporary("newest", model);
    let fetches = statements_table(source);
    let key_of = |alias: &str| {
        let parts: Vec<String> = model
            .row_key()
            .map(|name| format!("{}, {alias}.{}", literal(name), ident(name)))
            .collect();
        format!("jsonb_build_object({})", parts.join(", "))
    };
    let row_of = |alias: &str| {
        let columns =
            list(&format!("{alias}."), model.columns.iter().map(|column| column.name.as_str()));
        format!("(select to_jsonb(image.*) from (select {columns}) as image)")
    };
    let settled = if model.settled.is_some() { " and published._settled" } else { "" };
    let values: Vec<String> = model
        .columns
        .iter()
        .filter(|column| !model.key.contains(&column.name))
        .map(|column| {
            let quoted = ident(&column.name);
            format!(
                "({}, to_jsonb(published.{quoted}), to_jsonb(newest.{quoted}))",
                literal(&column.name)
            )
        })
        .collect();
    let columns = "publish_id, table_name, key, kind, column_name, old_value, new_value, \
                   old_manifest, new_manifest";
    if updates && !values.is_empty() {
        let changed = format!(
            "insert into daymark.restatement ({columns})
             select $1, {name}, {}, 'changed', value.name, value.old, value.new,
                    noted.manifest_key, said._manifest_key
             from {newest} as newest join {table} as published using ({key})
             cross join lateral (values {}) as value (name, old, new)
             left join daymark.fetch as noted on noted.fetch_id = published._fetch_id
             join {fetches} as said on said._ordinal = newest._ordinal
             where not newest._is_new and value.old is distinct from value.new{settled}
             order by {}, value.name",
            key_of("published"),
            values.join(", "),
            list("published.", model.row_key()),
        );
        transaction.execute(&changed, &[&context.publish_id]).await.map_err(&doing)?;
    }
    if !model.write.deletes() {
        return Ok(());
    }
    let deleted = format!(
        "insert into daymark.restatement ({columns})
         select $1, {name}, {}, 'deleted', null, {}, null, noted.manifest_key, said._manifest_key
         from {} as gone join {table} as published using ({key})
         left join daymark.fetch as noted on noted.fetch_id = published._fetch_id
         join {fetches} as said on said._ordinal = gone._ordinal
         where true{settled}
         order by {}",
        key_of("published"),
        row_of("published"),
        temporary("gone", model),
        list("published.", model.row_key()),
    );
    transaction.execute(&deleted, &[&context.publish_id]).await.map_err(&doing)?;
    // What comes back was deleted before: the last word on its row as a whole says so.
    let returned = format!(
        "insert into daymark.restatement ({columns})
         select $1, {name}, last.key, 'returned', null, null, {}, last.new_manifest, said._manifest_key
         from (select distinct on (key) key, kind, new_manifest from daymark.restatement
               where table_name = {name} and kind <> 'changed'
               order by key, restatement_id desc) as last
         join {newest} as newest on {} = last.key
         join {fetches} as said on said._ordinal = newest._ordinal
         where last.kind = 'deleted' and {}
         order by last.key",
        row_of("newest"),
        key_of("newest"),
        if model.settled.is_some() {
            // One that came back before it was final returns when it is.
            format!(
                "newest._settled and (newest._is_new or not (\
                 select published._settled from {table} as published where {}))",
                same(model.row_key(), "published", "newest")
            )
        } else {
            "newest._is_new".to_owned()
        },
    );
    transaction.execute(&returned, &[&context.publish_id]).await.map_err(&doing)?;
    Ok(())
}
