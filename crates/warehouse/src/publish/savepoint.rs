//! Savepoints, of which a publish has some for each of its fetches.
//!
//! In: a name. Out: the savepoint, gone again once it is released or undone. **Invariant:** whatever is sent
//! from a savepoint to its end is sent as `query` and `execute` do ([`run`] for what has no parameters), never by
//! `batch_execute`: PostgreSQL 18 keeps 8 KiB until the transaction ends for each savepoint in which a simple
//! query began or ended. The embedded database is in this process, and three thousand fetches were 25 MB.

use tokio_postgres::{Error, Transaction};

/// Runs a statement that gives nothing.
pub(super) async fn run(transaction: &Transaction<'_>, statement: &str) -> Result<(), Error> {
    transaction.query_typed(statement, &[]).await.map(drop)
}

/// Sets a savepoint.
pub(super) async fn set(transaction: &Transaction<'_>, name: &str) -> Result<(), Error> {
    run(transaction, &format!("savepoint {name}")).await
}

/// Lets go of a savepoint; what was done since stays.
pub(super) async fn release(transaction: &Transaction<'_>, name: &str) -> Result<(), Error> {
    run(transaction, &format!("release savepoint {name}")).await
}

/// Takes back what was done since a savepoint, and lets go of it.
pub(super) async fn undo(transaction: &Transaction<'_>, name: &str) -> Result<(), Error> {
    run(transaction, &format!("rollback to savepoint {name}")).await?;
    release(transaction, name).await
}
