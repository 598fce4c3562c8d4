//! Fetches that need no staging: all their rows are new, or all of them stand there as they are.
//!
//! In: a fetch of a large publish, and the same `raw_<source>` that staging uses. Out: its rows in the curated
//! table, or nothing to write, after one statement that also asks the checks. Whatever is not plain is taken
//! back, and the fetch goes through `stage` as every fetch of a small publish does: a key that is there or
//! comes twice, a value that differs, a broken constraint, a check that finds something. So nothing is decided
//! here but that there is nothing to decide.
//!
//! It is exact because each fetch has its keys for itself: then no other fetch of the publish has a say on
//! them, and the order of the fetches does not matter. Where some had to be staged, it is asked in the end
//! whether they have ([`AtOnce::are_apart`]); if not, the caller does all of it again by staging. Deliberately
//! absent: models that delete or keep a history, checks that look beyond a row, queries that read more than the
//! fetch's rows.

use std::collections::BTreeMap;

use daymark_plan::{Model, Source};
use futures::future;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Statement as Prepared, Transaction};
use uuid::Uuid;

use super::copy::{Staging, send_rows};
use super::difference::{self, TableCounts};
use super::stage::{self, extents_table, ordered_key};
use super::{Context, Progress, Statement, checks, savepoint};
use crate::contract::extra_columns;
use crate::error::{WarehouseError, said_of_rows};
use crate::sql::{ident, list, qualified, same};

/// From how many rows on a publish tries it: fewer are staged in no time.
pub(super) const AT_ONCE_FROM: i64 = 20_000;

/// What says that a fetch is not plain: a key is there or comes twice, a row offends a check (see `insert`).
const TAKEN_BACK: [SqlState; 2] = [SqlState::UNIQUE_VIOLATION, SqlState::DIVISION_BY_ZERO];

const SAVEPOINT: &str = "at_once";

/// After so many fetches in a row that had to be staged after all, the others are not tried.
const GIVEN_UP_AFTER: u8 = 2;

/// The join of `compare` must not be done row by row, nor what it finds be sorted: PostgreSQL takes that for
/// cheapest, because it believes in few rows. And no statement is compiled that takes milliseconds.
const BY_HASH: &str =
    "set local enable_nestloop = off; set local enable_sort = off; set local jit = off";
const AS_EVER: &str = "set local enable_nestloop to default; set local enable_sort to default; \
                       set local jit to default";

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
    /// Whether PostgreSQL was told to join [`BY_HASH`].
    is_tuned: bool,
    prepared: BTreeMap<(String, Taken), Prepared>,
    fetches: Vec<Uuid>,
    /// Those whose rows were new, with their ordinals.
    new: (Vec<Uuid>, Vec<i32>),
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
                && !has_collation(model)
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
            self.close(transaction, staging).await?;
            return Ok(false);
        };
        if !std::mem::replace(&mut self.is_tuned, true) {
            transaction.batch_execute(BY_HASH).await.map_err(&doing)?;
        }
        let sink = staging.open(transaction, source, statement, Some(SAVEPOINT)).await?;
        let is_known = self.taken.is_some() && staging.is_analysed();
        let sending = async {
            let sent = send_rows(sink, rows).await;
            staging.read_ahead(context);
            sent
        };
        let (copied, found) = if is_known {
            // The statements are sent right behind the rows, before PostgreSQL has said what it thinks of them:
            // that is an answer less to wait for. If it refuses the rows, what it says of these means nothing.
            future::join(sending, self.all_models(transaction, context, source, statement)).await
        } else {
            let copied = sending.await?;
            let mut found = None;
            if let Ok(copied) = copied {
                staging.analyse(transaction, source, copied).await?;
                found = self.all_models(transaction, context, source, statement).await?;
            }
            (Ok(copied), Ok(found))
        };
        let found = match copied? {
            Ok(copied) => found?.map(|found| (copied, found)),
            Err(_) => None,
        };
        let Some((copied, found)) = found else {
            savepoint::undo(transaction, SAVEPOINT).await.map_err(&doing)?;
            staging.forget();
            self.close(transaction, staging).await?;
            self.failures += 1;
            self.taken = None;
            return Ok(false);
        };
        // The savepoint is let go of with the next fetch, or by `close`: that is an answer less to wait for.
        self.failures = 0;
        staging.analyse(transaction, source, copied).await?;
        self.fetches.push(statement.fetch_id);
        if found.iter().any(|(_, taken, _)| *taken == Taken::New) {
            self.new.0.push(statement.fetch_id);
            self.new.1.push(statement.ordinal);
        }
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

    /// Lets go of the last savepoint, and has PostgreSQL plan as ever: staging wants both.
    pub(super) async fn close(
        &mut self,
        transaction: &Transaction<'_>,
        staging: &mut Staging,
    ) -> Result<(), WarehouseError> {
        staging.release(transaction).await?;
        if std::mem::take(&mut self.is_tuned) {
            let told = transaction.batch_execute(AS_EVER).await;
            told.map_err(WarehouseError::statement("publishing a fetch at once"))?;
        }
        Ok(())
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
                source_id: source.id.clone(),
                data_date: statement.data_date,
                entity: statement.entity.clone(),
                table: model.table.clone(),
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
            if !yields_its_types(transaction, context, model).await? {
                return Ok(None);
            }
            let sql = match taken {
                Taken::New => insert(context, model),
                Taken::Same => compare(context, model),
            };
            let prepared = transaction.prepare(&sql).await?;
            self.prepared.insert(key.clone(), prepared);
        }
        let Some(prepared) = self.prepared.get(&key) else { return Ok(None) };
        let said = said(context, statement);
        let found = match taken {
            Taken::New => {
                let inserted = transaction.execute(prepared, &said).await;
                inserted.map(|rows| (i64::try_from(rows).unwrap_or(i64::MAX), true))
            }
            Taken::Same => {
                let row = transaction.query_one(prepared, &said).await;
                row.map(|row| (row.get(0), row.get(1)))
            }
        };
        let (rows, is_plain) = match found {
            Ok(found) => found,
            // A key is there already, or comes twice; or a row offends a check.
            Err(error) if TAKEN_BACK.iter().any(|code| error.code() == Some(code)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let passed = model.checks.iter().all(|check| checks::holds_of(check, rows));
        Ok((is_plain && passed).then_some((taken, rows)))
    }

    /// Whether each fetch has its keys for itself, those that are staged among them. How far those of new rows
    /// reach is only looked at where some are staged: among themselves they are apart by the primary key, and
    /// rows that stand as they are were not written by this publish.
    pub(super) async fn are_apart(
        &self,
        transaction: &Transaction<'_>,
        context: &Context<'_>,
        source: &Source,
        is_any_staged: bool,
    ) -> Result<bool, WarehouseError> {
        if self.fetches.is_empty() {
            return Ok(true);
        }
        let doing = WarehouseError::statement("comparing the keys of fetches");
        let (new, ordinals) = &self.new;
        if is_any_staged && !new.is_empty() {
            for model in context.plan.models_of(&source.id) {
                let note = note_new(context, model);
                transaction.execute(&note, &[new, ordinals]).await.map_err(&doing)?;
            }
        }
        let apart: Vec<String> = context.plan.models_of(&source.id).map(stage::are_apart).collect();
        let look = format!("select {}", apart.join(" and "));
        let apart = transaction.query_one(&look, &[]).await.map_err(&doing)?.get(0);
        if apart && context.is_kept {
            checks::forget_rejects(transaction, &self.fetches).await?;
        }
        Ok(apart)
    }
}

/// What a query is told of its fetch.
fn said<'s>(context: &'s Context<'_>, statement: &'s Statement) -> [&'s (dyn ToSql + Sync); 5] {
    let Statement { ordinal, data_date, fetched_at, entity, .. } = statement;
    [ordinal, data_date, fetched_at, entity, &context.publish_id]
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
         join {} as published using ({key})), $1::integer, $3::timestamptz, $4::text, $5::bigint",
        yielded(model),
        qualified(&context.schema, &model.table),
    );
    let is_there: bool = transaction.query_one(&look, &said(context, statement)).await?.get(0);
    Ok(if is_there { Taken::Same } else { Taken::New })
}

/// Whether the query yields the very types of the table: then a value that is as it is published is the one
/// that would be stored, and what a check says of it it would say of the stored one.
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

/// Whether its text may be compared by another rule in the query than in the table: then the ends of its keys, and
/// what its checks say, are for staging, where the rows have the table's types.
fn has_collation(model: &Model) -> bool {
    let definitions = model.columns.iter().map(|column| column.definition.as_str());
    definitions.chain([model.sql.as_str()]).any(|text| text.to_ascii_lowercase().contains("collat"))
}

/// The condition by which a row offends one of the checks, or none.
fn offends(model: &Model) -> Option<String> {
    let offends: Vec<String> = model.checks.iter().filter_map(checks::offends).collect();
    (!offends.is_empty()).then(|| offends.join(" or "))
}

/// The ends of the columns of a key, to be selected, and their names.
fn ends(model: &Model) -> (String, String) {
    let (mut ends, mut names) = (String::new(), String::new());
    for (at, name) in ordered_key(model).enumerate() {
        let name = ident(name);
        ends.push_str(&format!(", min({name}) as low_{at}, max({name}) as high_{at}"));
        names.push_str(&format!(", low_{at}, high_{at}"));
    }
    (ends, names)
}

/// Notes how far the keys of new fetches reach, now that it matters.
fn note_new(context: &Context<'_>, model: &Model) -> String {
    let (ends, _) = ends(model);
    format!(
        "insert into {} select _new.ordinal, count(*), 1{ends} from {} \
         join unnest($1::uuid[], $2::integer[]) as _new (fetch_id, ordinal) on _new.fetch_id = _fetch_id \
         group by _new.ordinal",
        extents_table(model),
        qualified(&context.schema, &model.table),
    )
}

/// Inserts the rows of a fetch, if all are new and none offends a check: one that does divides by zero, which
/// takes the statement back and costs the others less than to look at them again.
fn insert(context: &Context<'_>, model: &Model) -> String {
    // What is told is the same for all statements; this one has no use for the ordinal.
    let columns = own_columns(model);
    let extra: Vec<&str> = extra_columns(model).into_iter().map(|(name, _)| name).collect();
    let names: Vec<String> = extra.iter().map(|name| format!(", {}", ident(name))).collect();
    let stops = offends(model).map_or_else(String::new, |offends| {
        // Of a column, or PostgreSQL would divide when it plans.
        // The model may yield a row without one, which is for the table to refuse.
        format!(
            " and case when {offends} then 1 / (coalesce(_fetch_row, 0) - coalesce(_fetch_row, 0)) = 1 \
             else true end"
        )
    });
    format!(
        "insert into {} ({columns}, _fetch_id, _fetch_row{}, _publish_id) \
         select {columns}, _fetch_id, _fetch_row{}, $5::bigint from {} where $1::integer is not null{stops}",
        qualified(&context.schema, &model.table),
        names.concat(),
        stage::extra_values(model),
        yielded(model),
    )
}

/// Holds the rows of a fetch against the published ones of their keys, and notes how far the keys reach.
///
/// Those are looked up by the first column of the key, and between the ends of the second: the index has the
/// rows of a fetch side by side, or one by one. Published rows are counted that are met by a row like them: a
/// key that comes twice meets one, so that fewer are met than there are rows.
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
    let distinct = format!("select distinct {first} as _first from _staged");
    // Mostly it is one value: then nobody looks at the rows for it.
    let firsts = match ordered_key(model).position(|name| key.first() == Some(&name)) {
        Some(at) => format!(
            "select low_{at} as _first from _reach where low_{at} = high_{at} union all \
             ({distinct} where (select low_{at} <> high_{at} from _reach))"
        ),
        None => distinct,
    };
    let offending = offends(model).map_or_else(
        || "0::bigint".to_owned(),
        |offends| format!("count(*) filter (where {offends})"),
    );
    let (ends, end_names) = ends(model);
    let same_key = same(key.iter().copied(), "staged", "published");
    format!(
        "with _staged as materialized (select {columns}{} from {}), \
         _reach as materialized (select count(*) as _rows, {offending} as _offending{ends} from _staged), \
         _noted as (insert into {} select $1::integer, _rows, 1{end_names} from _reach), \
         _firsts as materialized ({firsts}), \
         _met as materialized (select published._fetch_id, count(*) as _rows, \
                bool_or(published._publish_id = $5::bigint) as _is_of_this \
             from _reach cross join _firsts cross join lateral (\
                 select {columns}{extra_names}, _fetch_id, _publish_id from {} as published \
                 where published.{first} = _firsts._first{} \
                 limit (select {of_rows} * _reach._rows / count(*) + {of_firsts} from _firsts)) as published \
             where exists (select 1 from _staged as staged \
                 where {} and not coalesce({differs}, false)) \
             group by 1) \
         select _rows, _offending = 0 and _rows = (select coalesce(sum(_rows), 0) from _met) \
                and not exists (select 1 from _met where _is_of_this) \
                and not exists (select 1 from _met join daymark.fetch as noted on noted.fetch_id = _met._fetch_id \
                    where noted.data_date = $2::date and noted.entity <> $4::text) \
         from _reach",
        extra_values.concat(),
        yielded(model),
        extents_table(model),
        qualified(&context.schema, &model.table),
        second.unwrap_or_default(),
        same_key,
        differs = difference::differs(model),
    )
}
