//! Making the changes that a table needs.
//!
//! In: the changes of one table, and what may be done to tables. Out: all of them made in the caller's
//! transaction, or none and the [`Failure`] that says which was refused and what to do. Deliberately absent:
//! finding the changes (`change`).

use daymark_plan::Model;
use tokio_postgres::Transaction;

use super::Mode;
use super::change::{Change, Needs};
use crate::error::{Failure, WarehouseError};
use crate::sql::{ident, qualified};

/// What to do about a change that the mode does not allow; none of one that it does.
fn refusal(change: &Change, mode: Mode) -> Option<&'static str> {
    match (change.needs, mode) {
        (Needs::OtherRows, _) => Some("`daymark plan` shows all that the contract changes"),
        (Needs::Apply, Mode::Run) => {
            Some("`daymark plan` shows what that does to the table, `daymark plan --apply` does it")
        }
        (Needs::DataLoss, Mode::Run) => Some(
            "`daymark plan` shows what that does to the table, \
             `daymark plan --apply --allow-data-loss` does it",
        ),
        (Needs::DataLoss, Mode::Apply { allow_data_loss: false }) => {
            Some("`daymark plan --apply --allow-data-loss` does it all the same")
        }
        _ => None,
    }
}

/// Makes the changes that the mode allows; one that it does not refuses all.
pub(super) async fn apply(
    transaction: &mut Transaction<'_>,
    schema: &str,
    model: &Model,
    table: &str,
    changes: &[Change],
    mode: Mode,
) -> Result<Result<(), Failure>, WarehouseError> {
    let doing = WarehouseError::statement("changing a table");
    // Of those that are refused, the first that needs the most: what is said of it does for the others.
    let refused = changes.iter().rev().filter_map(|change| Some((change, refusal(change, mode)?)));
    if let Some((change, hint)) = refused.max_by_key(|(change, _)| change.needs) {
        let rows = change.rows.as_ref().map(|rows| format!(": {rows}")).unwrap_or_default();
        let message = format!("{}{rows}", change.what);
        return Ok(Err(Failure::new(&change.file, change.line, message).hint(hint)));
    }
    if changes.iter().any(|change| change.moves_views) {
        let marts = transaction
            .query(
                "select view_name from daymark.mart where kind = 'view' order by position desc",
                &[],
            )
            .await
            .map_err(&doing)?;
        for mart in marts {
            let view = qualified(schema, mart.get(0));
            if let Err(error) =
                transaction.batch_execute(&format!("drop view if exists {view}")).await
            {
                return Failure::of(error, &model.file, "", "", 0).map(Err).map_err(&doing);
            }
        }
        let forget = "delete from daymark.mart where kind = 'view'";
        transaction.execute(forget, &[]).await.map_err(&doing)?;
    }
    for change in changes {
        if let Err(error) = transaction.batch_execute(&change.sql).await {
            let failure = Failure::of(error, &change.file, "", "", 0).map_err(&doing)?;
            return Ok(Err(Failure { line: change.line, ..failure }));
        }
    }
    defer_references(transaction, table).await?;
    Ok(Ok(()))
}

/// Has foreign keys asked at the end of a source's part of a publish: the tables of one fetch are written
/// one after the other.
pub(super) async fn defer_references(
    transaction: &Transaction<'_>,
    table: &str,
) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("deferring references");
    let names = transaction
        .query(
            "select conname::text from pg_constraint
             where conrelid = $1::text::regclass and contype = 'f' and not condeferred",
            &[&table],
        )
        .await
        .map_err(&doing)?;
    for row in names {
        let name = ident(row.get(0));
        let statement =
            format!("alter table {table} alter constraint {name} deferrable initially deferred");
        transaction.batch_execute(&statement).await.map_err(&doing)?;
    }
    Ok(())
}
