//! Refresh: the rows of a mart that is a table, brought to what its query gives.
//!
//! In: a mart whose table is there. Out: how the two differ and, if wanted, the difference written: rows
//! that are the same are not touched, and readers see the old ones until the transaction commits. With a
//! key rows are matched by it, without one as a whole, however often a row is there. Deliberately absent:
//! when that is due (`publish::marts`), and making the table (`contract::marts`).

use daymark_plan::Mart;
use tokio_postgres::Transaction;

use crate::contract::{mart_search_path, search_path};
use crate::error::{Failure, WarehouseError};
use crate::sql::{ident, list, qualified};

/// Rows that are named of a mart that differs.
const SHOWN: i64 = 10;

/// How a mart's table differs from what its query gives.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Rows the query gives.
    pub(crate) rows: i64,
    /// Rows the table lacked.
    pub(crate) missing: i64,
    /// Rows of the same key with other values.
    pub(crate) different: i64,
    /// Rows the query does not give.
    pub(crate) extra: i64,
    /// Some of the rows, by their key if there is one.
    pub(crate) shown: Vec<String>,
}

impl Difference {
    /// Whether there is none.
    pub(crate) fn is_none(&self) -> bool {
        self.missing + self.different + self.extra == 0
    }
}

/// Finds the difference and, with `write`, writes it. The inner error is what PostgreSQL said of the query
/// or its rows; then nothing was done.
pub(crate) async fn refresh(
    transaction: &mut Transaction<'_>,
    schema: &str,
    mart: &Mart,
    write: bool,
) -> Result<Result<Difference, Failure>, WarehouseError> {
    let doing = WarehouseError::statement("working out a mart");
    let mut savepoint = transaction.savepoint("one_mart").await.map_err(&doing)?;
    let done = within(&mut savepoint, schema, mart, write).await?;
    match &done {
        Ok(_) => savepoint.commit().await.map_err(&doing)?,
        Err(_) => savepoint.rollback().await.map_err(&doing)?,
    }
    Ok(done)
}

async fn within(
    transaction: &mut Transaction<'_>,
    schema: &str,
    mart: &Mart,
    write: bool,
) -> Result<Result<Difference, Failure>, WarehouseError> {
    let doing = WarehouseError::statement("working out a mart");
    let table = qualified(schema, &mart.name);
    let made_name = ident(&format!("made_{}", mart.name));
    let made = format!("pg_temp.{made_name}");
    // Staging has tables in `pg_temp` whose names a mart may use for its own.
    transaction.batch_execute(&mart_search_path(schema)).await.map_err(&doing)?;
    let prefix = format!("create temporary table {made_name} on commit drop as ");
    let statement = format!("{prefix}{}", mart.sql);
    if let Err(error) = transaction.batch_execute(&statement).await {
        return Failure::of(error, &mart.file, &statement, &prefix, mart.sql_line)
            .map(Err)
            .map_err(&doing);
    }
    transaction
        .batch_execute(&format!("{}; analyze {made}", search_path(schema)))
        .await
        .map_err(&doing)?;
    if let Some(failure) = key_is_none(transaction, mart, &made).await? {
        return Ok(Err(failure));
    }
    let columns: Vec<String> = transaction
        .query(
            "select attname::text from pg_attribute
             where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attnum",
            &[&made],
        )
        .await
        .map_err(&doing)?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let differing = ident(&format!("differing_{}", mart.name));
    let find = find(mart, &columns, &table, &made, &differing);
    if let Err(error) = transaction.batch_execute(&find).await {
        return Failure::of(error, &mart.file, "", "", 0).map(Err).map_err(&doing);
    }
    let row = transaction
        .query_one(
            &format!(
                "select (select count(*) from {made}),
                        count(*) filter (where _old is null), count(*) filter (where _new is null),
                        count(*) filter (where _old is not null and _new is not null),
                        (select array_agg(_shown) from (
                             select _shown from pg_temp.{differing} order by _shown limit {SHOWN}
                         ) as named)
                 from pg_temp.{differing}"
            ),
            &[],
        )
        .await
        .map_err(&doing)?;
    let difference = Difference {
        rows: row.get(0),
        missing: row.get(1),
        extra: row.get(2),
        different: row.get(3),
        shown: row.get::<_, Option<Vec<String>>>(4).unwrap_or_default(),
    };
    if write && !difference.is_none() {
        let names = list("", columns.iter().map(String::as_str));
        let delete = format!(
            "delete from {table} as kept using pg_temp.{differing} as differing \
             where kept.ctid = differing._old"
        );
        let insert = format!(
            "insert into {table} ({names}) select {} from {made} as made \
             join pg_temp.{differing} as differing on made.ctid = differing._new",
            list("made.", columns.iter().map(String::as_str)),
        );
        for (statement, expected, doing) in [
            (delete, difference.extra + difference.different, "deleting rows of a mart"),
            (insert, difference.missing + difference.different, "inserting rows of a mart"),
        ] {
            let expected = u64::try_from(expected).expect("count(*) is not negative");
            match transaction.execute(&statement, &[]).await {
                Ok(touched) if touched == expected => {}
                Ok(touched) => return Err(WarehouseError::RowCount { doing, touched, expected }),
                Err(error) => {
                    return Failure::of(error, &mart.file, "", "", 0)
                        .map(Err)
                        .map_err(WarehouseError::statement(doing));
                }
            }
        }
    }
    let drop = format!("drop table {made}, pg_temp.{differing}");
    transaction.batch_execute(&drop).await.map_err(&doing)?;
    Ok(Ok(difference))
}

/// The statement that finds the rows that differ, each by its place in the table and in what was made.
fn find(mart: &Mart, columns: &[String], table: &str, made: &str, differing: &str) -> String {
    // As it is stored: `1.0` and `1.00` differ. (A subquery, because two bare rows would be compared column
    // by column.)
    let image = |alias: &str| {
        let columns = list(&format!("{alias}."), columns.iter().map(String::as_str));
        format!("(select row({columns}))")
    };
    let differs = "where kept.ctid is null or made.ctid is null";
    if !mart.key.is_empty() {
        let key = list("", mart.key.iter().map(String::as_str));
        return format!(
            "create temporary table {differing} on commit drop as
             select kept.ctid as _old, made.ctid as _new, ({key})::text as _shown
             from {table} as kept full join {made} as made using ({key})
             {differs} or {} operator(pg_catalog.*<>) {}",
            image("kept"),
            image("made"),
        );
    }
    // Any type can be written as text, and not every one can be compared.
    let numbered = |of: &str| {
        format!(
            "(select _place, _text, row_number() over (partition by _text order by _place) as _number
              from (select one.ctid as _place, {}::text as _text from {of} as one) as texts)",
            image("one"),
        )
    };
    format!(
        "create temporary table {differing} on commit drop as
         select kept._place as _old, made._place as _new, left(_text, 200) as _shown
         from {} as kept full join {} as made using (_text, _number)
         where kept._place is null or made._place is null",
        numbered(table),
        numbered(made),
    )
}

/// Says which keys the query yields more than once, or without a value.
pub(crate) async fn key_is_none(
    transaction: &Transaction<'_>,
    mart: &Mart,
    rows: &str,
) -> Result<Option<Failure>, WarehouseError> {
    if mart.key.is_empty() {
        return Ok(None);
    }
    let key = list("", mart.key.iter().map(String::as_str));
    let nulls: Vec<String> =
        mart.key.iter().map(|name| format!("{} is null", ident(name))).collect();
    let statement = format!(
        "select ({key})::text, count(*) from {rows} group by {key}
         having count(*) > 1 or {} order by {key} limit 3",
        nulls.join(" or ")
    );
    let wrong = match transaction.query(&statement, &[]).await {
        Ok(wrong) => wrong,
        Err(error) => {
            let failure = Failure::of(error, &mart.file, "", "", 0)
                .map_err(WarehouseError::statement("looking for a mart's key twice"))?;
            return Ok(Some(Failure { line: mart.key_line, ..failure }));
        }
    };
    let shown: Vec<String> = wrong
        .iter()
        .map(|row| format!("{} ({} rows)", row.get::<_, String>(0), row.get::<_, i64>(1)))
        .collect();
    Ok((!shown.is_empty()).then(|| {
        let message = format!(
            "the query yields keys ({}) that are there twice or have no value: {}",
            mart.key.join(", "),
            shown.join(", ")
        );
        Failure::new(&mart.file, mart.key_line, message)
            .hint("add what tells the rows apart to `key`, or leave `key` out")
    }))
}
