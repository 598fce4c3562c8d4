//! Fetches that need no staging: all their rows are new, or all of them stand there as they are.
//!
//! In: a fetch of a large publish, and the same `raw_<source>` that staging uses. Out: its rows in the curated
//! table, or nothing to write, after one statement that also asks the checks and notes how far the keys reach
//! (`extents_<table>`). Whatever is not plain is taken back, and the fetch goes through `stage` as every
//! fetch of a small publish does: a key that is there or comes twice, a value that differs, a broken
//! constraint, a check that finds something. So nothing is decided here but that there is nothing to decide.
//!
//! It is exact because each fetch has its keys for itself: then no other fetch of the publish has a say on
//! them, and the order of the fetches does not matter. Whether they have is asked once all fetches are there
//! ([`AtOnce::are_apart`]); if not, the caller does all of it again by staging. Deliberately absent: models
//! that delete or keep a history, checks that look beyond a row, queries that read more than the fetch's rows.

use std::collections::BTreeMap;

use daymark_plan::{Model, Source};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Statement as Prepared, Transaction};
use uuid::Uuid;

use super::difference::{self, TableCounts};
use super::stage::{self, Staging, extents_table, ordered_key, raw_table};
use super::{Context, Progress, Statement, checks, savepoint};
use crate::contract::extra_columns;
use crate::error::{WarehouseError, said_of_rows};
use crate::sql::{ident, list, qualified};

/// From how many rows on a publish tries it: fewer are staged in no time.
pub(super) const AT_ONCE_FROM: i64 = 20_000;

const SAVEPOINT: &str = "at_once";

/// After so many fetches in a row that had to be staged after all, the others are not tried.
const GIVEN_UP_AFTER: u8 = 2;

/// How many published rows are looked at for each row of a fetch, and for each value of the first column of
/// the key: where keys lie otherwise it is staging's join that is quick.
const LOOKED_AT: (i64, i64) = (4, 100);

/// What the rows of a fetch are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Taken {
    /// None of their keys is there.
    New,
    /// All are there, and nothing differs.
    Same,
}

/// The fetches of a publish that were settled at once.
#[derive(Default)]
pub(super) struct AtOnce {
    /// What the next fetch is taken for: what the one before it was.
    taken: Option<Taken>,
    failures: u8,
    prepared: BTreeMap<(String, Taken), Prepared>,
    fetches: Vec<Uuid>,
    counts: BTreeMap<String, TableCounts>,
}

impl AtOnce {
    /// Whether fetches of a source can be settled at once.
    pub(super) fn new(context: &Context<'_>, source: &Source) -> Option<Self> {
        let mut models = context.plan.models_of(&source.id);
        let fits = models.all(|model| {
            !model.write.deletes()
                && !model.history
                && ordered_key(model).next().is_some()
                && model.checks.iter().all(checks::is_of_a_row)
                && model.reads_only_rows()
        });
        fits.then(Self::default)
    }

    /// Whether any fetch was settled.
    pub(super) fn has_settled(&self) -> bool {
        !self.fetches.is_empty()
    }

    /// What became of the rows of a table.
    pub(super) fn counts(&self, model: &Model) -> TableCounts {
        self.counts.get(&model.table).copied().unwrap_or_default()
    }

    /// Settles a fetch, and gives whether it could: if not, everything is as it was.
    pub(super) async fn settle(
        &mut self,
        transaction: &Transaction<'_>,
        context: &Context<'_>,
        source: &Source,
        statement: &Statement,
        staging: &mut Staging,
    ) -> Result<bool, WarehouseError> {
        if self.failures >= GIVEN_UP_AFTER {
            return Ok(false);
        }
        let doing = WarehouseError::statement("publishing a fetch at once");
        let Ok(rows) = staging.rows(context, &statement.manifest_key).await else {
            return Ok(false);
        };
        if let Some(empty) = staging.empty(source) {
            transaction.batch_execute(&empty).await.map_err(&doing)?;
        }
        savepoint::set(transaction, SAVEPOINT).await.map_err(&doing)?;
        let raw = raw_table(source);
        let mut found = None;
        if let Ok(copied) = stage::copy_rows(transaction, source, &raw, rows).await? {
            staging.analyse(transaction, source, copied).await?;
            found = self.all_models(transaction, context, source, statement).await?;
        }
        let Some(found) = found else {
            savepoint::undo(transaction, SAVEPOINT).await.map_err(&doing)?;
            // The statistics went as well.
            staging.forget_statistics();
            self.failures += 1;
            self.taken = None;
            return Ok(false);
        };
        savepoint::release(transaction, SAVEPOINT).await.map_err(&doing)?;
        self.failures = 0;
        self.fetches.push(statement.fetch_id);
        for (model, taken, rows) in found {
            let counts = self.counts.entry(model.table.clone()).or_default();
            counts.staged += rows;
            match taken {
                Taken::New => counts.inserted += rows,
                Taken::Same => counts.unchanged += rows,
            }
            staging.told.extend(checks::all_passed(model, statement, rows));
        }
        Ok(true)
    }

    /// Tries all models of a source over the rows of a fetch; none where one of them is not plain.
    async fn all_models<'m>(
        &mut self,
        transaction: &Transaction<'_>,
        context: &'m Context<'_>,
        source: &Source,
        statement: &Statement,
    ) -> Result<Option<Vec<(&'m Model, Taken, i64)>>, WarehouseError> {
        let mut found = Vec::new();
        for model in context.plan.models_of(&source.id) {
            (context.watch)(Progress::Staging {
                source_id: &source.id,
                data_date: statement.data_date,
                table: &model.table,
            });
            let done = match self.taken {
                Some(taken) => self.one_model(transaction, context, model, statement, taken).await,
                None => match probe(transaction, context, model, statement).await {
                    Ok(taken) => {
                        self.taken = Some(taken);
                        self.one_model(transaction, context, model, statement, taken).await
                    }
                    Err(error) => Err(error),
                },
            };
            match done {
                Ok(Some((taken, rows))) => found.push((model, taken, rows)),
                Ok(None) => return Ok(None),
                // Staging says what is wrong, and whose fault it is.
                Err(error) => {
                    return said_of_rows(error)
                        .map(|_| None)
                        .map_err(WarehouseError::statement("publishing a fetch at once"));
                }
            }
        }
        Ok(Some(found))
    }

    async fn one_model(
        &mut self,
        transaction: &Transaction<'_>,
        context: &Context<'_>,
        model: &Model,
        statement: &Statement,
        taken: Taken,
    ) -> Result<Option<(Taken, i64)>, tokio_postgres::Error> {
        let key = (model.table.clone(), taken);
        if !self.prepared.contains_key(&key) {
            let sql = match taken {
                Taken::New => insert(context, model),
                Taken::Same if !yields_its_types(transaction, context, model).await? => {
                    return Ok(None);
                }
                Taken::Same => compare(context, model),
            };
            let prepared = transaction.prepare(&sql).await?;
            self.prepared.insert(key.clone(), prepared);
        }
        let Some(prepared) = self.prepared.get(&key) else { return Ok(None) };
        let row = match taken {
            Taken::New => {
                let mut params = said(statement).to_vec();
                params.push(&context.publish_id);
                transaction.query_one(prepared, &params).await
            }
            Taken::Same => transaction.query_one(prepared, &said(statement)).await,
        };
        let row = match row {
            Ok(row) => row,
            // A key is there already, or comes twice.
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (rows, is_plain): (i64, bool) = (row.get(0), row.get(1));
        let passed = model.checks.iter().all(|check| checks::holds_of(check, rows));
        Ok((is_plain && passed).then_some((taken, rows)))
    }

    /// Whether each fetch has its keys for itself, those that are staged among them.
    pub(super) async fn are_apart(
        &self,
        transaction: &Transaction<'_>,
        context: &Context<'_>,
        source: &Source,
    ) -> Result<bool, WarehouseError> {
        if self.fetches.is_empty() {
            return Ok(true);
        }
        let apart: Vec<String> = context.plan.models_of(&source.id).map(stage::are_apart).collect();
        let look = format!("select {}", apart.join(" and "));
        let row = transaction
            .query_one(&look, &[])
            .await
            .map_err(WarehouseError::statement("comparing the keys of fetches"))?;
        let apart = row.get(0);
        if apart && context.is_kept {
            checks::forget_rejects(transaction, &self.fetches).await?;
        }
        Ok(apart)
    }
}

/// What a query is told of its fetch.
fn said(statement: &Statement) -> [&(dyn ToSql + Sync); 4] {
    [&statement.ordinal, &statement.data_date, &statement.fetched_at, &statement.entity]
}

/// The model's query over the rows of a fetch, to stand behind `from`.
fn yielded(model: &Model) -> String {
    format!(
        "(select model.*, $2::date as _data_date, $3::timestamptz as _fetched_at, $4::text as _entity \
         from ({}\n) as model) as model",
        model.sql
    )
}

fn own_columns(model: &Model) -> String {
    list("", model.columns.iter().map(|column| column.name.as_str()))
}

/// What a fetch is taken for when nothing is known: what its first row is.
async fn probe(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    model: &Model,
    statement: &Statement,
) -> Result<Taken, tokio_postgres::Error> {
    let key = list("", model.row_key());
    let look = format!(
        "select exists (select 1 from (select {key} from {} limit 1) as first_row \
         join {} as published using ({key})), $1::integer, $3::timestamptz, $4::text",
        yielded(model),
        qualified(&context.schema, &model.table),
    );
    let is_there: bool = transaction.query_one(&look, &said(statement)).await?.get(0);
    Ok(if is_there { Taken::Same } else { Taken::New })
}

/// Whether the query yields the very types of the table: then a value that is as it is published is the one
/// that would be stored.
async fn yields_its_types(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    model: &Model,
) -> Result<bool, tokio_postgres::Error> {
    let columns = own_columns(model);
    let query = format!("select {columns} from ({}\n) as model", model.sql);
    let yielded = transaction.prepare(&query).await?;
    let table = qualified(&context.schema, &model.table);
    let stored = transaction.prepare(&format!("select {columns} from {table}")).await?;
    let types = |prepared: &Prepared| -> Vec<Type> {
        prepared.columns().iter().map(|column| column.type_().clone()).collect()
    };
    Ok(types(&yielded) == types(&stored))
}

/// How far the keys of rows reach, whether a check found something, and that it is noted.
fn look_at(model: &Model, rows: &str) -> String {
    let bounds: Vec<String> = ordered_key(model)
        .enumerate()
        .map(|(at, name)| format!(", min({0}) as low_{at}, max({0}) as high_{at}", ident(name)))
        .collect();
    let noted: Vec<String> =
        ordered_key(model).enumerate().map(|(at, _)| format!(", low_{at}, high_{at}")).collect();
    let offends: Vec<String> = model.checks.iter().filter_map(checks::offends).collect();
    let offends = if offends.is_empty() {
        "0::bigint".to_owned()
    } else {
        format!("count(*) filter (where {})", offends.join(" or "))
    };
    format!(
        "_reach as materialized (select count(*) as _rows, {offends} as _offending{} from {rows}), \
         _noted as (insert into {} select $1::integer, _rows, 1, {} from _reach)",
        bounds.concat(),
        extents_table(model),
        noted.concat().trim_start_matches(", "),
    )
}

/// Inserts the rows of a fetch, if all are new.
fn insert(context: &Context<'_>, model: &Model) -> String {
    let columns = own_columns(model);
    let extra: Vec<&str> = extra_columns(model).into_iter().map(|(name, _)| name).collect();
    let names: Vec<String> = extra.iter().map(|name| format!(", {}", ident(name))).collect();
    format!(
        "with _inserted as (insert into {} ({columns}, _fetch_id, _fetch_row{}, _publish_id) \
         select {columns}, _fetch_id, _fetch_row{}, $5::bigint from {} returning {columns}), {} \
         select _rows, _offending = 0 from _reach",
        qualified(&context.schema, &model.table),
        names.concat(),
        stage::extra_values(model),
        yielded(model),
        look_at(model, "_inserted"),
    )
}

/// Holds the rows of a fetch against the published ones of their keys.
///
/// Those are looked up by the first column of the key, and between the ends of the second: the index has the
/// rows of a fetch side by side, or one by one. The join is a full one, which is never done row by row. A key
/// that comes twice meets one row twice, so that fewer rows are met than there are.
fn compare(context: &Context<'_>, model: &Model) -> String {
    let columns = own_columns(model);
    let key: Vec<&str> = model.row_key().collect();
    let extra: Vec<&str> = extra_columns(model).into_iter().map(|(name, _)| name).collect();
    let extra_names: Vec<String> = extra.iter().map(|name| format!(", {}", ident(name))).collect();
    let extra_names = extra_names.concat();
    let extra_values: Vec<String> = stage::extra_value_list(model)
        .into_iter()
        .map(|(name, value)| format!(", {value} as {}", ident(name)))
        .collect();
    let first = ident(key.first().copied().unwrap_or_default());
    let second = key.get(1).and_then(|name| {
        let at = ordered_key(model).position(|other| other == *name)?;
        Some(format!(" and published.{} between _reach.low_{at} and _reach.high_{at}", ident(name)))
    });
    let (of_rows, of_firsts) = LOOKED_AT;
    format!(
        "with _staged as materialized (select {columns}{} from {}), {}, \
         _firsts as materialized (select distinct {first} as _first from _staged), \
         _looked as materialized (select published.* from _reach cross join _firsts cross join lateral (\
             select {columns}{extra_names}, _fetch_id from {} as published \
             where published.{first} = _firsts._first{} \
             limit (select {of_rows} * _reach._rows / count(*) + {of_firsts} from _firsts)) as published) \
         select (select _rows from _reach), \
                (select _offending = 0 from _reach) \
                and (select _rows from _reach) = (select count(*) from _looked) \
                    - count(*) filter (where staged._here is null) \
                and not coalesce(bool_or({differs}) filter (where staged._here and published._there), false) \
                and count(*) filter (where staged._here and published._there is null) = 0 \
                and not exists (select 1 from (select distinct _fetch_id from _looked) as of_fetch \
                    join daymark.fetch as noted on noted.fetch_id = of_fetch._fetch_id \
                    where noted.data_date = $2::date and noted.entity <> $4::text) \
         from (select true as _here, * from _staged) as staged \
         full join (select true as _there, * from _looked) as published using ({})",
        extra_values.concat(),
        yielded(model),
        look_at(model, "_staged"),
        qualified(&context.schema, &model.table),
        second.unwrap_or_default(),
        list("", key.iter().copied()),
        differs = difference::differs(model),
    )
}
