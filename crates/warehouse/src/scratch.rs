//! A database to try things in: embedded, in a directory of its own, and emptied as often as wanted.
//!
//! In: a plan and a directory that is nobody's. Out: a [`Warehouse`] of the plan's pipeline, with nothing in
//! it. It is embedded also where the pipeline's own database is a server: nothing that is tried may touch
//! that. Deliberately absent: removing the directory, which is its maker's.

use std::path::Path;

use daymark_plan::{DatabaseUrl, Plan};

use crate::error::WarehouseError;
use crate::migrate;
use crate::session::{Session, Warehouse};
use crate::sql::ident;

/// A database to try things in.
#[derive(Debug)]
pub struct Scratch {
    warehouse: Warehouse,
}

impl Scratch {
    /// Opens one in a directory that is empty or not there.
    pub async fn open(plan: &Plan, directory: &Path) -> Result<Self, WarehouseError> {
        let mut plan = plan.clone();
        plan.settings.database = DatabaseUrl::Embedded(directory.to_owned());
        let warehouse = Warehouse::open(&plan).await?;
        Ok(Self { warehouse })
    }

    /// A session for one unit of work. Its commits wait for the disk as everywhere: the embedded server forgets
    /// with its session what has not reached it.
    pub async fn session(&self) -> Result<Session, WarehouseError> {
        self.warehouse.session("trying").await
    }

    /// Makes it as new: no table, no view, a ledger without a word in it. The ledger's tables stay, which is
    /// a good part of what a new one would cost.
    pub async fn empty(&self) -> Result<(), WarehouseError> {
        let mut session = self.session().await?;
        let schema = self.warehouse.schema();
        let doing = WarehouseError::statement("emptying a database to try things in");
        let tables =
            "select string_agg(format('%I.%I', schemaname, tablename), ', ') from pg_tables
                      where schemaname = 'daymark' and tablename not in ('migration', 'pipeline')";
        let row = session.client().query_one(tables, &[]).await.map_err(&doing)?;
        let empty = format!(
            "drop schema if exists {} cascade; truncate {} restart identity",
            ident(schema),
            row.get::<_, String>(0)
        );
        session.client().batch_execute(&empty).await.map_err(&doing)?;
        migrate::make_schema(session.client(), schema).await
    }

    /// Lets it go.
    pub async fn close(self) {
        self.warehouse.close().await;
    }
}
