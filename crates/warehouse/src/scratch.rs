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
    plan: Plan,
    warehouse: Warehouse,
}

impl Scratch {
    /// Opens one in a directory that is empty or not there.
    pub async fn open(plan: &Plan, directory: &Path) -> Result<Self, WarehouseError> {
        let mut plan = plan.clone();
        plan.settings.database = DatabaseUrl::Embedded(directory.to_owned());
        let warehouse = Warehouse::open(&plan).await?;
        Ok(Self { plan, warehouse })
    }

    /// A session for one unit of work.
    pub async fn session(&self) -> Result<Session, WarehouseError> {
        let mut session = self.warehouse.session("trying").await?;
        // Nothing here outlives the process: no commit has to wait for the disk.
        let settings = "set synchronous_commit = off";
        let doing = WarehouseError::statement("opening a session");
        session.client().batch_execute(settings).await.map_err(doing)?;
        Ok(session)
    }

    /// Makes it as new: no table, no view, a ledger without a word in it.
    pub async fn empty(&self) -> Result<(), WarehouseError> {
        let mut session = self.session().await?;
        let schema = self.warehouse.schema();
        let drop = format!(
            "drop schema if exists {} cascade; drop schema if exists daymark cascade",
            ident(schema)
        );
        let doing = WarehouseError::statement("emptying a database to try things in");
        session.client().batch_execute(&drop).await.map_err(doing)?;
        migrate::make_schema(session.client(), schema).await?;
        let url = self.warehouse.url();
        migrate::ensure(session.client(), &self.plan.name, schema, url).await
    }

    /// Lets it go.
    pub async fn close(self) {
        self.warehouse.close().await;
    }
}
