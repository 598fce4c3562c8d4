//! Why a row is as it is: what the database knows of where it came from.
//!
//! In: a model and the values of its key. Out: an [`Origin`]: the row, the publish that wrote it and by
//! which words, the manifest of the fetch that said it, and what was said before. Deliberately absent: the
//! raw store; `daymark why` goes on there with the manifest's key and the row's number.

use daymark_plan::Model;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::contract::search_path;
use crate::error::{WarehouseError, db_message};
use crate::reader::{Reader, STATEMENT_TIMEOUT};
use crate::sql::{ident, literal, qualified};

/// How many earlier values are told.
const RESTATEMENTS: i64 = 50;

/// A published row and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Origin {
    /// The table.
    pub table: String,
    /// The row's columns in the order of the contract, as PostgreSQL writes them; null is `None`.
    pub row: Vec<(String, Option<String>)>,
    /// Which data date's row it is, in a table that keeps one of each (`write = "append"`).
    pub data_date: Option<Date>,
    /// Whether it is final; none for a model that does not say when a row is.
    pub settled: Option<bool>,
    /// How many other rows have this key: those of other data dates.
    pub others: usize,
    /// The fetch that said it.
    pub fetch_id: String,
    /// The row's number in that fetch, over all pages.
    pub fetch_row: i64,
    /// The manifest of that fetch; none when the ledger does not know it any more.
    pub manifest_key: Option<String>,
    /// The publish that wrote the row as it is.
    pub publish: WrittenBy,
    /// What the table's checks said of the fetch when its rows were published.
    pub checks: Vec<Asked>,
    /// What readers were shown before, newest first.
    pub restatements: Vec<Restated>,
}

/// A check that the fetch of a row went through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// Its name.
    pub check: String,
    /// What would follow: `block`, `reject` or `warn`.
    pub severity: String,
    /// What it came to: `passed`, `failed` (rows were found, which stopped nothing or were set aside),
    /// `released` or `error`.
    pub outcome: String,
    /// The rows it found.
    pub failing: i64,
    /// What PostgreSQL said, or who decided.
    pub reason: Option<String>,
}

/// The publish that wrote a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrittenBy {
    /// Its id.
    pub publish_id: i64,
    /// When it was made.
    pub published_at: Option<Timestamp>,
    /// The run that made it.
    pub run_id: Option<String>,
    /// Why that was started: `manual`, `scheduled`, `catch_up` or `rebuild`.
    pub run_kind: Option<String>,
    /// The instant it was scheduled for.
    pub scheduled_at: Option<Timestamp>,
    /// The version of daymark.
    pub program_version: Option<String>,
    /// The model's file.
    pub model_file: Option<String>,
    /// The SHA-256 of the model's file, as it was then.
    pub model_sha256: Option<String>,
    /// The SHA-256 of the source's file, as it was then.
    pub source_sha256: Option<String>,
    /// The SHA-256 of the model's file by which a rebuild has found the row to be as it is, if one has since.
    pub rebuilt_model_sha256: Option<String>,
}

/// A change of what readers had been shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Restated {
    /// The publish that changed it.
    pub publish_id: i64,
    /// When.
    pub at: Timestamp,
    /// `changed`, `deleted` or `returned`.
    pub kind: String,
    /// The column, of a changed value; otherwise the values are the whole row.
    pub column: Option<String>,
    /// What it was.
    pub old: Option<Value>,
    /// What it became.
    pub new: Option<Value>,
    /// The manifest of the fetch that had said the old one.
    pub old_manifest: Option<String>,
    /// The manifest of the fetch that said the new one.
    pub new_manifest: Option<String>,
}

/// There is no such row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NoRow {
    /// How rows of this key went, newest first: it may have been deleted.
    pub restatements: Vec<Restated>,
    /// The keys of some rows that are there, as examples.
    pub examples: Vec<Vec<Option<String>>>,
}

/// Why a row could not be looked for.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// A value of the key is not of its column's type.
    #[error("`{value}` is no value of the key's column `{column}` ({kind}): {message}")]
    BadKey {
        /// The column.
        column: String,
        /// Its type.
        kind: String,
        /// The value.
        value: String,
        /// What PostgreSQL said.
        message: String,
    },
    /// The table is not there yet.
    #[error("the table `{table}` is not there yet")]
    NoTable {
        /// The table.
        table: String,
    },
    /// The database could not be asked.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
}

impl Reader {
    /// Where the row of `model` with this key (a text for each of the key's columns, in their order) came
    /// from. Of several, in a table that keeps one of each data date, it is the newest, or that of
    /// `data_date`.
    pub async fn why(
        &self,
        model: &Model,
        key: &[String],
        data_date: Option<Date>,
    ) -> Result<Result<Origin, NoRow>, WhyError> {
        let doing = WarehouseError::statement("looking for a row's origin");
        let mut session = self.warehouse.session("reading").await?;
        let schema = session.schema().to_owned();
        let transaction = session
            .client()
            .build_transaction()
            .read_only(true)
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .start()
            .await
            .map_err(&doing)?;
        transaction.batch_execute(STATEMENT_TIMEOUT).await.map_err(&doing)?;
        transaction.batch_execute(&search_path(&schema)).await.map_err(&doing)?;
        let found = Wanted { transaction: &transaction, schema: &schema, model, key, data_date };
        let found = found.answer().await;
        transaction.rollback().await.map_err(&doing)?;
        found
    }
}

/// A row that is asked for.
struct Wanted<'a> {
    transaction: &'a Transaction<'a>,
    schema: &'a str,
    model: &'a Model,
    key: &'a [String],
    data_date: Option<Date>,
}

impl Wanted<'_> {
    async fn answer(&self) -> Result<Result<Origin, NoRow>, WhyError> {
        let doing = WarehouseError::statement("looking for a row's origin");
        let table = qualified(self.schema, &self.model.table);
        let types = self.key_types(&table).await?;
        let casts: Vec<String> = (1..)
            .zip(&self.model.key)
            .zip(&types)
            .map(|((number, name), kind)| {
                format!("published.{} = cast(${number}::text as {kind})", ident(name))
            })
            .collect();
        let columns: Vec<&str> =
            self.model.columns.iter().map(|column| column.name.as_str()).collect();
        let texts: Vec<String> =
            columns.iter().map(|name| format!("published.{}::text", ident(name))).collect();
        let has = |name| self.has_column(&table, name);
        let data_date =
            if has("_data_date").await? { "published._data_date" } else { "null::date" };
        let settled = if has("_settled").await? { "published._settled" } else { "null::boolean" };
        let statement = format!(
            "select array[{1}], {data_date}, {settled}, published._fetch_id, published._fetch_row,
                    published._publish_id, noted.manifest_key, publish.published_at, run.run_id, run.kind,
                    run.scheduled_at, run.program_version, said.model_file, said.model_sha256,
                    said.source_sha256,
                    case when published._publish_id <= contract.rebuilt_publish
                         then split_part(contract.rebuilt_code, ' ', 1) end
             from {table} as published
             left join daymark.fetch as noted on noted.fetch_id = published._fetch_id
             left join daymark.publish as publish on publish.publish_id = published._publish_id
             left join daymark.run as run on run.run_id = publish.run_id
             left join daymark.publish_table as said
                  on said.publish_id = published._publish_id and said.table_name = {0}
             left join daymark.contract as contract on contract.table_name = {0}
             where {2} order by {data_date} desc nulls last",
            literal(&self.model.table),
            texts.join(", "),
            casts.join(" and "),
        );
        let params: Vec<&(dyn ToSql + Sync)> =
            self.key.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let rows = self.transaction.query(&statement, &params).await.map_err(&doing)?;
        let restatements = self.restatements(&types).await?;
        let wanted = rows.iter().find(|row| {
            self.data_date.is_none_or(|date| row.get::<_, Option<Date>>(1) == Some(date))
        });
        let Some(row) = wanted else {
            let examples = self.examples(&table).await?;
            return Ok(Err(NoRow { restatements, examples }));
        };
        let values: Vec<Option<String>> = row.get(0);
        let checks = self.checks(row.get(6), row.get(5)).await?;
        Ok(Ok(Origin {
            table: self.model.table.clone(),
            row: columns.into_iter().map(str::to_owned).zip(values).collect(),
            data_date: row.get(1),
            settled: row.get(2),
            others: rows.len() - 1,
            fetch_id: row.get::<_, Uuid>(3).to_string(),
            fetch_row: row.get(4),
            manifest_key: row.get(6),
            publish: WrittenBy {
                publish_id: row.get(5),
                published_at: row.get(7),
                run_id: row.get::<_, Option<Uuid>>(8).map(|id| id.to_string()),
                run_kind: row.get(9),
                scheduled_at: row.get(10),
                program_version: row.get(11),
                model_file: row.get(12),
                model_sha256: row.get(13),
                source_sha256: row.get(14),
                rebuilt_model_sha256: row.get(15),
            },
            checks,
            restatements,
        }))
    }

    /// The types of the key's columns, once every value was found to be of its own.
    async fn key_types(&self, table: &str) -> Result<Vec<String>, WhyError> {
        let doing = WarehouseError::statement("reading the types of a key");
        let mut types = Vec::with_capacity(self.key.len());
        for (name, value) in self.model.key.iter().zip(self.key) {
            let found = self
                .transaction
                .query_opt(
                    "select format_type(atttypid, atttypmod) from pg_attribute
                     where attrelid = to_regclass($1) and attname = $2 and not attisdropped",
                    &[&table, name],
                )
                .await
                .map_err(&doing)?;
            let Some(found) = found else {
                return Err(WhyError::NoTable { table: self.model.table.clone() });
            };
            let kind: String = found.get(0);
            let cast = format!("select cast($1::text as {kind}) is null");
            // A failed statement ends the transaction; the error is the answer then.
            if let Err(error) = self.transaction.query_one(&cast, &[value]).await {
                let Some(db) = error.as_db_error() else { return Err(doing(error).into()) };
                return Err(WhyError::BadKey {
                    column: name.clone(),
                    kind,
                    value: value.clone(),
                    message: db_message(db),
                });
            }
            types.push(kind);
        }
        Ok(types)
    }

    async fn has_column(&self, table: &str, column: &str) -> Result<bool, WarehouseError> {
        let found = self
            .transaction
            .query_opt(
                "select 1 from pg_attribute
                 where attrelid = to_regclass($1) and attname = $2 and not attisdropped",
                &[&table, &column],
            )
            .await
            .map_err(WarehouseError::statement("reading the columns of a table"))?;
        Ok(found.is_some())
    }

    /// What the checks said when the fetch's rows were published: by that publish, or, of a row that a
    /// rebuild wrote, by the last one that asked them.
    async fn checks(
        &self,
        manifest_key: Option<&str>,
        publish_id: i64,
    ) -> Result<Vec<Asked>, WarehouseError> {
        let rows = self
            .transaction
            .query(
                "select check_name, severity, outcome, failing, reason from daymark.check_result
                 where manifest_key = $1 and table_name = $2 and publish_id = (
                     select publish_id from daymark.check_result
                     where manifest_key = $1 and table_name = $2 and publish_id is not null
                     order by publish_id = $3 desc, result_id desc limit 1)
                 order by result_id",
                &[&manifest_key, &self.model.table, &publish_id],
            )
            .await
            .map_err(WarehouseError::statement("reading what checks said"))?;
        let asked = rows.iter().map(|row| Asked {
            check: row.get(0),
            severity: row.get(1),
            outcome: row.get(2),
            failing: row.get(3),
            reason: row.get(4),
        });
        Ok(asked.collect())
    }

    /// What readers saw change of this key.
    async fn restatements(&self, types: &[String]) -> Result<Vec<Restated>, WarehouseError> {
        let parts: Vec<String> = (1..)
            .zip(&self.model.key)
            .zip(types)
            .map(|((number, name), kind)| {
                format!("{}, cast(${number}::text as {kind})", literal(name))
            })
            .collect();
        let statement = format!(
            "select restatement.publish_id, publish.published_at, kind, column_name, old_value, new_value,
                    old_manifest, new_manifest
             from daymark.restatement as restatement join daymark.publish as publish using (publish_id)
             where table_name = {} and key @> jsonb_build_object({})
             order by restatement_id desc limit {RESTATEMENTS}",
            literal(&self.model.table),
            parts.join(", "),
        );
        let params: Vec<&(dyn ToSql + Sync)> =
            self.key.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let rows = self
            .transaction
            .query(&statement, &params)
            .await
            .map_err(WarehouseError::statement("reading restatements"))?;
        let restated = rows.iter().map(|row| Restated {
            publish_id: row.get(0),
            at: row.get(1),
            kind: row.get(2),
            column: row.get(3),
            old: row.get(4),
            new: row.get(5),
            old_manifest: row.get(6),
            new_manifest: row.get(7),
        });
        Ok(restated.collect())
    }

    /// Some keys that are there, the last ones first.
    async fn examples(&self, table: &str) -> Result<Vec<Vec<Option<String>>>, WarehouseError> {
        let texts: Vec<String> =
            self.model.key.iter().map(|name| format!("{}::text", ident(name))).collect();
        let order: Vec<String> =
            self.model.key.iter().map(|name| format!("{} desc", ident(name))).collect();
        let statement = format!(
            "select array[{}] from {table} order by {} limit 3",
            texts.join(", "),
            order.join(", ")
        );
        let rows = self
            .transaction
            .query(&statement, &[])
            .await
            .map_err(WarehouseError::statement("reading some keys"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
