//! Histories: all that a source ever said of a key, for models with `history = true`.
//!
//! In: the staged rows of a publish and what the fetches cover. Out: rows of `<table>_history`: one for
//! each fetch, in the order of the fetches, that said something else of a key than the one before it,
//! or that covered the key and lacked it (`_present = false`). It is a function of the fetches: whenever
//! a fetch comes late, everything from it on is said again (`publish::write` stages the newer
//! ones), so what stands from the oldest staged fetch on is made anew. Deliberately absent: reading it.

use daymark_plan::{Model, Source, Supersede, Write};
use tokio_postgres::Transaction;

use super::Context;
use super::difference::{covers, differs_between};
use super::stage::{covers_table, staged_table, statements_table};
use crate::contract::extra_columns;
use crate::error::WarehouseError;
use crate::sql::{ident, list, qualified, same};

/// The columns of a history, behind an alias, by which its rows are in the order of their fetches.
pub(crate) fn order_columns(supersede: Supersede, alias: &str) -> String {
    match supersede {
        Supersede::FetchedAt => format!("{alias}_manifest_key"),
        Supersede::DataDate => format!("{alias}_data_date, {alias}_manifest_key"),
    }
}

/// Writes the history of one table.
pub(super) async fn write(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    model: &Model,
    reapplied: bool,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("writing a history");
    let history = qualified(&context.schema, &model.history_table());
    let name = ident(&format!("events_{}", model.table));
    let events = format!("pg_temp.{name}");
    let staged = staged_table(model);
    let key = list("", model.row_key());
    let values: Vec<&str> = {
        let own = model.columns.iter().map(|column| column.name.as_str());
        let extra = extra_columns(model).into_iter().map(|(name, _)| name);
        // The data date of `append` is a column of every history.
        own.chain(extra.filter(|name| *name != "_data_date")).collect()
    };
    let columns = list("", values.iter().copied());
    let order = order_columns(source.supersede, "history.");
    let descending = order.split(", ").map(|part| format!("{part} desc")).collect::<Vec<_>>();
    let cut = format!(
        "select {} from {} as cut order by _ordinal limit 1",
        order_columns(source.supersede, "cut."),
        statements_table(source),
    );
    // What was said last before the oldest staged fetch.
    let only_staged = if model.write.deletes() {
        String::new()
    } else {
        let same = same(model.row_key(), "staged", "history");
        format!(" and exists (select 1 from {staged} as staged where {same})")
    };
    let base = format!(
        "select distinct on ({key}) {columns}, -1 as _ordinal, _present, _manifest_key, _data_date,
                _fetched_at, _fetch_id, _fetch_row
         from {history} as history where ({order}) < ({cut}){only_staged}
         order by {key}, {}",
        descending.join(", "),
    );
    let said = format!(
        "select {}, staged._ordinal, true, said._manifest_key, said._data_date, said._fetched_at,
                staged._fetch_id, staged._fetch_row
         from {staged} as staged join {} as said on said._ordinal = staged._ordinal",
        list("staged.", values.iter().copied()),
        statements_table(source),
    );
    let make = format!(
        "create temporary table {name} on commit drop as {base};
         insert into {events} {said}; analyze {events}"
    );
    transaction.batch_execute(&make).await.map_err(&doing)?;
    if model.write.deletes() {
        // What a row leaves behind has nothing but its key and, of a window, where in it the row was: a fetch
        // that covers that says once more that it is gone.
        let left: Vec<String> = values
            .iter()
            .map(|name| {
                let is_window = matches!(&model.write, Write::Window(column) if column == name);
                if is_window || name.starts_with('_') || model.key.iter().any(|part| part == name) {
                    format!("seen.{}", ident(name))
                } else {
                    "null".to_owned()
                }
            })
            .collect();
        let between = format!(
            "covers._ordinal > seen._ordinal and (seen._next is null or covers._ordinal < seen._next) and {}",
            covers(model, "seen")
        );
        let (covers, fetches) = (covers_table(model), statements_table(source));
        // The first fetch after a row, and before the next word on its key, that covers and lacks it; and those
        // behind that one that were made before it, as below.
        let gone = match source.supersede {
            Supersede::FetchedAt => format!(
                "select min(covers._ordinal) as _ordinal from {covers} as covers
                 where seen._present and {between}"
            ),
            Supersede::DataDate => format!(
                "select _ordinal from (
                     select covers._ordinal, made._fetched_at, min(made._fetched_at) over (
                         order by covers._ordinal rows between unbounded preceding and 1 preceding
                     ) as _since
                     from {covers} as covers join {fetches} as made using (_ordinal) where {between}
                 ) as lacking
                 where (_since is null or _fetched_at < _since)
                   and (seen._present or _fetched_at < seen._fetched_at)"
            ),
        };
        let vanished = format!(
            "insert into {events}
             select {}, said._ordinal, false, said._manifest_key, said._data_date, said._fetched_at,
                    said._fetch_id, null
             from (select *, lead(_ordinal) over (partition by {key} order by _ordinal) as _next
                   from {events}) as seen
             cross join lateral ({gone}) as gone
             join {fetches} as said on said._ordinal = gone._ordinal",
            left.join(", "),
        );
        transaction.batch_execute(&vanished).await.map_err(&doing)?;
    }
    if reapplied {
        let delete = format!("delete from {history} as history where ({order}) >= ({cut})");
        transaction.batch_execute(&delete).await.map_err(&doing)?;
    }
    // Runs of the same word: each is told by the fetch it began with. Under `supersede = "data_date"` a
    // later fetch of the order may have been made earlier; it is told as well, so that whoever asks what was
    // known at some time finds the word there.
    let word_key = list("word.", model.row_key());
    let runs = format!(
        "select word.*, sum(case when before._ordinal is not null and before._present = word._present
                                  and (not word._present or not ({})) then 0 else 1 end)
                          over (partition by {word_key} order by word._ordinal) as _run
         from (select *, lag(_ordinal) over (partition by {key} order by _ordinal) as _before
               from {events}) as word
         left join {events} as before on {} and before._ordinal = word._before",
        differs_between(model, "word.", "before."),
        same(model.row_key(), "before", "word"),
    );
    let insert = format!(
        "insert into {history} ({columns}, _present, _manifest_key, _data_date, _fetched_at, _fetch_id,
                                _fetch_row)
         select {columns}, _present, _manifest_key, _data_date, _fetched_at, _fetch_id, _fetch_row
         from (select *, min(_fetched_at) over (partition by {key}, _run order by _ordinal
                                                rows between unbounded preceding and 1 preceding) as _since
               from ({runs}) as runs) as told
         where _ordinal >= 0 and (_since is null or _fetched_at < _since)",
    );
    transaction.batch_execute(&insert).await.map_err(&doing)?;
    Ok(())
}
