//! What the sources had said by an instant: queries on the histories, as if they were the tables.
//!
//! In: a query and an instant. Out: its result, in which each table with a history, and each mart over
//! such tables, is a temporary view of the table's name that stands before it on the search path.
//! PostgreSQL's own catalog tells what a query reads, so that one which reads a table without a history
//! is refused by name and never answered from the table of now. Deliberately absent: writing; the
//! transaction is read-only from when the views are there, and rolled back.

use daymark_plan::{Model, Plan};
use jiff::Timestamp;
use tokio_postgres::{Client, IsolationLevel};

use crate::contract::{extra_columns, search_path};
use crate::error::WarehouseError;
use crate::publish::order_columns;
use crate::reader::{QueryError, ReadQuery, query_error, run};
use crate::result::ResultTable;
use crate::sql::{ident, list, literal, qualified};

/// The view of the query itself, through which the catalog knows what it reads.
const ASKED: &str = "_asked";

/// Runs one query as of an instant.
pub(crate) async fn query(
    client: &mut Client,
    plan: &Plan,
    schema: &str,
    sql: &str,
    at: Timestamp,
) -> Result<Result<ResultTable, QueryError>, WarehouseError> {
    let doing = WarehouseError::statement("reading histories");
    let mut transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .start()
        .await
        .map_err(&doing)?;
    transaction.batch_execute(&search_path(schema)).await.map_err(&doing)?;
    for model in plan.models.iter().filter(|model| model.history) {
        let view = view(plan, model, schema, at);
        transaction.batch_execute(&view).await.map_err(&doing)?;
    }
    for mart in &plan.marts {
        let savepoint = transaction.savepoint("one_mart").await.map_err(&doing)?;
        let view = format!("create temporary view {} as {}", ident(&mart.name), mart.sql);
        match savepoint.batch_execute(&view).await {
            Ok(()) => savepoint.commit().await.map_err(&doing)?,
            // PostgreSQL refuses it as of now as well, and `status` says why.
            Err(error) if error.as_db_error().is_some() => {
                savepoint.rollback().await.map_err(&doing)?;
            }
            Err(error) => return Err(doing(error)),
        }
    }
    let prefix = format!("create temporary view {} as ", ident(ASKED));
    let statement = format!("{prefix}{}", sql.trim().trim_end_matches(';'));
    if let Err(error) = transaction.batch_execute(&statement).await {
        return query_error(error, &statement).map(Err);
    }
    let now = read_as_of_now(&transaction, plan, schema).await.map_err(&doing)?;
    if let Some(name) = now.first() {
        let model = plan.models.iter().find(|model| model.table == *name);
        let message = match model {
            Some(model) => format!(
                "the table `{name}` keeps no history, so what it held then is not known; add `history = true` \
                 to {}, then `daymark rebuild`",
                model.file
            ),
            None => format!("`{name}` has no history, so what it held then is not known"),
        };
        return Ok(Err(QueryError { message, line: None }));
    }
    transaction.batch_execute("set transaction read only").await.map_err(&doing)?;
    let asked = ReadQuery { sql: sql.to_owned(), params: Vec::new() };
    let result = run(&transaction, &asked).await?;
    transaction.rollback().await.map_err(&doing)?;
    Ok(result)
}

/// The view of a table as of an instant: of each key the newest word that had been said by then.
fn view(plan: &Plan, model: &Model, schema: &str, at: Timestamp) -> String {
    let supersede =
        plan.source(&model.source).expect("a model reads a source of its plan").supersede;
    let extra = extra_columns(model);
    let columns = model
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .chain(["_fetch_id", "_fetch_row"])
        .chain(extra.iter().map(|(name, _)| *name));
    let key = list("", model.row_key());
    let order = order_columns(supersede, "history.").replace(", ", " desc, ");
    format!(
        "create temporary view {} as select {}, null::bigint as _publish_id from (
             select distinct on ({key}) * from {} as history where _fetched_at <= {}
             order by {key}, {order} desc) as newest
         where _present",
        ident(&model.table),
        list("", columns),
        qualified(schema, &model.history_table()),
        literal(&at.to_string()),
    )
}

/// The tables and views of the curated schema that the query reads as they are now.
async fn read_as_of_now(
    client: &impl tokio_postgres::GenericClient,
    plan: &Plan,
    schema: &str,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let histories: Vec<String> =
        plan.models.iter().filter(|model| model.history).map(Model::history_table).collect();
    let rows = client
        .query(
            "with recursive reads as (
                 select $1::text::regclass::oid as id
                 union
                 select needed.refobjid from reads
                 join pg_rewrite as rule on rule.ev_class = reads.id
                 join pg_depend as needed on needed.classid = 'pg_rewrite'::regclass
                  and needed.objid = rule.oid and needed.refclassid = 'pg_class'::regclass
             )
             select relation.relname::text from reads
             join pg_class as relation on relation.oid = reads.id
             join pg_namespace as space on space.oid = relation.relnamespace
             where space.nspname = $2 and relation.relkind in ('r', 'p') and relation.relname <> all($3)
             order by 1",
            &[&format!("pg_temp.{}", ident(ASKED)), &schema, &histories],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
