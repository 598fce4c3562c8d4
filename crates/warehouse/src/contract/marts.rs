//! Marts: views, and tables with the rows of their query, made and kept as the folder's files say.
//!
//! In: the folder's marts, in the order they can be made in. Out: views and tables, a note of each in the
//! ledger, and a [`Failure`] for each that PostgreSQL refuses. What did not change is left alone; a table
//! whose columns stay gets the difference of its rows. Deliberately absent: the rows of a publish
//! (`publish::marts`).

use std::collections::BTreeSet;

use daymark_plan::{Mart, Materialized, Plan};
use serde_json::json;
use tokio_postgres::Transaction;

use super::change::Change;
use super::{create_index, mart_search_path, search_path};
use crate::error::{Failure, WarehouseError, db_message};
use crate::publish::not_without;
use crate::refresh::{key_is_none, refresh};
use crate::sql::{ident, list, literal, qualified};

/// A mart the ledger knows.
struct Known {
    name: String,
    sql: String,
    kind: String,
    definition: String,
    refused: Option<String>,
    /// Whether its view or table is there.
    there: bool,
}

impl Known {
    fn is_table(&self) -> bool {
        self.kind == Materialized::Table.as_str()
    }

    /// Whether the file says what it said.
    fn is_as_in(&self, mart: &Mart) -> bool {
        self.name == mart.name
            && self.sql == mart.sql
            && self.kind == mart.materialized.as_str()
            && self.definition == definition(mart)
    }
}

/// All of a mart's file but its query that makes its view or table.
fn definition(mart: &Mart) -> String {
    json!({ "key": mart.key, "indexes": mart.indexes, "description": mart.description }).to_string()
}

async fn known(transaction: &Transaction<'_>, schema: &str) -> Result<Vec<Known>, WarehouseError> {
    let rows = transaction
        .query(
            "select view_name, sql, kind, definition, refused,
                    to_regclass(format('%I.%I', $1::text, view_name)) is not null
             from daymark.mart order by position",
            &[&schema],
        )
        .await
        .map_err(WarehouseError::statement("reading the marts"))?;
    let known = rows.iter().map(|row| Known {
        name: row.get(0),
        sql: row.get(1),
        kind: row.get(2),
        definition: row.get(3),
        refused: row.get(4),
        there: row.get(5),
    });
    Ok(known.collect())
}

/// Waits for publishes to end, where marts have rows that a publish writes as well. It comes before any
/// lock of a table that the publish may want.
pub(super) async fn lock(
    transaction: &Transaction<'_>,
    schema: &str,
    plan: &Plan,
) -> Result<(), WarehouseError> {
    let in_folder = plan.marts.iter().any(|mart| mart.materialized == Materialized::Table);
    if in_folder || known(transaction, schema).await?.iter().any(Known::is_table) {
        transaction
            .execute("select pg_advisory_xact_lock(hashtextextended('daymark:publish', 0))", &[])
            .await
            .map_err(WarehouseError::statement("waiting for a publish"))?;
    }
    Ok(())
}

/// What the files of the marts change.
pub(super) async fn changes(
    transaction: &Transaction<'_>,
    schema: &str,
    marts: &[Mart],
) -> Result<Vec<Change>, WarehouseError> {
    let known = known(transaction, schema).await?;
    let mut changes = Vec::new();
    for mart in marts {
        let kind = mart.materialized.as_str();
        let what = match known.iter().find(|known| known.name == mart.name) {
            None => format!("the new mart `{}`, a {kind}", mart.name),
            Some(known) if known.kind != kind => {
                format!("the mart `{}` becomes a {kind}; it was a {}", mart.name, known.kind)
            }
            Some(known) if known.sql != mart.sql => {
                format!("the query of the mart `{}` changed", mart.name)
            }
            Some(known) if !known.is_as_in(mart) => {
                format!("the key, indexes or description of the mart `{}` changed", mart.name)
            }
            Some(known) if known.refused.is_none() && !known.there => {
                format!("the {kind} of the mart `{}` is gone", mart.name)
            }
            Some(_) => continue,
        };
        changes.push(Change::of_mart(&mart.name, &mart.file, mart.sql_line, what, String::new()));
    }
    for gone in &known {
        if !marts.iter().any(|mart| mart.name == gone.name) {
            let file = format!("marts/{}.sql", gone.name);
            let what = format!("the mart `{}` is not in the folder any more", gone.name);
            changes.push(Change::of_mart(&gone.name, &file, 0, what, drop_statement(schema, gone)));
        }
    }
    Ok(changes)
}

fn drop_statement(schema: &str, mart: &Known) -> String {
    format!("drop {} if exists {}", mart.kind, qualified(schema, &mart.name))
}

/// Keeps the marts as their files say. Views depend on each other and on tables, so when anything changed
/// all views go and come; when nothing did, readers are left alone and only those PostgreSQL refused are
/// tried again. `touched` are the tables whose contracts changed just now.
pub(super) async fn ensure(
    transaction: &mut Transaction<'_>,
    schema: &str,
    marts: &[Mart],
    touched: BTreeSet<String>,
    failures: &mut Vec<Failure>,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("making the marts");
    let known = known(transaction, schema).await?;
    let mut same = known.len() == marts.len()
        && known.iter().zip(marts).all(|(known, mart)| {
            // A table of which a publish could not work out the rows is there all the same.
            known.is_as_in(mart)
                && if known.is_table() {
                    known.there || known.refused.is_some()
                } else {
                    known.there == known.refused.is_none()
                }
        });
    if same {
        for (known, mart) in known.iter().zip(marts) {
            if known.is_table() && known.there {
                same &= has_columns_of(transaction, schema, mart).await?;
            }
        }
    }
    let mut savepoint = transaction.savepoint("all_marts").await.map_err(&doing)?;
    let kept = Keeping { schema, marts, known: &known, same, changed: touched };
    match kept.all(&mut savepoint).await? {
        Ok(more) => {
            failures.extend(more);
            savepoint.commit().await.map_err(&doing)
        }
        // Somebody's own view may stand on it, or a reader may hold it: the old ones stay.
        Err(failure) => {
            failures.push(failure);
            savepoint.rollback().await.map_err(&doing)
        }
    }
}

/// The marts being kept.
struct Keeping<'k> {
    schema: &'k str,
    marts: &'k [Mart],
    known: &'k [Known],
    /// Whether the files say what they said and everything is there.
    same: bool,
    /// The tables and marts whose rows may not be those they were.
    changed: BTreeSet<String>,
}

impl Keeping<'_> {
    /// The inner error is one that leaves all marts as they were.
    async fn all(
        mut self,
        transaction: &mut Transaction<'_>,
    ) -> Result<Result<Vec<Failure>, Failure>, WarehouseError> {
        if !self.same {
            // Views first: they may stand on the tables.
            let views = self.known.iter().rev().filter(|known| !known.is_table());
            let tables = self.known.iter().filter(|known| {
                let stays = |mart: &Mart| {
                    mart.name == known.name && mart.materialized == Materialized::Table
                };
                known.is_table() && !self.marts.iter().any(stays)
            });
            let gone: Vec<&Known> = views.chain(tables).collect();
            for mart in gone {
                if let Some(failure) = self.drop(transaction, mart).await? {
                    return Ok(Err(failure));
                }
            }
        }
        let mut failures = Vec::new();
        let mut failed = BTreeSet::new();
        for (position, mart) in (0_i32..).zip(self.marts) {
            let known = self
                .known
                .iter()
                .find(|known| known.name == mart.name && known.kind == mart.materialized.as_str());
            let done = match mart.materialized {
                Materialized::View => self.view(transaction, mart, known).await?,
                Materialized::Table => match self.table(transaction, mart, known, &failed).await? {
                    Ok(done) => done,
                    Err(failure) => return Ok(Err(failure)),
                },
            };
            let is_noted = self.same && matches!(done, Done::Nothing);
            let refused = match done {
                Done::Nothing => known.and_then(|known| known.refused.clone()),
                Done::Made => None,
                Done::Failed(failure) => {
                    let refused = failure.with_hint();
                    failures.push(failure);
                    Some(refused)
                }
            };
            if refused.is_some() {
                failed.insert(mart.name.clone());
            }
            if !is_noted {
                note(transaction, position, mart, refused.as_deref()).await?;
            }
        }
        Ok(Ok(failures))
    }

    /// Drops a mart and forgets it. Gives why it cannot be.
    async fn drop(
        &self,
        transaction: &Transaction<'_>,
        mart: &Known,
    ) -> Result<Option<Failure>, WarehouseError> {
        let doing = WarehouseError::statement("dropping a mart");
        let statement = drop_statement(self.schema, mart);
        if let Err(error) = transaction.batch_execute(&statement).await {
            let Some(db) = error.as_db_error() else { return Err(doing(error)) };
            let file = self.marts.iter().find(|known| known.name == mart.name);
            let file = file.map_or("marts", |mart| mart.file.as_str());
            let message =
                format!("the {} `{}` cannot be replaced: {}", mart.kind, mart.name, db_message(db));
            return Ok(Some(Failure::new(file, 0, message)));
        }
        transaction
            .execute("delete from daymark.mart where view_name = $1", &[&mart.name])
            .await
            .map_err(&doing)?;
        Ok(None)
    }

    async fn view(
        &mut self,
        transaction: &mut Transaction<'_>,
        mart: &Mart,
        known: Option<&Known>,
    ) -> Result<Done, WarehouseError> {
        let was_there = known.is_some_and(|known| known.there && known.sql == mart.sql);
        // Through a view, what it reads is read by those above it.
        if !was_there || mart.reads.keys().any(|name| self.changed.contains(name)) {
            self.changed.insert(mart.name.clone());
        }
        if self.same && was_there {
            return Ok(Done::Nothing);
        }
        create(transaction, self.schema, mart, &search_path(self.schema)).await
    }

    /// Makes a table, or brings the one that is there to its query's rows. The inner error is one that
    /// leaves all marts as they were.
    async fn table(
        &mut self,
        transaction: &mut Transaction<'_>,
        mart: &Mart,
        known: Option<&Known>,
        failed: &BTreeSet<String>,
    ) -> Result<Result<Done, Failure>, WarehouseError> {
        if let Some(known) = known.filter(|known| known.there) {
            let stays = known.definition == definition(mart)
                && has_columns_of(transaction, self.schema, mart).await?;
            if stays {
                let is_read = |name: &String| self.changed.contains(name);
                if known.sql == mart.sql && !mart.reads.keys().any(is_read) {
                    return Ok(Ok(Done::Nothing));
                }
                self.changed.insert(mart.name.clone());
                if let Some(failure) = not_without(mart, failed) {
                    return Ok(Ok(Done::Failed(failure)));
                }
                let done = refresh(transaction, self.schema, mart, true).await?;
                return Ok(Ok(done.map_or_else(Done::Failed, |_| Done::Made)));
            }
            if let Some(failure) = self.drop(transaction, known).await? {
                return Ok(Err(failure));
            }
        }
        self.changed.insert(mart.name.clone());
        create(transaction, self.schema, mart, &mart_search_path(self.schema)).await.map(Ok)
    }
}

/// What was done about a mart.
enum Done {
    Nothing,
    Made,
    Failed(Failure),
}

/// Makes one view or table, or says why PostgreSQL refuses it.
async fn create(
    transaction: &mut Transaction<'_>,
    schema: &str,
    mart: &Mart,
    path: &str,
) -> Result<Done, WarehouseError> {
    let doing = WarehouseError::statement("making a mart");
    let savepoint = transaction.savepoint("one_mart").await.map_err(&doing)?;
    savepoint.batch_execute(path).await.map_err(&doing)?;
    let failure = create_within(&savepoint, schema, mart).await?;
    match failure {
        None => {
            savepoint.batch_execute(&search_path(schema)).await.map_err(&doing)?;
            savepoint.commit().await.map_err(&doing)?;
            Ok(Done::Made)
        }
        Some(failure) => {
            savepoint.rollback().await.map_err(&doing)?;
            Ok(Done::Failed(failure))
        }
    }
}

async fn create_within(
    transaction: &Transaction<'_>,
    schema: &str,
    mart: &Mart,
) -> Result<Option<Failure>, WarehouseError> {
    let doing = WarehouseError::statement("making a mart");
    let name = qualified(schema, &mart.name);
    let kind = mart.materialized.as_str();
    let prefix = format!("create {kind} {name} as ");
    let statement = format!("{prefix}{}", mart.sql);
    if let Err(error) = transaction.batch_execute(&statement).await {
        return Failure::of(error, &mart.file, &statement, &prefix, mart.sql_line)
            .map(Some)
            .map_err(&doing);
    }
    let description = literal(mart.description.as_deref().unwrap_or_default());
    let statement = format!("comment on {kind} {name} is {description}");
    transaction.batch_execute(&statement).await.map_err(&doing)?;
    if mart.materialized == Materialized::View {
        return Ok(None);
    }
    if let Some(failure) = key_is_none(transaction, mart, &name).await? {
        return Ok(Some(failure));
    }
    let mut statements = Vec::new();
    if !mart.key.is_empty() {
        let key = list("", mart.key.iter().map(String::as_str));
        statements.push((format!("alter table {name} add primary key ({key})"), mart.key_line));
    }
    statements.extend(mart.indexes.iter().map(|index| (create_index(index, &name), index.line)));
    statements.push((format!("analyze {name}"), 0));
    for (statement, line) in statements {
        if let Err(error) = transaction.batch_execute(&statement).await {
            let failure = Failure::of(error, &mart.file, &statement, "", 0).map_err(&doing)?;
            return Ok(Some(Failure { line, ..failure }));
        }
    }
    Ok(None)
}

/// Whether a mart's table has the columns that its query yields. One that PostgreSQL refuses yields none.
async fn has_columns_of(
    transaction: &mut Transaction<'_>,
    schema: &str,
    mart: &Mart,
) -> Result<bool, WarehouseError> {
    let doing = WarehouseError::statement("comparing a mart with its table");
    let savepoint = transaction.savepoint("columns").await.map_err(&doing)?;
    savepoint.batch_execute(&mart_search_path(schema)).await.map_err(&doing)?;
    let prepared = savepoint.prepare(&format!("select * from ({}\n) as mart", mart.sql)).await;
    savepoint.rollback().await.map_err(&doing)?;
    let yielded: Vec<(String, u32, i32)> = match prepared {
        Ok(prepared) => prepared
            .columns()
            .iter()
            .map(|column| (column.name().to_owned(), column.type_().oid(), column.type_modifier()))
            .collect(),
        Err(error) if error.as_db_error().is_some() => return Ok(false),
        Err(error) => return Err(doing(error)),
    };
    let rows = transaction
        .query(
            "select attname::text, atttypid, atttypmod from pg_attribute
             where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum",
            &[&format!("{}.{}", ident(schema), ident(&mart.name))],
        )
        .await
        .map_err(&doing)?;
    let found: Vec<(String, u32, i32)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    Ok(yielded == found)
}

/// Takes note of a mart, and of PostgreSQL's refusal.
async fn note(
    transaction: &Transaction<'_>,
    position: i32,
    mart: &Mart,
    refused: Option<&str>,
) -> Result<(), WarehouseError> {
    transaction
        .execute(
            "insert into daymark.mart (view_name, position, sql, refused, kind, definition)
             values ($1, $2, $3, $4, $5, $6)
             on conflict (view_name) do update
             set position = excluded.position, sql = excluded.sql, refused = excluded.refused,
                 kind = excluded.kind, definition = excluded.definition",
            &[
                &mart.name,
                &position,
                &mart.sql,
                &refused,
                &mart.materialized.as_str(),
                &definition(mart),
            ],
        )
        .await
        .map_err(WarehouseError::statement("taking note of a mart"))?;
    Ok(())
}
