//! Queries and checks of models, prepared before any row moves.
//!
//! In: a model and the shape of its table. Out: a [`Failure`] for all that PostgreSQL does not understand,
//! or that yields something else than the contract says, with the line it stands on. Deliberately absent:
//! running any of it.

use std::collections::BTreeMap;

use daymark_plan::{Check, Column, Model, Plan, Reads, Severity, Write};
use tokio_postgres::types::Type;
use tokio_postgres::{Statement, Transaction};

use super::shape::Shape;
use super::{Mode, Prepared, create_raw, search_path};
use crate::error::{Failure, WarehouseError};
use crate::publish;
use crate::sql::ident;

/// The columns of a contract with their types in PostgreSQL's words.
pub(crate) type Kinds = Vec<(String, String)>;

/// Has PostgreSQL prepare a statement. What it refuses leaves the transaction usable.
pub(super) async fn prepared(
    transaction: &Transaction<'_>,
    statement: &str,
) -> Result<Result<Statement, tokio_postgres::Error>, WarehouseError> {
    tried(transaction, transaction.prepare(statement)).await
}

/// Asks PostgreSQL something within a savepoint: what it refuses leaves the transaction usable.
async fn tried<T>(
    transaction: &Transaction<'_>,
    asking: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<Result<T, tokio_postgres::Error>, WarehouseError> {
    let doing = WarehouseError::statement("preparing a query");
    transaction.batch_execute("savepoint one_query").await.map_err(&doing)?;
    let answer = asking.await;
    let end = match &answer {
        Ok(_) => "release savepoint one_query",
        Err(error) if error.as_db_error().is_some() => {
            "rollback to savepoint one_query; release savepoint one_query"
        }
        // The connection is gone; the caller says so.
        Err(_) => return Ok(answer),
    };
    transaction.batch_execute(end).await.map_err(&doing)?;
    Ok(answer)
}

/// The types of a contract's columns.
pub(super) fn kinds_of(model: &Model, shape: &Shape) -> Kinds {
    let kinds = model.columns.iter().filter_map(|column| {
        let found = shape.column(&column.name)?;
        Some((column.name.clone(), found.kind.clone()))
    });
    kinds.collect()
}

/// Has PostgreSQL parse and type the model's query over empty rows, and compares its columns with the
/// contract's. Gives everything that is wrong with it.
pub(super) async fn check_query(
    transaction: &Transaction<'_>,
    model: &Model,
    wanted: &Shape,
) -> Result<Vec<Failure>, WarehouseError> {
    let doing = WarehouseError::statement("preparing a model");
    let prefix = "select * from (";
    let statement = format!("{prefix}{}\n) as model", model.sql);
    let prepared = match self::prepared(transaction, &statement).await? {
        Ok(prepared) => prepared,
        Err(error) => {
            let failure = Failure::of(error, &model.file, &statement, prefix, model.sql_line);
            return failure.map(|failure| vec![failure]).map_err(&doing);
        }
    };
    if !prepared.params().is_empty() {
        let message = "the query has parameters such as `$1`, and a model takes none";
        let hint = "the day a fetch is for is the column `_data_date`";
        return Ok(vec![Failure::new(&model.file, model.sql_line, message).hint(hint)]);
    }
    let mut failures = column_names(model, &prepared);
    for column in &model.columns {
        failures.extend(other_type(transaction, model, column, &prepared, wanted).await?);
    }
    failures.extend(window_without_bounds(transaction, model, wanted).await?);
    if failures.is_empty()
        && let Some(settled) = &model.settled
    {
        let prefix = "select (";
        let statement = format!(
            "{prefix}{})::boolean from (select model.*, null::date as _data_date, \
             null::timestamptz as _fetched_at from ({}\n) as model) as model",
            settled.sql, model.sql
        );
        if let Err(error) = self::prepared(transaction, &statement).await? {
            let failure = Failure::of(error, &model.file, &statement, prefix, settled.line);
            let failure = failure.map_err(&doing)?;
            let message = format!("`settled`: {}", failure.message);
            failures.push(Failure { message, ..failure });
        }
    }
    Ok(failures)
}

/// A window over a column whose type has no smallest value.
async fn window_without_bounds(
    transaction: &Transaction<'_>,
    model: &Model,
    wanted: &Shape,
) -> Result<Option<Failure>, WarehouseError> {
    let Write::Window(name) = &model.write else { return Ok(None) };
    let column = model.columns.iter().find(|column| column.name == *name);
    let (Some(column), Some(shape)) = (column, wanted.column(name)) else { return Ok(None) };
    let bounds = format!("select min(null::{0}), max(null::{0})", shape.kind);
    let Err(error) = prepared(transaction, &bounds).await? else { return Ok(None) };
    let failure = Failure::of(error, &model.file, &bounds, "", 0)
        .map_err(WarehouseError::statement("preparing a model"))?;
    let message = format!("`{name}` cannot be a window: {}", failure.message);
    let hint = "a window is over a column whose values have an order, such as a date";
    Ok(Some(Failure::new(&model.file, column.line, message).hint(hint)))
}

/// Columns that the query has and the contract lacks, and the other way round.
fn column_names(model: &Model, prepared: &Statement) -> Vec<Failure> {
    let found: Vec<&str> = prepared.columns().iter().map(tokio_postgres::Column::name).collect();
    let contract: Vec<&str> = model.columns.iter().map(|column| column.name.as_str()).collect();
    let mut failures = Vec::new();
    for name in &found {
        if !contract.contains(name) && !["_fetch_id", "_fetch_row"].contains(name) {
            let message = format!("the query yields the column `{name}`, which the contract lacks");
            let hint = format!(
                "add it to `[columns]` or leave it out of the query; {}",
                daymark_plan::did_you_mean(name, contract.iter().copied())
            );
            failures.push(Failure::new(&model.file, model.sql_line, message).hint(hint));
        }
    }
    for column in &model.columns {
        if !found.contains(&column.name.as_str()) {
            let message = format!("the query yields no column `{}`", column.name);
            let hint = daymark_plan::did_you_mean(&column.name, found.iter().copied());
            failures.push(Failure::new(&model.file, column.line, message).hint(hint));
        }
    }
    for name in ["_fetch_id", "_fetch_row"] {
        if !found.contains(&name) {
            let message =
                format!("the query yields no `{name}`, so a row could not name where it came from");
            let hint = format!("select `_fetch_id, _fetch_row` from raw_{}", model.source);
            failures.push(Failure::new(&model.file, model.sql_line, message).hint(hint));
        }
    }
    failures
}

/// A column that the query yields as another type.
async fn other_type(
    transaction: &Transaction<'_>,
    model: &Model,
    column: &Column,
    prepared: &Statement,
    wanted: &Shape,
) -> Result<Option<Failure>, WarehouseError> {
    let (Some(yielded), Some(wanted)) = (
        prepared.columns().iter().find(|yielded| yielded.name() == column.name),
        wanted.column(&column.name),
    ) else {
        return Ok(None);
    };
    let (oid, modifier) = (yielded.type_().oid(), yielded.type_modifier());
    if fits(oid, modifier, wanted.type_oid, wanted.type_modifier) {
        return Ok(None);
    }
    let kind: String = transaction
        .query_one("select format_type($1, $2)", &[&oid, &modifier])
        .await
        .map_err(WarehouseError::statement("preparing a model"))?
        .get(0);
    let message = format!(
        "the query yields `{}` as `{kind}`, and the contract has `{}`",
        column.name, wanted.kind
    );
    let hint = format!(
        "cast it in the query (`...::{}`), where a reader sees what that rounds or cuts, or change the \
         contract",
        wanted.kind
    );
    Ok(Some(Failure::new(&model.file, column.line, message).hint(hint)))
}

/// Whether every value of a query's type is a value of the contract's, as it is (DECISIONS.md, "A cast
/// that may change a value stands in the query").
fn fits(oid: u32, modifier: i32, wanted: u32, wanted_modifier: i32) -> bool {
    if wanted_modifier != -1 {
        return oid == wanted && modifier == wanted_modifier;
    }
    if oid == wanted {
        return true;
    }
    let wider: &[(Type, Type)] = &[
        (Type::INT2, Type::INT4),
        (Type::INT2, Type::INT8),
        (Type::INT4, Type::INT8),
        (Type::INT2, Type::NUMERIC),
        (Type::INT4, Type::NUMERIC),
        (Type::INT8, Type::NUMERIC),
        (Type::INT2, Type::FLOAT8),
        (Type::INT4, Type::FLOAT8),
        (Type::FLOAT4, Type::FLOAT8),
        (Type::VARCHAR, Type::TEXT),
        (Type::TEXT, Type::VARCHAR),
        (Type::NAME, Type::TEXT),
    ];
    wider.iter().any(|(from, to)| from.oid() == oid && to.oid() == wanted)
}

/// Has PostgreSQL prepare the checks of the folder, once all that they may read is there. A run refuses a
/// source for those that its rows cannot do without, and tells of the others when it asks them.
pub(super) async fn prepare_checks(
    transaction: &Transaction<'_>,
    schema: &str,
    plan: &Plan,
    kinds: &BTreeMap<String, Kinds>,
    mode: Mode,
    prepared: &mut Prepared,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("preparing the checks");
    transaction.batch_execute(&search_path(schema)).await.map_err(&doing)?;
    for source in &plan.sources {
        if prepared.refused.sources.contains_key(&source.id)
            || plan.models_of(&source.id).all(|model| model.checks.is_empty())
        {
            continue;
        }
        transaction.batch_execute(&create_raw(source)).await.map_err(&doing)?;
        let is_asked = |severity, reads| match mode {
            // What a change is still to make may be what a check reads.
            Mode::Show => reads == Reads::Staged || prepared.changes.is_empty(),
            Mode::Run | Mode::Apply { .. } => severity != Severity::Warn,
        };
        let mut failures = Vec::new();
        for model in plan.models_of(&source.id) {
            let Some(kinds) = kinds.get(&model.table) else { continue };
            failures.extend(check_checks(transaction, plan, model, kinds, &is_asked).await?);
        }
        let table = ident(&format!("raw_{}", source.id));
        transaction.batch_execute(&format!("drop table pg_temp.{table}")).await.map_err(&doing)?;
        if let Some(failure) = failures.into_iter().next() {
            prepared.refused.sources.insert(source.id.clone(), failure);
        }
    }
    Ok(())
}

/// Has PostgreSQL prepare the checks of one model, those that `is_asked` says.
pub(super) async fn check_checks(
    transaction: &Transaction<'_>,
    plan: &Plan,
    model: &Model,
    kinds: &Kinds,
    is_asked: &(dyn Fn(Severity, Reads) -> bool + Sync),
) -> Result<Vec<Failure>, WarehouseError> {
    let mut failures = Vec::new();
    for check in model.checks.iter().filter(|check| is_asked(check.severity, check.reads)) {
        let (prefix, statement) = publish::check_over_nothing(model, check, kinds);
        let refused = match prepared(transaction, &statement).await? {
            Ok(_) => makes_no_sense(transaction, model, check, kinds).await?,
            Err(error) => {
                let failure = publish::told_of_check(error, model, check, &prefix, &statement);
                Some(failure.map_err(WarehouseError::statement("preparing a check"))?)
            }
        };
        if let Some(failure) = refused.filter(|failure| !is_told_elsewhere(plan, failure)) {
            let message = format!("the check `{}`: {}", check.name, failure.message);
            failures.push(Failure { message, ..failure });
        }
    }
    Ok(failures)
}

/// What is wrong with what a check says, that PostgreSQL finds out only when it has a value to ask of.
async fn makes_no_sense(
    transaction: &Transaction<'_>,
    model: &Model,
    check: &Check,
    kinds: &Kinds,
) -> Result<Option<Failure>, WarehouseError> {
    let Some(ask) = publish::makes_no_sense(check, kinds) else { return Ok(None) };
    match tried(transaction, transaction.query_one(&ask, &[])).await? {
        Ok(row) if row.get::<_, bool>(0) => Ok(Some(
            Failure::new(&model.file, check.line, "no value can pass: `min` is above `max`")
                .hint("the smaller value is `min`"),
        )),
        Ok(_) => Ok(None),
        Err(error) => {
            let failure = Failure::of(error, &model.file, &ask, "", 0)
                .map_err(WarehouseError::statement("preparing a check"))?;
            Ok(Some(Failure { line: check.line, column: 0, ..failure }))
        }
    }
}

/// Whether a query lacks only a table or view of the folder itself: why that is not there is told where
/// it is made.
pub(super) fn is_told_elsewhere(plan: &Plan, failure: &Failure) -> bool {
    let tables = plan.models.iter().map(|model| model.table.clone());
    let histories = plan.models.iter().filter(|model| model.history);
    let histories = histories.map(Model::history_table);
    let marts = plan.marts.iter().map(|mart| mart.name.clone());
    let mut names = tables.chain(histories).chain(marts);
    let Some(lacking) = failure.message.strip_prefix("relation \"") else { return false };
    let Some((name, _)) = lacking.split_once("\" does not exist") else { return false };
    let name = name.rsplit('.').next().unwrap_or(name).trim_matches('"');
    names.any(|known| known == name)
}
