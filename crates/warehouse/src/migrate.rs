//! Brings the ledger's schema to this program's version.
//!
//! In: a session. Out: schema `daymark`, migrated, holding the given pipeline's name. Deliberately
//! absent: curated tables; those follow the contracts (`contract`).

use tokio_postgres::Client;

use crate::error::WarehouseError;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The version this program writes.
const CURRENT: i32 = 1;

/// Migrates when the ledger is not current, and takes the database for the pipeline `name`.
pub(crate) async fn ensure(
    client: &mut Client,
    name: &str,
    url: &str,
) -> Result<(), WarehouseError> {
    if version(client).await? != Some(CURRENT) {
        client
            .batch_execute("create schema if not exists daymark")
            .await
            .map_err(WarehouseError::statement("making the ledger's schema"))?;
        embedded::migrations::runner()
            .set_migration_table_name("daymark.migration")
            .run_async(client)
            .await
            .map_err(|cause| WarehouseError::Migrate { cause: Box::new(cause) })?;
    }
    let doing = WarehouseError::statement("reading the pipeline's name");
    client
        .execute("insert into daymark.pipeline (name) values ($1) on conflict do nothing", &[&name])
        .await
        .map_err(&doing)?;
    let row = client.query_one("select name from daymark.pipeline", &[]).await.map_err(&doing)?;
    let found: String = row.get(0);
    if found == name {
        return Ok(());
    }
    Err(WarehouseError::OtherPipeline { url: url.to_owned(), found, wanted: name.to_owned() })
}

async fn version(client: &Client) -> Result<Option<i32>, WarehouseError> {
    let doing = WarehouseError::statement("reading the ledger's version");
    let exists: bool = client
        .query_one("select to_regclass('daymark.migration') is not null", &[])
        .await
        .map_err(&doing)?
        .get(0);
    if !exists {
        return Ok(None);
    }
    let row = client
        .query_one("select max(version) from daymark.migration", &[])
        .await
        .map_err(&doing)?;
    Ok(row.get(0))
}
