//! Read-only queries, as values for pages, tables and JSON.
//!
//! In: SQL of a page or of a person. Out: [`ResultTable`]s: dates as `YYYY-MM-DD`, numbers as numbers.
//! Everything runs in a read-only transaction that is rolled back. A DATE never passes through a time
//! zone here (DESIGN.md promise 6). Deliberately absent: writing, and caching.

use std::fmt::Write as _;

use daymark_plan::{Clock, Plan};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use serde_json::Value;
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Row, Transaction};

use crate::as_of;
use crate::contract::search_path;
use crate::days::{self, SourceDays};
use crate::error::{WarehouseError, db_message};
use crate::fires::{self, Pause};
use crate::lease::{self, Leader};
use crate::older::{self, OlderDays};
use crate::result::{ColumnKind, ResultColumn, ResultTable};
use crate::retries::{self, FailedDay};
use crate::session::Warehouse;
use crate::sql::literal;

/// How long one query may take on a server; the embedded database has no such limit.
pub(crate) const STATEMENT_TIMEOUT: &str = "set local statement_timeout = '30s'";

/// Reads the warehouse, and cannot write it.
#[derive(Clone)]
pub struct Reader {
    pub(crate) warehouse: Warehouse,
    clock: Clock,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("warehouse", &self.warehouse).finish_non_exhaustive()
    }
}

/// A query and the dates bound to `$1`, `$2`, ...
#[derive(Debug, Clone)]
pub struct ReadQuery {
    /// The SQL.
    pub sql: String,
    /// Its parameters.
    pub params: Vec<Date>,
}

/// What PostgreSQL said of a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// PostgreSQL's message, with its detail and hint.
    pub message: String,
    /// The line of the query, counted from 1.
    pub line: Option<usize>,
}

/// The newest publish: the version of everything readers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct LastPublish {
    /// Its id.
    pub id: i64,
    /// When it was made.
    pub at: Timestamp,
}

/// How far rejects have been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectPlace(i64);

/// What is to be said of the schedule.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SchedulerState {
    /// Who keeps it, or kept it last; none where no process ever did.
    pub leader: Option<Leader>,
    /// What is paused now.
    pub pauses: Vec<Pause>,
}

/// Which rejects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejectFilter {
    /// Of this source.
    pub source: Option<String>,
    /// Set aside by a check of this table.
    pub table: Option<String>,
    /// Of this data date or later.
    pub since: Option<Date>,
}

impl RejectFilter {
    fn sql(&self) -> String {
        let source = self.source.as_ref().map(|id| format!("reject.source_id = {}", literal(id)));
        let table =
            self.table.as_ref().map(|name| format!("reject.table_name = {}", literal(name)));
        let since =
            self.since.map(|date| format!("reject.data_date >= {}", literal(&date.to_string())));
        let parts: Vec<String> = [source, table, since].into_iter().flatten().collect();
        if parts.is_empty() { "true".to_owned() } else { parts.join(" and ") }
    }
}

/// What changed about the shape of a source's responses.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DriftSeen {
    /// The source.
    pub source: String,
    /// The day of the fetch that had it first.
    pub date: Date,
    /// The fetch's entity; empty for a source without.
    pub entity: String,
    /// `new`, `missing` or `changed`.
    pub kind: String,
    /// Where.
    pub path: String,
    /// The types there were.
    pub old_types: Option<String>,
    /// The types there are.
    pub new_types: Option<String>,
    /// A value.
    pub example: Option<String>,
    /// Whether the fetch is published; otherwise `[schema]` holds it back.
    pub published: bool,
}

impl std::fmt::Display for DriftSeen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { source, date, entity, kind, path, old_types, new_types, example, .. } = self;
        let entity = daymark_plan::behind_day(entity);
        let types = |types: &Option<String>| types.clone().unwrap_or_default();
        let example = example.as_ref().map(|value| format!(", such as `{value}`"));
        let example = example.unwrap_or_default();
        write!(f, "{source} {date}{entity} {kind} field `{path}`")?;
        match kind.as_str() {
            "changed" => write!(f, ": {}, was {}{example}", types(new_types), types(old_types)),
            "new" => write!(f, ": {}{example}", types(new_types)),
            _ => Ok(()),
        }
    }
}

/// What a `warn` check found in the newest fetch of a day.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Warning {
    /// The source.
    pub source: String,
    /// The day.
    pub date: Date,
    /// The entity; `""` of a source without.
    pub entity: String,
    /// The table.
    pub table: String,
    /// The check.
    pub check: String,
    /// Rows that offend.
    pub failing: i64,
    /// Why it could not be asked, of one that could not.
    pub reason: Option<String>,
}

impl Reader {
    /// A reader of a warehouse. By the clock days come to be late.
    pub fn new(warehouse: Warehouse, clock: Clock) -> Self {
        Self { warehouse, clock }
    }

    /// The clock by which days come to be late.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether the database is the one inside the program, which serves one session at a time.
    pub fn is_embedded(&self) -> bool {
        self.warehouse.is_embedded()
    }

    /// Runs queries in one read-only transaction, so that all see the same publish; one result each,
    /// in order. A query that fails leaves the others alone.
    pub async fn queries(
        &self,
        queries: &[ReadQuery],
    ) -> Result<Vec<Result<ResultTable, QueryError>>, WarehouseError> {
        let doing = WarehouseError::statement("reading");
        let mut session = self.warehouse.session("reading").await?;
        let schema = session.schema().to_owned();
        let mut transaction = session
            .client()
            .build_transaction()
            .read_only(true)
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .start()
            .await
            .map_err(&doing)?;
        transaction.batch_execute(STATEMENT_TIMEOUT).await.map_err(&doing)?;
        transaction.batch_execute(&search_path(&schema)).await.map_err(&doing)?;
        let mut results = Vec::new();
        for query in queries {
            let savepoint = transaction.savepoint("one_query").await.map_err(&doing)?;
            let result = run(&savepoint, query).await?;
            match &result {
                Ok(_) => savepoint.commit().await.map_err(&doing)?,
                Err(_) => savepoint.rollback().await.map_err(&doing)?,
            }
            results.push(result);
        }
        transaction.rollback().await.map_err(&doing)?;
        Ok(results)
    }

    /// Runs one query without parameters.
    pub async fn query(
        &self,
        sql: &str,
    ) -> Result<Result<ResultTable, QueryError>, WarehouseError> {
        let queries = [ReadQuery { sql: sql.to_owned(), params: Vec::new() }];
        let mut results = self.queries(&queries).await?;
        Ok(results.pop().expect("one result for one query"))
    }

    /// Runs one query on what the sources had said by an instant: tables with a history, and the marts over
    /// them, stand as they were known then. A query that reads a table without a history fails and says so.
    pub async fn query_as_of(
        &self,
        plan: &Plan,
        sql: &str,
        at: Timestamp,
    ) -> Result<Result<ResultTable, QueryError>, WarehouseError> {
        let mut session = self.warehouse.session("reading").await?;
        let schema = session.schema().to_owned();
        as_of::query(session.client(), plan, &schema, sql, at).await
    }

    /// What sources changed of what readers had been shown as final, oldest first: of one table or of all,
    /// from an instant on.
    pub async fn restatements(
        &self,
        table: Option<&str>,
        since: Option<Timestamp>,
    ) -> Result<Result<ResultTable, QueryError>, WarehouseError> {
        let of_table = table
            .map_or("true".to_owned(), |table| format!("told.table_name = {}", literal(table)));
        let since = since.map_or("true".to_owned(), |since| {
            format!("publish.published_at >= {}", literal(&since.to_string()))
        });
        self.query(&format!(
            "select publish.published_at, told.publish_id as publish, told.table_name as \"table\", told.key, \
             told.kind, told.column_name as \"column\", told.old_value as old, told.new_value as new, \
             told.old_manifest, told.new_manifest \
             from daymark.restatement as told join daymark.publish as publish using (publish_id) \
             where {of_table} and {since} order by told.restatement_id"
        ))
        .await
    }

    /// What sources changed about the shape of their responses, oldest first: of one source or of all, from
    /// an instant on.
    pub async fn drift(
        &self,
        source: Option<&str>,
        since: Option<Timestamp>,
    ) -> Result<Result<ResultTable, QueryError>, WarehouseError> {
        let of_source =
            source.map_or("true".to_owned(), |source| format!("source_id = {}", literal(source)));
        let since = since
            .map_or("true".to_owned(), |since| format!("at >= {}", literal(&since.to_string())));
        self.query(&format!(
            "select at, source_id as source, data_date, entity, kind, path,
                    array_to_string(old_types, ' or ') as old_types,
                    array_to_string(new_types, ' or ') as new_types, example, is_mapped as mapped,
                    fetched_at as first_seen, publish_id as publish, manifest_key as manifest
             from daymark.drift where {of_source} and {since} order by drift_id"
        ))
        .await
    }

    /// What changed about the shape of responses for these days, oldest first.
    pub async fn drift_seen(&self, from: Date, to: Date) -> Result<Vec<DriftSeen>, WarehouseError> {
        let mut session = self.warehouse.session("reading the ledger").await?;
        let rows = session
            .client()
            .query(
                "select source_id, data_date, entity, kind, path,
                        array_to_string(old_types, ' or '), array_to_string(new_types, ' or '), example,
                        publish_id is not null
                 from daymark.drift where data_date between $1 and $2 order by drift_id",
                &[&from, &to],
            )
            .await
            .map_err(WarehouseError::statement("reading changed shapes"))?;
        Ok(rows
            .iter()
            .map(|row| DriftSeen {
                source: row.get(0),
                date: row.get(1),
                entity: row.get(2),
                kind: row.get(3),
                path: row.get(4),
                old_types: row.get(5),
                new_types: row.get(6),
                example: row.get(7),
                published: row.get(8),
            })
            .collect())
    }

    /// The tables of which other files than there are now published days.
    pub async fn older_days(&self, plan: &Plan) -> Result<Vec<OlderDays>, WarehouseError> {
        let mut session = self.warehouse.session("reading the ledger").await?;
        older::older_days(session.client(), plan).await
    }

    /// How many rows were set aside, by day and by what set them aside, newest day first. Extraction's are
    /// counted by their fetches, which keep the first hundred each.
    pub async fn reject_counts(
        &self,
        filter: &RejectFilter,
    ) -> Result<Result<ResultTable, QueryError>, WarehouseError> {
        self.query(&format!(
            "with of_fetch as (
                 select reject.source_id, reject.data_date, reject.entity, reject.table_name,
                        reject.check_name, reject.manifest_key, count(*) as kept,
                        min(reject.reject_id) as first_id
                 from daymark.reject as reject where {} group by 1, 2, 3, 4, 5, 6
             )
             select source_id as source, data_date, entity, table_name as \"table\",
                    coalesce(check_name, 'extraction') as set_aside_by,
                    sum(case when check_name is null then greatest(coalesce(noted.rejected, 0), kept)
                             else kept end)::bigint as \"rows\",
                    (select reason from daymark.reject where reject_id = min(first_id)) as first_reason
             from of_fetch left join (select manifest_key, rejected from daymark.fetch) as noted
                  using (manifest_key)
             group by source_id, data_date, entity, table_name, check_name
             order by data_date desc, source_id, entity, table_name nulls first, check_name",
            filter.sql()
        ))
        .await
    }

    /// The rows that were set aside, newest first, so many at a time: those before a place, and the place
    /// to go on from, if there may be more.
    pub async fn rejects(
        &self,
        filter: &RejectFilter,
        before: Option<RejectPlace>,
        limit: u32,
    ) -> Result<Result<(ResultTable, Option<RejectPlace>), QueryError>, WarehouseError> {
        let place = before.map_or(i64::MAX, |RejectPlace(place)| place);
        let filter = format!("{} and reject_id < {place}", filter.sql());
        let last: Option<i64> = {
            let mut session = self.warehouse.session("reading").await?;
            let statement = format!(
                "select min(reject_id) from (select reject_id from daymark.reject as reject \
                 where {filter} order by reject_id desc limit {limit}) as page having count(*) = {limit}"
            );
            let row = session.client().query_opt(&statement, &[]).await;
            row.map_err(WarehouseError::statement("reading rejects"))?.and_then(|row| row.get(0))
        };
        let table = self.reject_rows(&filter, limit).await?;
        Ok(table.map(|table| (table, last.map(RejectPlace))))
    }

    async fn reject_rows(
        &self,
        filter: &str,
        limit: u32,
    ) -> Result<Result<ResultTable, QueryError>, WarehouseError> {
        self.query(&format!(
            "select source_id as source, data_date, entity, table_name as \"table\",
                    coalesce(check_name, 'extraction') as set_aside_by, reason, value, fetch_id, fetch_row,
                    manifest_key, publish_id as publish
             from daymark.reject as reject where {filter} order by reject_id desc limit {limit}",
        ))
        .await
    }

    /// What `warn` checks found in the newest fetch of each day in a range.
    pub async fn warnings(&self, from: Date, to: Date) -> Result<Vec<Warning>, WarehouseError> {
        let mut session = self.warehouse.session("reading the ledger").await?;
        let rows = session
            .client()
            .query(
                "with newest as (
                     select distinct on (source_id, data_date, entity) source_id, data_date, entity,
                            manifest_key, run_id
                     from daymark.check_result where data_date between $1 and $2
                     order by source_id, data_date, entity, result_id desc
                 )
                 select source_id, data_date, entity, table_name, check_name, failing,
                        case outcome when 'error' then reason end
                 from daymark.check_result
                      join newest using (source_id, data_date, entity, manifest_key, run_id)
                 where severity = 'warn' and outcome in ('failed', 'error')
                 order by source_id, data_date, entity, result_id",
                &[&from, &to],
            )
            .await
            .map_err(WarehouseError::statement("reading what checks warned of"))?;
        Ok(rows
            .iter()
            .map(|row| Warning {
                source: row.get(0),
                date: row.get(1),
                entity: row.get(2),
                table: row.get(3),
                check: row.get(4),
                failing: row.get(5),
                reason: row.get(6),
            })
            .collect())
    }

    /// The days of every source from `from`, or from its first if that is later, to `to`, both included, as they
    /// stand now.
    pub async fn days(
        &self,
        plan: &Plan,
        from: Date,
        to: Date,
    ) -> Result<Vec<SourceDays>, WarehouseError> {
        let mut session = self.warehouse.session("reading the ledger").await?;
        days::days(session.client(), plan, from, to, self.clock.now()).await
    }

    /// The newest publish, if there is one.
    pub async fn last_publish(&self) -> Result<Option<LastPublish>, WarehouseError> {
        let mut session = self.warehouse.session("reading the ledger").await?;
        let row = session
            .client()
            .query_opt(
                "select publish_id, published_at from daymark.publish order by publish_id desc limit 1",
                &[],
            )
            .await
            .map_err(WarehouseError::statement("reading the newest publish"))?;
        Ok(row.map(|row| LastPublish { id: row.get(0), at: row.get(1) }))
    }

    /// Who keeps the schedule, and what is paused now.
    pub async fn scheduler(&self) -> Result<SchedulerState, WarehouseError> {
        let mut session = self.warehouse.session("reading the schedule").await?;
        let leader = lease::leader(&mut session, lease::at(&self.clock)).await?;
        let now = self.clock.now();
        let mut pauses = fires::pauses(&mut session).await?;
        pauses.retain(|pause| pause.is_open(now));
        Ok(SchedulerState { leader, pauses })
    }

    /// The days that failed and are not tried any more: they wait for a person.
    pub async fn days_given_up(&self) -> Result<Vec<FailedDay>, WarehouseError> {
        let mut session = self.warehouse.session("reading the days that failed").await?;
        let mut days = retries::failed_days(&mut session).await?;
        days.retain(|day| day.state == "dead");
        Ok(days)
    }

    /// The marts PostgreSQL refused, each with what it said.
    pub async fn refused_marts(&self) -> Result<Vec<String>, WarehouseError> {
        let mut session = self.warehouse.session("reading the ledger").await?;
        let rows = session
            .client()
            .query(
                "select refused from daymark.mart where refused is not null order by position",
                &[],
            )
            .await
            .map_err(WarehouseError::statement("reading the marts"))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

pub(crate) async fn run(
    transaction: &Transaction<'_>,
    query: &ReadQuery,
) -> Result<Result<ResultTable, QueryError>, WarehouseError> {
    let statement = match transaction.prepare(&query.sql).await {
        Ok(statement) => statement,
        Err(error) => return query_error(error, &query.sql).map(Err),
    };
    let params: Vec<&(dyn ToSql + Sync)> =
        query.params.iter().map(|date| date as &(dyn ToSql + Sync)).collect();
    if statement.params().len() != params.len() {
        let message = format!(
            "the query has {} parameters; {} are given",
            statement.params().len(),
            params.len()
        );
        return Ok(Err(QueryError { message, line: None }));
    }
    let rows = match transaction.query(&statement, &params).await {
        Ok(rows) => rows,
        Err(error) => return query_error(error, &query.sql).map(Err),
    };
    let columns: Vec<ResultColumn> = statement
        .columns()
        .iter()
        .map(|column| ResultColumn { name: column.name().to_owned(), kind: kind(column.type_()) })
        .collect();
    let mut values = Vec::with_capacity(rows.len());
    for row in &rows {
        let cells: Result<Vec<Value>, String> = (0..columns.len())
            .map(|index| value(row, index).map_err(|_| unshown(&row.columns()[index])))
            .collect();
        match cells {
            Ok(cells) => values.push(cells),
            Err(message) => return Ok(Err(QueryError { message, line: None })),
        }
    }
    Ok(Ok(ResultTable { columns, rows: values }))
}

fn unshown(column: &tokio_postgres::Column) -> String {
    let (name, kind) = (column.name(), column.type_());
    format!(
        "the column `{name}` is of the type `{kind}`, which is not shown: cast it, `{name}::text`"
    )
}

pub(crate) fn query_error(
    error: tokio_postgres::Error,
    sql: &str,
) -> Result<QueryError, WarehouseError> {
    let Some(db) = error.as_db_error() else {
        // What the driver itself refuses, such as a parameter of another type, is the query's fault;
        // a lost connection is not.
        if error.is_closed() {
            return Err(WarehouseError::Statement { doing: "reading", cause: error });
        }
        return Ok(QueryError { message: error.to_string(), line: None });
    };
    let line = match db.position() {
        Some(ErrorPosition::Original(position)) => {
            let at = usize::try_from(*position).unwrap_or(usize::MAX).saturating_sub(1);
            Some(1 + sql.chars().take(at).filter(|c| *c == '\n').count())
        }
        _ => None,
    };
    let message = match db.hint() {
        Some(hint) => format!("{}; {}", db_message(db), hint.trim_end_matches('.')),
        None => db_message(db),
    };
    Ok(QueryError { message, line })
}

fn kind(kind: &Type) -> ColumnKind {
    match *kind {
        Type::INT2
        | Type::INT4
        | Type::INT8
        | Type::FLOAT4
        | Type::FLOAT8
        | Type::NUMERIC
        | Type::OID => ColumnKind::Number,
        Type::DATE => ColumnKind::Date,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => ColumnKind::Timestamp,
        Type::BOOL => ColumnKind::Boolean,
        Type::JSON | Type::JSONB => ColumnKind::Json,
        _ => ColumnKind::Text,
    }
}

/// A value of a row as JSON. NaN and the infinities, which JSON has no number for, are text.
fn value(row: &Row, index: usize) -> Result<Value, tokio_postgres::Error> {
    fn get<'r, T: FromSql<'r>>(
        row: &'r Row,
        index: usize,
        json: impl Fn(T) -> Value,
    ) -> Result<Value, tokio_postgres::Error> {
        Ok(row.try_get::<_, Option<T>>(index)?.map_or(Value::Null, json))
    }
    let float = |number: f64| {
        serde_json::Number::from_f64(number)
            .map_or_else(|| Value::from(number.to_string()), Value::Number)
    };
    match *row.columns()[index].type_() {
        Type::BOOL => get(row, index, |v: bool| v.into()),
        Type::INT2 => get(row, index, |v: i16| v.into()),
        Type::INT4 => get(row, index, |v: i32| v.into()),
        Type::INT8 => get(row, index, |v: i64| v.into()),
        Type::OID => get(row, index, |v: u32| v.into()),
        // The shortest text of the 32-bit value, not of its 64-bit neighbour.
        Type::FLOAT4 => get(row, index, |v: f32| float(v.to_string().parse().unwrap_or(f64::NAN))),
        Type::FLOAT8 => get(row, index, float),
        Type::NUMERIC => get(row, index, |v: Numeric| v.into_json()),
        Type::DATE => get(row, index, |v: Date| v.to_string().into()),
        Type::TIME => get(row, index, |v: Time| v.to_string().into()),
        Type::TIMESTAMP => get(row, index, |v: DateTime| v.to_string().into()),
        Type::TIMESTAMPTZ => get(row, index, |v: Timestamp| v.to_string().into()),
        Type::UUID => get(row, index, |v: uuid::Uuid| v.to_string().into()),
        Type::JSON | Type::JSONB => get(row, index, |v: Value| v),
        Type::VOID => Ok(Value::Null),
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => {
            get(row, index, |v: Vec<Option<String>>| v.into())
        }
        _ => get(row, index, |v: AnyText| v.0.into()),
    }
}

/// A value whose binary form is its text: text, name, enums, domains over them.
struct AnyText(String);

impl<'a> FromSql<'a> for AnyText {
    fn from_sql(
        kind: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        match String::from_sql(&Type::TEXT, raw) {
            Ok(text) => Ok(Self(text)),
            Err(_) => Err(format!("the type `{kind}` cannot be shown").into()),
        }
    }

    fn accepts(kind: &Type) -> bool {
        <String as FromSql<'_>>::accepts(kind)
            || matches!(kind.kind(), tokio_postgres::types::Kind::Enum(_))
    }
}

/// PostgreSQL's numeric, read from its binary form with every digit
/// (`src/backend/utils/adt/numeric.c`, `numeric_send`: digits of base 10000).
struct Numeric(String);

impl Numeric {
    /// A JSON number if it survives as one, else its text: no digit is ever rounded away.
    fn into_json(self) -> Value {
        let float: Option<f64> = self.0.parse().ok();
        let exact = float.and_then(serde_json::Number::from_f64).filter(|_| {
            let digits = self.0.bytes().filter(u8::is_ascii_digit).count();
            digits <= 15
        });
        if let Ok(whole) = self.0.parse::<i64>() {
            return whole.into();
        }
        exact.map_or_else(|| Value::from(self.0), Value::Number)
    }
}

impl<'a> FromSql<'a> for Numeric {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let words: Vec<u16> =
            raw.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        let &[count, weight, sign, scale, ref digits @ ..] = words.as_slice() else {
            return Err("a numeric has at least four words".into());
        };
        match sign {
            0xC000 => return Ok(Self("NaN".to_owned())),
            0xD000 => return Ok(Self("Infinity".to_owned())),
            0xF000 => return Ok(Self("-Infinity".to_owned())),
            _ => {}
        }
        let weight = i32::from(weight.cast_signed());
        let digit = |position: i32| -> u16 {
            let inside = usize::try_from(position).ok().filter(|at| *at < usize::from(count));
            inside.and_then(|at| digits.get(at).copied()).unwrap_or(0)
        };
        let mut text = if sign == 0x4000 { "-".to_owned() } else { String::new() };
        if weight < 0 {
            text.push('0');
        }
        for position in 0..=weight {
            let group = digit(position);
            let width = if position == 0 { 1 } else { 4 };
            write!(text, "{group:0width$}")?;
        }
        let scale = usize::from(scale);
        if scale > 0 {
            let mut fraction = String::new();
            let mut position = weight + 1;
            while fraction.len() < scale {
                write!(fraction, "{:04}", digit(position))?;
                position += 1;
            }
            fraction.truncate(scale);
            text.push('.');
            text.push_str(&fraction);
        }
        Ok(Self(text))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::NUMERIC
    }
}
