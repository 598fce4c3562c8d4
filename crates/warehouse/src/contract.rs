//! Contracts: the tables and views of the folder, made and kept in PostgreSQL.
//!
//! In: the plan. Out: tables as the models' `[columns]` say, the marts (`marts`), and a
//! [`Failure`] for each file PostgreSQL refuses. Runs before a publish in its own short transaction
//! with a lock timeout. Contract and table are compared as PostgreSQL's catalogs have them: the contract
//! is made once as a temporary table, so that PostgreSQL itself puts both into the same words, and what
//! was changed by hand is seen. Deliberately absent: the rows a new column has no values for
//! (`daymark rebuild`).

mod apply;
mod change;
mod judge;
mod marts;
mod query;
mod shape;

use std::collections::{BTreeMap, BTreeSet};

use daymark_plan::{Column, Index, Model, Plan, Source, SourceId, Write};
use tokio_postgres::Transaction;

use apply::{apply, defer_references};
use change::Comparison;
pub use change::{Change, Needs};
pub use judge::{PageQuery, judge};
use query::{Kinds, check_query};
use shape::Shape;

use crate::error::{Failure, WarehouseError};
use crate::session::Session;
use crate::sql::{ident, list, literal, qualified};

/// The columns every curated table has beside its contract's, with their types.
pub(crate) const SYSTEM_COLUMNS: [(&str, &str); 3] = [
    ("_fetch_id", "uuid not null"),
    ("_fetch_row", "bigint not null"),
    ("_publish_id", "bigint not null"),
];

/// The columns the tables of some models have beside [`SYSTEM_COLUMNS`]: the data date of `append`, which
/// is part of the primary key; whether a row is final, of a model that says when; and whose row it is, of
/// a model that deletes. They are staged with the rows.
pub(crate) fn extra_columns(model: &Model) -> Vec<(&'static str, &'static str)> {
    let mut columns = Vec::new();
    if model.write == Write::Append {
        columns.push(("_data_date", "date not null"));
    }
    if model.settled.is_some() {
        columns.push(("_settled", "boolean not null default true"));
    }
    if model.write.deletes() {
        columns.push(("_entity", "text not null default ''"));
    }
    columns
}

/// The columns of a history table beside the contract's: the fetch that said it, when, and whether it said
/// that there is such a row.
const HISTORY_COLUMNS: [(&str, &str); 6] = [
    ("_present", "boolean not null"),
    ("_manifest_key", "text collate \"C\" not null"),
    ("_data_date", "date not null"),
    ("_fetched_at", "timestamptz not null"),
    ("_fetch_id", "uuid not null"),
    ("_fetch_row", "bigint"),
];

/// What PostgreSQL refused of the folder.
#[derive(Debug, Default)]
pub struct Refused {
    /// The sources whose models it refused; nothing of them can be published.
    pub sources: BTreeMap<SourceId, Failure>,
    /// The marts it refused.
    pub marts: Vec<Failure>,
}

/// What may be done to the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Make what needs nothing, and refuse a source whose tables need more: what a run does.
    Run,
    /// Change nothing.
    Show,
    /// Make everything that was shown.
    Apply {
        /// Also what loses values.
        allow_data_loss: bool,
    },
}

/// What the tables need, or had done to them.
#[derive(Debug, Default)]
pub struct Prepared {
    /// Every difference between a contract and its table.
    pub changes: Vec<Change>,
    /// What PostgreSQL refused of the folder.
    pub refused: Refused,
}

/// Makes and keeps the folder's tables and views.
pub async fn ensure(session: &mut Session, plan: &Plan) -> Result<Refused, WarehouseError> {
    Ok(prepare(session, plan, Mode::Run).await?.refused)
}

/// Compares the folder's tables with the database's, and does what the mode allows.
pub async fn prepare(
    session: &mut Session,
    plan: &Plan,
    mode: Mode,
) -> Result<Prepared, WarehouseError> {
    let schema = session.schema().to_owned();
    let doing = WarehouseError::statement("making the tables");
    let mut transaction = session.client().transaction().await.map_err(&doing)?;
    // One process at a time makes tables; then each waits for readers and writers ten seconds at most.
    transaction
        .execute("select pg_advisory_xact_lock(hashtextextended('daymark:contracts', 0))", &[])
        .await
        .map_err(&doing)?;
    if mode != Mode::Show {
        marts::lock(&transaction, &schema, plan).await?;
    }
    transaction.batch_execute("set local lock_timeout = '10s'").await.map_err(&doing)?;
    let mut prepared = Prepared::default();
    // Before views go because a table under them changes: those only come again.
    let of_marts = marts::changes(&transaction, &schema, &plan.marts).await?;
    let mut kinds = BTreeMap::new();
    for source in &plan.sources {
        let models: Vec<&Model> = plan.models_of(&source.id).collect();
        let mut savepoint = transaction.savepoint("one_source").await.map_err(&doing)?;
        let changes = &mut prepared.changes;
        let ensured =
            ensure_models(&mut savepoint, &schema, source, &models, mode, changes, &mut kinds);
        match ensured.await? {
            Ok(()) => savepoint.commit().await.map_err(&doing)?,
            Err(failure) => {
                savepoint.rollback().await.map_err(&doing)?;
                prepared.refused.sources.insert(source.id.clone(), failure);
            }
        }
    }
    let is_done = |change: &&Change| {
        !prepared
            .refused
            .sources
            .keys()
            .any(|id| plan.models_of(id).any(|model| model.file == change.file))
    };
    let touched: BTreeSet<String> =
        prepared.changes.iter().filter(is_done).map(|change| change.table.clone()).collect();
    prepared.changes.extend(of_marts);
    if mode != Mode::Show {
        let failures = &mut prepared.refused.marts;
        marts::ensure(&mut transaction, &schema, &plan.marts, touched, failures).await?;
    }
    query::prepare_checks(&transaction, &schema, plan, &kinds, mode, &mut prepared).await?;
    if mode == Mode::Show {
        transaction.rollback().await.map_err(&doing)?;
    } else {
        transaction.commit().await.map_err(&doing)?;
    }
    Ok(prepared)
}

/// The statement that makes `raw_<source>` without rows, for what is only prepared.
pub(crate) fn create_raw(source: &Source) -> String {
    let columns: Vec<String> =
        source.raw_columns().map(|(name, kind)| format!("{} {kind}", ident(name))).collect();
    let table = ident(&format!("raw_{}", source.id));
    format!("create temporary table {table} ({}) on commit drop", columns.join(", "))
}

/// The statements that make `raw_<source>` for a fetch after the other: a view of `rows_<source>`, which has
/// what extraction writes, and of the one row of `fetch_of_<source>`, which has what is the same for all of
/// them. So it is neither sent nor stored with each row. All go with the transaction.
pub(crate) fn create_rows(source: &Source) -> [String; 3] {
    let [raw, rows, fetch] =
        ["raw", "rows", "fetch_of"].map(|word| ident(&format!("{word}_{}", source.id)));
    let defined = |columns: Vec<(&str, &str)>| {
        let columns = columns.into_iter().map(|(name, kind)| format!("{} {kind}", ident(name)));
        columns.collect::<Vec<_>>().join(", ")
    };
    let is_written = |name: &str| source.row_columns().any(|(written, _)| written == name);
    let of_fetch = source.raw_columns().filter(|(name, _)| !is_written(name)).collect();
    let shown = source.raw_columns().map(|(name, _)| match ident(name) {
        name_quoted if is_written(name) => name_quoted,
        // Asked once for all rows.
        name_quoted => format!("(select {name_quoted} from {fetch}) as {name_quoted}"),
    });
    [
        format!(
            "create temporary table {rows} ({}) on commit drop",
            defined(source.row_columns().collect())
        ),
        format!("create temporary table {fetch} ({}) on commit drop", defined(of_fetch)),
        format!(
            "create temporary view {raw} as select {} from {rows}",
            shown.collect::<Vec<_>>().join(", ")
        ),
    ]
}

/// `search_path` for the query of a mart: no temporary table stands before a curated one.
pub(crate) fn mart_search_path(schema: &str) -> String {
    format!("set local search_path = {}, pg_temp", ident(schema))
}

/// `search_path` for models and views: the temporary tables first, then the curated ones.
pub(crate) fn search_path(schema: &str) -> String {
    format!("set local search_path = pg_temp, {}", ident(schema))
}

async fn ensure_models(
    transaction: &mut Transaction<'_>,
    schema: &str,
    source: &Source,
    models: &[&Model],
    mode: Mode,
    changes: &mut Vec<Change>,
    kinds: &mut BTreeMap<String, Kinds>,
) -> Result<Result<(), Failure>, WarehouseError> {
    let doing = WarehouseError::statement("making the tables");
    transaction.batch_execute(&search_path(schema)).await.map_err(&doing)?;
    let wanted = match wanted_shapes(transaction, models).await? {
        Ok(wanted) => wanted,
        Err(failure) => return Ok(Err(failure)),
    };
    transaction.batch_execute(&create_raw(source)).await.map_err(&doing)?;
    for (model, wanted) in models.iter().zip(&wanted) {
        let known = known(transaction, model).await?;
        if let Err(failure) =
            ensure_table(transaction, schema, model, wanted, known.as_ref(), mode, changes).await?
        {
            return Ok(Err(failure));
        }
        let refused = check_query(transaction, model, &wanted.table).await?;
        if let Some(failure) = refused.into_iter().next() {
            return Ok(Err(failure));
        }
        kinds.insert(model.table.clone(), query::kinds_of(model, &wanted.table));
    }
    let table = ident(&format!("raw_{}", source.id));
    transaction.batch_execute(&format!("drop table pg_temp.{table}")).await.map_err(&doing)?;
    Ok(Ok(()))
}

/// The shapes a contract makes.
struct Wanted {
    table: Shape,
    history: Option<Shape>,
}

/// The shapes the contracts of one source make, found out by making them as temporary tables, which are
/// found first under their names, so that they can refer to each other.
async fn wanted_shapes(
    transaction: &mut Transaction<'_>,
    models: &[&Model],
) -> Result<Result<Vec<Wanted>, Failure>, WarehouseError> {
    let doing = WarehouseError::statement("making the contracts' shapes");
    let scratch = transaction.savepoint("shapes").await.map_err(&doing)?;
    let mut shapes = Vec::new();
    let mut failed = None;
    for model in models {
        let table = format!("pg_temp.{}", ident(&model.table));
        if let Err(failure) = make_table(&scratch, model, &table).await? {
            failed = Some(failure);
            break;
        }
        let mut wanted = Wanted { table: shape::read(&scratch, &table).await?, history: None };
        if model.history {
            let history = format!("pg_temp.{}", ident(&model.history_table()));
            if let Err(failure) = make_history(&scratch, "pg_temp", model).await? {
                failed = Some(failure);
                break;
            }
            wanted.history = Some(shape::read(&scratch, &history).await?);
        }
        shapes.push(wanted);
    }
    scratch.rollback().await.map_err(&doing)?;
    Ok(failed.map_or(Ok(shapes), Err))
}

/// Makes a table with its indexes and comments.
async fn make_table(
    transaction: &Transaction<'_>,
    model: &Model,
    table: &str,
) -> Result<Result<(), Failure>, WarehouseError> {
    let doing = WarehouseError::statement("making a table");
    let statement = create_table(model, table);
    if let Err(error) = transaction.batch_execute(&statement.text).await {
        // The statement has a column a line, from its second line on.
        let failure = Failure::of(error, &model.file, &statement.text, "", 0).map_err(&doing)?;
        let column = failure.line.checked_sub(1).and_then(|index| statement.columns.get(index));
        let line = column.map_or(model.columns_line, |column| column.line);
        return Ok(Err(Failure { line, ..failure }));
    }
    if let Err(error) = transaction.batch_execute(&comments(model, table)).await {
        return Err(doing(error));
    }
    for index in &model.indexes {
        let statement = create_index(index, table);
        if let Err(error) = transaction.batch_execute(&statement).await {
            let failure = Failure::of(error, &model.file, &statement, "", 0).map_err(&doing)?;
            return Ok(Err(Failure { line: index.line, ..failure }));
        }
    }
    defer_references(transaction, table).await?;
    Ok(Ok(()))
}

/// The statements that make an index and mark it as ours.
fn create_index(index: &Index, table: &str) -> String {
    let unique = if index.unique { "unique " } else { "" };
    let columns = list("", index.columns.iter().map(String::as_str));
    let condition = index.condition.as_ref().map(|text| format!(" where {text}"));
    let schema = table.rsplit_once('.').map_or("pg_temp", |(schema, _)| schema);
    let name = ident(&index.name);
    format!(
        "create {unique}index {name} on {table} ({columns}){};\n{}",
        condition.unwrap_or_default(),
        comment_on(&format!("index {schema}.{name}"), Some(shape::OUR_INDEX)),
    )
}

fn comments(model: &Model, table: &str) -> String {
    let of_table = model.description.iter().map(|text| (format!("table {table}"), text));
    let of_columns = model.columns.iter().filter_map(|column| {
        let place = format!("column {table}.{}", ident(&column.name));
        column.comment.as_ref().map(|text| (place, text))
    });
    let statements = of_table.chain(of_columns).map(|(place, text)| comment_on(&place, Some(text)));
    statements.collect::<Vec<_>>().join(";\n")
}

fn comment_on(place: &str, text: Option<&str>) -> String {
    let text = text.map_or("null".to_owned(), |text| format!("'{}'", text.replace('\'', "''")));
    format!("comment on {place} is {text}")
}

/// What the ledger knows of a table: what its contract was when it was last applied.
struct Known {
    columns: Vec<String>,
    write: String,
}

async fn known(
    transaction: &Transaction<'_>,
    model: &Model,
) -> Result<Option<Known>, WarehouseError> {
    let row = transaction
        .query_opt(
            "select column_names, write_mode from daymark.contract where table_name = $1",
            &[&model.table],
        )
        .await
        .map_err(WarehouseError::statement("reading the contracts"))?;
    Ok(row.map(|row| Known { columns: row.get(0), write: row.get(1) }))
}

/// Brings a table and its history to the contract, as far as the mode allows.
async fn ensure_table(
    transaction: &mut Transaction<'_>,
    schema: &str,
    model: &Model,
    wanted: &Wanted,
    known: Option<&Known>,
    mode: Mode,
    changes: &mut Vec<Change>,
) -> Result<Result<(), Failure>, WarehouseError> {
    let doing = WarehouseError::statement("reading the contracts");
    let table = qualified(schema, &model.table);
    let exists: bool = transaction
        .query_one("select to_regclass($1) is not null", &[&table])
        .await
        .map_err(&doing)?
        .get(0);
    match (exists, known) {
        (true, None) => {
            let message = format!("the table `{}` exists and is not daymark's", model.table);
            let hint =
                "rename that table or the model's; daymark never touches a table it did not make";
            return Ok(Err(Failure::new(&model.file, 0, message).hint(hint)));
        }
        (true, Some(known)) => {
            let needed = compare(transaction, model, &table, &wanted.table, known, false).await?;
            changes.extend(needed.iter().cloned());
            if mode != Mode::Show
                && let Err(failure) =
                    apply(transaction, schema, model, &table, &needed, mode).await?
            {
                return Ok(Err(failure));
            }
        }
        (false, None) => {
            let sql = create_table(model, &table).text;
            changes.push(Change::create(model, &model.table, sql));
            if mode != Mode::Show
                && let Err(failure) = make_table(transaction, model, &table).await?
            {
                return Ok(Err(failure));
            }
        }
        (false, Some(_)) => {
            // Making it anew would show an empty table for days the ledger calls published.
            let message = format!(
                "the table `{}` is gone, but the ledger says it holds published rows",
                model.table
            );
            let hint = "bring it back from a backup, or give the model a new table name";
            return Ok(Err(Failure::new(&model.file, 0, message).hint(hint)));
        }
    }
    if let Some(shape) = &wanted.history
        && let Err(failure) =
            ensure_history(transaction, schema, model, shape, known, mode, changes).await?
    {
        return Ok(Err(failure));
    }
    if mode == Mode::Show {
        return Ok(Ok(()));
    }
    let names: Vec<&str> = model.columns.iter().map(|column| column.name.as_str()).collect();
    let definitions: Vec<&str> =
        model.columns.iter().map(|column| column.definition.as_str()).collect();
    transaction
        .execute(
            "insert into daymark.contract
                 (table_name, source_file, key_columns, column_names, column_definitions, write_mode)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (table_name) do update
             set source_file = excluded.source_file, key_columns = excluded.key_columns,
                 column_names = excluded.column_names, column_definitions = excluded.column_definitions,
                 write_mode = excluded.write_mode",
            &[
                &model.table,
                &model.file,
                &model.key,
                &names,
                &definitions,
                &model.write.as_str(),
            ],
        )
        .await
        .map_err(&doing)?;
    Ok(Ok(()))
}

/// What would bring a table, or a history, to its contract.
async fn compare(
    transaction: &mut Transaction<'_>,
    model: &Model,
    table: &str,
    wanted: &Shape,
    known: &Known,
    is_history: bool,
) -> Result<Vec<Change>, WarehouseError> {
    let doing = WarehouseError::statement("comparing contracts");
    let found = shape::read(transaction, table).await?;
    // Whether the data date is part of the primary key cannot change; between the others what a fetch
    // does to the table changes from the next one on.
    if known.write != model.write.as_str()
        && [known.write.as_str(), model.write.as_str()].contains(&Write::Append.as_str())
    {
        return Ok((!is_history)
            .then(|| Change::of_write(model, &known.write))
            .into_iter()
            .collect());
    }
    let mut savepoint = transaction.savepoint("comparison").await.map_err(&doing)?;
    let comparison = Comparison {
        transaction: &mut savepoint,
        model,
        table,
        wanted,
        found: &found,
        known: &known.columns,
        is_history,
    };
    let changes = comparison.changes().await?;
    savepoint.rollback().await.map_err(&doing)?;
    Ok(changes)
}

/// Makes the history of a table, or has it follow the table's columns.
async fn ensure_history(
    transaction: &mut Transaction<'_>,
    schema: &str,
    model: &Model,
    wanted: &Shape,
    known: Option<&Known>,
    mode: Mode,
    changes: &mut Vec<Change>,
) -> Result<Result<(), Failure>, WarehouseError> {
    let name = model.history_table();
    let table = qualified(schema, &name);
    let found = transaction
        .query_one(
            "select to_regclass($1) is not null, obj_description(to_regclass($1), 'pg_class')",
            &[&table],
        )
        .await
        .map_err(WarehouseError::statement("reading the contracts"))?;
    let (exists, comment): (bool, Option<String>) = (found.get(0), found.get(1));
    if exists && comment.as_deref() != Some(comment_of_history(model).as_str()) {
        let message = format!("the table `{name}` exists and is not daymark's");
        let hint =
            "rename that table or the model's; daymark never touches a table it did not make";
        return Ok(Err(Failure::new(&model.file, 0, message).hint(hint)));
    }
    let Some(known) = known.filter(|_| exists) else {
        changes.push(Change::create(model, &name, create_history(schema, model)));
        if mode == Mode::Show {
            return Ok(Ok(()));
        }
        return make_history(transaction, schema, model).await;
    };
    let needed = compare(transaction, model, &table, wanted, known, true).await?;
    changes.extend(needed.iter().cloned());
    if mode == Mode::Show {
        return Ok(Ok(()));
    }
    apply(transaction, schema, model, &table, &needed, mode).await
}

/// The comment that tells a history of ours from a table of its name.
fn comment_of_history(model: &Model) -> String {
    format!("daymark's history of {}", model.table)
}

/// The statements that make the history of a table. The types are the table's own; what a fetch did not
/// say, of a row that is gone, is null.
fn create_history(schema: &str, model: &Model) -> String {
    let table = qualified(schema, &model.history_table());
    let of_table = qualified(schema, &model.table);
    let extra = extra_columns(model).into_iter().map(|(name, _)| name);
    let extra = extra.filter(|name| *name != "_data_date");
    let own = model.columns.iter().map(|column| column.name.as_str());
    let columns = list("", own.chain(extra));
    let system: Vec<String> = HISTORY_COLUMNS
        .iter()
        .map(|(name, kind)| format!("add column {} {kind}", ident(name)))
        .collect();
    let key = list("", model.key.iter().map(String::as_str));
    format!(
        "create table {table} as\nselect {columns}\nfrom {of_table} with no data;\n\
         alter table {table}\n{},\nadd primary key ({key}, _manifest_key);\n\
         comment on table {table} is {}",
        system.join(",\n"),
        literal(&comment_of_history(model)),
    )
}

async fn make_history(
    transaction: &Transaction<'_>,
    schema: &str,
    model: &Model,
) -> Result<Result<(), Failure>, WarehouseError> {
    let statement = create_history(schema, model);
    match transaction.batch_execute(&statement).await {
        Ok(()) => Ok(Ok(())),
        Err(error) => {
            let failure = Failure::of(error, &model.file, &statement, "", 0)
                .map_err(WarehouseError::statement("making a history"))?;
            Ok(Err(Failure { line: model.columns_line, ..failure }))
        }
    }
}

/// Makes a model's table and history for a fold in another schema. It has no references: what they refer
/// to may come with a later fetch, and the fold is only compared.
pub(crate) async fn make_scratch(
    transaction: &Transaction<'_>,
    schema: &str,
    model: &Model,
) -> Result<Result<(), Failure>, WarehouseError> {
    let doing = WarehouseError::statement("making a table to fold into");
    let table = qualified(schema, &model.table);
    let create = create_table(model, &table).text;
    transaction.batch_execute(&create).await.map_err(&doing)?;
    let references = transaction
        .query(
            "select conname::text from pg_constraint
             where conrelid = $1::text::regclass and contype = 'f'",
            &[&table],
        )
        .await
        .map_err(&doing)?;
    for row in references {
        let drop = format!("alter table {table} drop constraint {}", ident(row.get(0)));
        transaction.batch_execute(&drop).await.map_err(&doing)?;
    }
    if model.history { make_history(transaction, schema, model).await } else { Ok(Ok(())) }
}

/// A statement that has its first line to itself and then a column a line.
struct Definition<'m> {
    text: String,
    columns: Vec<&'m Column>,
}

fn create_table<'m>(model: &'m Model, table: &str) -> Definition<'m> {
    let own = model.columns.iter().map(define);
    let system = SYSTEM_COLUMNS.into_iter().chain(extra_columns(model));
    let system = system.map(|(name, kind)| format!("{} {kind}", ident(name)));
    let columns: Vec<String> = own.chain(system).collect();
    let key = list("", model.row_key());
    Definition {
        text: format!("create table {table} (\n{},\nprimary key ({key}))", columns.join(",\n")),
        columns: model.columns.iter().collect(),
    }
}

fn define(column: &Column) -> String {
    format!("{} {}", ident(&column.name), column.definition.replace('\n', " "))
}
