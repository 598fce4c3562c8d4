//! Contracts: the tables and views of the folder, made and kept in PostgreSQL.
//!
//! In: the plan. Out: tables as the models' `[columns]` say, views as the marts say, and a
//! [`Failure`] for each file PostgreSQL refuses. Runs before a publish in its own short transaction
//! with a lock timeout. Deliberately absent: changes of a table that are not additive; they are
//! refused here and come with `daymark plan` (a later issue).

use std::collections::BTreeMap;

use daymark_plan::{Column, Mart, Model, Plan, Source, SourceId, Write};
use tokio_postgres::Transaction;

use crate::error::{Failure, WarehouseError, db_message};
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

/// Makes and keeps the folder's tables and views.
pub async fn ensure(session: &mut Session, plan: &Plan) -> Result<Refused, WarehouseError> {
    let schema = session.schema().to_owned();
    let doing = WarehouseError::statement("making the tables");
    let mut transaction = session.client().transaction().await.map_err(&doing)?;
    // One process at a time makes tables; then each waits for readers and writers ten seconds at most.
    transaction
        .execute("select pg_advisory_xact_lock(hashtextextended('daymark:contracts', 0))", &[])
        .await
        .map_err(&doing)?;
    transaction.batch_execute("set local lock_timeout = '10s'").await.map_err(&doing)?;
    let mut refused = Refused::default();
    for source in &plan.sources {
        let models: Vec<&Model> = plan.models_of(&source.id).collect();
        let mut savepoint = transaction.savepoint("one_source").await.map_err(&doing)?;
        match ensure_models(&mut savepoint, &schema, source, &models).await? {
            Ok(()) => savepoint.commit().await.map_err(&doing)?,
            Err(failure) => {
                savepoint.rollback().await.map_err(&doing)?;
                refused.sources.insert(source.id.clone(), failure);
            }
        }
    }
    ensure_marts(&mut transaction, &schema, &plan.marts, &mut refused.marts).await?;
    transaction.commit().await.map_err(&doing)?;
    Ok(refused)
}

/// The statement that makes the temporary table of a source's rows.
pub(crate) fn create_raw(source: &Source) -> String {
    let columns: Vec<String> =
        source.raw_columns().map(|(name, kind)| format!("{} {kind}", ident(name))).collect();
    let table = ident(&format!("raw_{}", source.id));
    format!("create temporary table {table} ({}) on commit drop", columns.join(", "))
}

/// `search_path` for models and marts: the temporary tables first, then the curated ones.
pub(crate) fn search_path(schema: &str) -> String {
    format!("set local search_path = pg_temp, {}", ident(schema))
}

async fn ensure_models(
    transaction: &mut Transaction<'_>,
    schema: &str,
    source: &Source,
    models: &[&Model],
) -> Result<Result<(), Failure>, WarehouseError> {
    let doing = WarehouseError::statement("making the tables");
    transaction.batch_execute(&search_path(schema)).await.map_err(&doing)?;
    transaction.batch_execute(&create_raw(source)).await.map_err(&doing)?;
    for model in models {
        if let Err(failure) = ensure_table(transaction, schema, model).await? {
            return Ok(Err(failure));
        }
        if model.history
            && let Err(failure) = ensure_history(transaction, schema, model).await?
        {
            return Ok(Err(failure));
        }
        if let Err(failure) = check_query(transaction, schema, model).await? {
            return Ok(Err(failure));
        }
    }
    let table = ident(&format!("raw_{}", source.id));
    transaction.batch_execute(&format!("drop table pg_temp.{table}")).await.map_err(&doing)?;
    Ok(Ok(()))
}

/// What the ledger knows of a table.
struct Known {
    key: Vec<String>,
    columns: BTreeMap<String, String>,
    write: String,
}

async fn ensure_table(
    transaction: &Transaction<'_>,
    schema: &str,
    model: &Model,
) -> Result<Result<(), Failure>, WarehouseError> {
    let doing = WarehouseError::statement("reading the contracts");
    let table = qualified(schema, &model.table);
    let exists: bool = transaction
        .query_one("select to_regclass($1) is not null", &[&table])
        .await
        .map_err(&doing)?
        .get(0);
    let known = transaction
        .query_opt(
            "select key_columns, column_names, column_definitions, write_mode
             from daymark.contract where table_name = $1",
            &[&model.table],
        )
        .await
        .map_err(&doing)?
        .map(|row| Known {
            key: row.get(0),
            columns: row
                .get::<_, Vec<String>>(1)
                .into_iter()
                .zip(row.get::<_, Vec<String>>(2))
                .collect(),
            write: row.get(3),
        });
    let statement = match (exists, known) {
        (true, None) => {
            let message = format!("the table `{}` exists and is not daymark's", model.table);
            let hint =
                "rename that table or the model's; daymark never touches a table it did not make";
            return Ok(Err(Failure::new(&model.file, 0, message).hint(hint)));
        }
        (true, Some(known)) => match additions(model, &known) {
            Ok(added) => {
                let system = missing(transaction, &table, &extra_columns(model)).await?;
                if added.is_empty() && system.is_empty() && known.write == model.write.as_str() {
                    return Ok(Ok(()));
                }
                alter_table(&added, &system, &table)
            }
            Err(failure) => return Ok(Err(failure)),
        },
        (false, None) => create_table(model, &table),
        (false, Some(_)) => {
            // Making it anew would show an empty table for days the ledger calls published.
            let message = format!(
                "the table `{}` is gone, but the ledger says it holds published rows",
                model.table
            );
            let hint = "bring it back from a backup, or give the model a new table name";
            return Ok(Err(Failure::new(&model.file, 0, message).hint(hint)));
        }
    };
    let executed = match statement.text.as_str() {
        "" => Ok(()),
        text => transaction.batch_execute(text).await,
    };
    if let Err(error) = executed {
        // The statement has a column a line, from its second line on.
        let failure = Failure::of(error, &model.file, &statement.text, "", 0)
            .map_err(WarehouseError::statement("making a table"))?;
        let column = failure.line.checked_sub(1).and_then(|index| statement.columns.get(index));
        let line = column.map_or(model.columns_line, |column| column.line);
        return Ok(Err(Failure { line, ..failure }));
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

/// A statement that has its first line to itself and then a column a line.
pub(crate) struct Definition<'m> {
    pub(crate) text: String,
    columns: Vec<&'m Column>,
}

pub(crate) fn create_table<'m>(model: &'m Model, table: &str) -> Definition<'m> {
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

fn alter_table<'m>(added: &[&'m Column], system: &[(&str, &str)], table: &str) -> Definition<'m> {
    let own = added.iter().map(|column| format!("add column {}", define(column)));
    let system = system.iter().map(|(name, kind)| format!("add column {} {kind}", ident(name)));
    let columns: Vec<String> = own.chain(system).collect();
    let text = match columns.as_slice() {
        [] => String::new(),
        columns => format!("alter table {table}\n{}", columns.join(",\n")),
    };
    Definition { text, columns: added.to_vec() }
}

/// Those of some columns that a table lacks.
async fn missing<'c>(
    transaction: &Transaction<'_>,
    table: &str,
    columns: &[(&'c str, &'c str)],
) -> Result<Vec<(&'c str, &'c str)>, WarehouseError> {
    let rows = transaction
        .query(
            "select attname::text from pg_attribute
             where attrelid = $1::text::regclass and attnum > 0 and not attisdropped",
            &[&table],
        )
        .await
        .map_err(WarehouseError::statement("reading the contracts"))?;
    let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(columns
        .iter()
        .filter(|(name, _)| !found.iter().any(|known| known == name))
        .copied()
        .collect())
}

/// Makes the history of a table, or gives it the columns the table got.
pub(crate) async fn ensure_history(
    transaction: &Transaction<'_>,
    schema: &str,
    model: &Model,
) -> Result<Result<(), Failure>, WarehouseError> {
    let doing = WarehouseError::statement("making a history");
    let name = model.history_table();
    let table = qualified(schema, &name);
    let ours = format!("daymark's history of {}", model.table);
    let found = transaction
        .query_one(
            "select to_regclass($1) is not null, obj_description(to_regclass($1), 'pg_class')",
            &[&table],
        )
        .await
        .map_err(&doing)?;
    let (exists, comment): (bool, Option<String>) = (found.get(0), found.get(1));
    if exists && comment.as_deref() != Some(ours.as_str()) {
        let message = format!("the table `{name}` exists and is not daymark's");
        let hint =
            "rename that table or the model's; daymark never touches a table it did not make";
        return Ok(Err(Failure::new(&model.file, 0, message).hint(hint)));
    }
    // The types are the table's own; what a fetch did not say, of a row that is gone, is null.
    let of_table = qualified(schema, &model.table);
    let statement = if exists {
        let types = transaction
            .query(
                "select attname::text, format_type(atttypid, atttypmod) from pg_attribute
                 where attrelid = $1::text::regclass and attnum > 0 and not attisdropped",
                &[&of_table],
            )
            .await
            .map_err(&doing)?;
        let types: Vec<(String, String)> =
            types.iter().map(|row| (row.get(0), row.get(1))).collect();
        let wanted = |name: &str| {
            model.columns.iter().any(|column| column.name == name)
                || extra_columns(model).iter().any(|(extra, _)| *extra == name)
        };
        let wanted: Vec<(&str, &str)> = types
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, kind)| (name.as_str(), kind.as_str()))
            .collect();
        let lacking = missing(transaction, &table, &wanted).await?;
        match alter_table(&[], &lacking, &table).text {
            text if text.is_empty() => return Ok(Ok(())),
            text => text,
        }
    } else {
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
            "create table {table} as select {columns} from {of_table} with no data;
             alter table {table} {}, add primary key ({key}, _manifest_key);
             comment on table {table} is {}",
            system.join(", "),
            literal(&ours),
        )
    };
    match transaction.batch_execute(&statement).await {
        Ok(()) => Ok(Ok(())),
        Err(error) => {
            let failure = Failure::of(error, &model.file, &statement, "", 0).map_err(&doing)?;
            Ok(Err(Failure { line: model.columns_line, ..failure }))
        }
    }
}

fn define(column: &Column) -> String {
    format!("{} {}", ident(&column.name), column.definition.replace('\n', " "))
}

/// The columns to add to bring a table to its contract.
fn additions<'m>(model: &'m Model, known: &Known) -> Result<Vec<&'m Column>, Failure> {
    let refuse = |line: usize, message: String| {
        Failure::new(&model.file, line, message).hint(
            "only new nullable columns are added by themselves; for anything else give the model a new \
             table name",
        )
    };
    // Whether the data date is part of the primary key cannot change; between the others what a fetch
    // does to the table changes from the next one on.
    if known.write != model.write.as_str()
        && [known.write.as_str(), model.write.as_str()].contains(&"append")
    {
        let message =
            format!("`write` changed from `{}` to `{}`", known.write, model.write.as_str());
        return Err(refuse(model.columns_line, message));
    }
    if known.key != model.key {
        let message = format!(
            "the key changed from ({}) to ({})",
            known.key.join(", "),
            model.key.join(", ")
        );
        return Err(refuse(model.columns_line, message));
    }
    for name in known.columns.keys() {
        if !model.columns.iter().any(|column| column.name == *name) {
            let message = format!(
                "the table `{}` has the column `{name}`, which the contract lacks",
                model.table
            );
            return Err(refuse(model.columns_line, message));
        }
    }
    let mut added = Vec::new();
    for column in &model.columns {
        match known.columns.get(&column.name) {
            Some(definition) if *definition == column.definition => {}
            Some(definition) => {
                let message = format!(
                    "the column `{}` changed from `{definition}` to `{}`",
                    column.name, column.definition
                );
                return Err(refuse(column.line, message));
            }
            None if column.definition.to_lowercase().contains("not null") => {
                let message = format!("the new column `{}` is `not null`", column.name);
                return Err(refuse(column.line, message));
            }
            None => added.push(column),
        }
    }
    Ok(added)
}

/// Has PostgreSQL parse and type the model's query over empty rows, and compares its columns with the
/// contract's.
async fn check_query(
    transaction: &Transaction<'_>,
    schema: &str,
    model: &Model,
) -> Result<Result<(), Failure>, WarehouseError> {
    let doing = WarehouseError::statement("preparing a model");
    let prefix = "select * from (";
    let statement = format!("{prefix}{}\n) as model", model.sql);
    let prepared = match transaction.prepare(&statement).await {
        Ok(prepared) => prepared,
        Err(error) => {
            return Failure::of(error, &model.file, &statement, prefix, model.sql_line)
                .map(Err)
                .map_err(&doing);
        }
    };
    if !prepared.params().is_empty() {
        let message = "the query has parameters such as `$1`, and a model takes none";
        let hint = "the day a fetch is for is the column `_data_date`";
        return Ok(Err(Failure::new(&model.file, model.sql_line, message).hint(hint)));
    }
    let found: Vec<&str> = prepared.columns().iter().map(tokio_postgres::Column::name).collect();
    let contract: Vec<&str> = model.columns.iter().map(|column| column.name.as_str()).collect();
    for name in &found {
        if !contract.contains(name) && !["_fetch_id", "_fetch_row"].contains(name) {
            let message = format!("the query yields the column `{name}`, which the contract lacks");
            let hint = format!(
                "add it to `[columns]` or leave it out of the query; {}",
                daymark_plan::did_you_mean(name, contract.iter().copied())
            );
            return Ok(Err(Failure::new(&model.file, model.sql_line, message).hint(hint)));
        }
    }
    for column in &model.columns {
        if !found.contains(&column.name.as_str()) {
            let message = format!("the query yields no column `{}`", column.name);
            let hint = daymark_plan::did_you_mean(&column.name, found.iter().copied());
            return Ok(Err(Failure::new(&model.file, column.line, message).hint(hint)));
        }
    }
    for name in ["_fetch_id", "_fetch_row"] {
        if !found.contains(&name) {
            let message =
                format!("the query yields no `{name}`, so a row could not name where it came from");
            let hint = format!("select `_fetch_id, _fetch_row` from raw_{}", model.source);
            return Ok(Err(Failure::new(&model.file, model.sql_line, message).hint(hint)));
        }
    }
    // An insert types each column against the table's.
    let table = qualified(schema, &model.table);
    let columns = list("", contract.iter().copied());
    let prefix = format!("insert into {table} ({columns}) select {columns} from (");
    let statement = format!("{prefix}{}\n) as model", model.sql);
    if let Err(error) = transaction.prepare(&statement).await {
        return Failure::of(error, &model.file, &statement, &prefix, model.sql_line)
            .map(Err)
            .map_err(&doing);
    }
    let Some(settled) = &model.settled else { return Ok(Ok(())) };
    let prefix = "select (";
    let statement = format!(
        "{prefix}{})::boolean from (select model.*, null::date as _data_date, \
         null::timestamptz as _fetched_at from ({}\n) as model) as model",
        settled.sql, model.sql
    );
    match transaction.prepare(&statement).await {
        Ok(_) => Ok(Ok(())),
        Err(error) => Failure::of(error, &model.file, &statement, prefix, settled.line)
            .map(|failure| {
                Err(Failure { message: format!("`settled`: {}", failure.message), ..failure })
            })
            .map_err(&doing),
    }
}

/// A mart the ledger knows.
struct KnownMart {
    name: String,
    sql: String,
    /// Whether PostgreSQL took it.
    taken: bool,
    /// Whether its view is there.
    there: bool,
}

/// Keeps the marts' views as their files say. Views depend on each other, so when one changed all go
/// and come; when none did, readers are left alone and only those PostgreSQL refused are tried again.
async fn ensure_marts(
    transaction: &mut Transaction<'_>,
    schema: &str,
    marts: &[Mart],
    failures: &mut Vec<Failure>,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("making the marts");
    let known: Vec<KnownMart> = transaction
        .query(
            "select view_name, sql, refused is null, to_regclass(format('%I.%I', $1::text, view_name)) is not null
             from daymark.mart order by position",
            &[&schema],
        )
        .await
        .map_err(&doing)?
        .iter()
        .map(|row| KnownMart { name: row.get(0), sql: row.get(1), taken: row.get(2), there: row.get(3) })
        .collect();
    let same = known.len() == marts.len()
        && known.iter().zip(marts).all(|(known, mart)| {
            known.name == mart.name && known.sql == mart.sql && known.taken == known.there
        });
    let mut savepoint = transaction.savepoint("all_marts").await.map_err(&doing)?;
    if !same {
        for mart in known.iter().rev() {
            let statement = format!("drop view if exists {}", qualified(schema, &mart.name));
            if let Err(error) = savepoint.batch_execute(&statement).await {
                // Somebody's own view may stand on it, or a reader may hold it: the old ones stay.
                let Some(db) = error.as_db_error() else { return Err(doing(error)) };
                let file = marts.iter().find(|known| known.name == mart.name);
                let file = file.map_or("marts", |mart| mart.file.as_str());
                let message =
                    format!("the view `{}` cannot be replaced: {}", mart.name, db_message(db));
                failures.push(Failure::new(file, 0, message));
                return savepoint.rollback().await.map_err(&doing);
            }
        }
        savepoint.execute("delete from daymark.mart", &[]).await.map_err(&doing)?;
    }
    for (position, mart) in (0_i32..).zip(marts) {
        let taken = known.iter().any(|known| known.name == mart.name && known.taken);
        if !(same && taken) {
            failures.extend(create_mart(&mut savepoint, schema, position, mart).await?);
        }
    }
    savepoint.commit().await.map_err(&doing)
}

/// Makes one view and takes note of it, or of PostgreSQL's refusal.
async fn create_mart(
    transaction: &mut Transaction<'_>,
    schema: &str,
    position: i32,
    mart: &Mart,
) -> Result<Option<Failure>, WarehouseError> {
    let doing = WarehouseError::statement("making a mart");
    let savepoint = transaction.savepoint("one_mart").await.map_err(&doing)?;
    savepoint.batch_execute(&search_path(schema)).await.map_err(&doing)?;
    let view = qualified(schema, &mart.name);
    let prefix = format!("create view {view} as ");
    let statement = format!("{prefix}{}", mart.sql);
    let failure = match savepoint.batch_execute(&statement).await {
        Ok(()) => {
            let description = mart.description.as_deref().unwrap_or_default().replace('\'', "''");
            let statement = format!("comment on view {view} is '{description}'");
            savepoint.batch_execute(&statement).await.map_err(&doing)?;
            savepoint.commit().await.map_err(&doing)?;
            None
        }
        Err(error) => {
            savepoint.rollback().await.map_err(&doing)?;
            Some(
                Failure::of(error, &mart.file, &statement, &prefix, mart.sql_line)
                    .map_err(&doing)?,
            )
        }
    };
    transaction
        .execute(
            "insert into daymark.mart (view_name, position, sql, refused) values ($1, $2, $3, $4)
             on conflict (view_name) do update set refused = excluded.refused",
            &[&mart.name, &position, &mart.sql, &failure.as_ref().map(Failure::with_hint)],
        )
        .await
        .map_err(&doing)?;
    Ok(failure)
}
