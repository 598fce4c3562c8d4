//! Brings the ledger's schema to this program's version.
//!
//! In: a session. Out: schema `daymark`, migrated, holding the given pipeline's name. Deliberately
//! absent: curated tables; those follow the contracts (`contract`).

use std::time::Duration;

use tokio_postgres::Client;

use crate::error::WarehouseError;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The version this program writes.
pub(crate) fn current() -> i32 {
    let migrations = embedded::migrations::runner();
    migrations.get_migrations().iter().map(refinery::Migration::version).max().unwrap_or_default()
}

/// How often migrating is tried when another process migrates at the same time.
const TRIES: u32 = 5;

/// Migrates when the ledger is not current, and takes the database for the pipeline `name` with its
/// curated tables in `schema`.
pub(crate) async fn ensure(
    client: &mut Client,
    name: &str,
    schema: &str,
    url: &str,
) -> Result<(), WarehouseError> {
    let mut tries = 0;
    let current = current();
    while version(client).await? != Some(current) {
        tries += 1;
        match migrate(client).await {
            Ok(()) => {}
            // Another process may be making the same tables: it wins, and the version says so.
            Err(_) if tries < TRIES => tokio::time::sleep(Duration::from_millis(200)).await,
            Err(error) => return Err(error),
        }
    }
    let doing = WarehouseError::statement("reading the pipeline's name");
    let read = "select name, schema_name from daymark.pipeline";
    if client.query_opt(read, &[]).await.map_err(&doing)?.is_none() {
        client
            .execute(
                "insert into daymark.pipeline (name, schema_name) values ($1, $2)
                 on conflict do nothing",
                &[&name, &schema],
            )
            .await
            .map_err(&doing)?;
    }
    let row = client.query_one(read, &[]).await.map_err(&doing)?;
    let (found, found_schema): (String, String) = (row.get(0), row.get(1));
    if found != name {
        let wanted = name.to_owned();
        return Err(WarehouseError::OtherPipeline { url: url.to_owned(), found, wanted });
    }
    if found_schema != schema {
        let wanted = schema.to_owned();
        return Err(WarehouseError::OtherSchema {
            url: url.to_owned(),
            found: found_schema,
            wanted,
        });
    }
    Ok(())
}

async fn migrate(client: &mut Client) -> Result<(), WarehouseError> {
    to(client, current()).await
}

/// Makes a ledger of a version, or brings an older one to it.
pub(crate) async fn to(client: &mut Client, version: i32) -> Result<(), WarehouseError> {
    make_schema(client, "daymark").await?;
    embedded::migrations::runner()
        .set_target(refinery::Target::Version(version))
        .set_migration_table_name("daymark.migration")
        .run_async(client)
        .await
        .map_err(|cause| WarehouseError::Migrate { cause: Box::new(cause) })?;
    Ok(())
}

/// Makes a schema that is not there; one that is needs no right to make any.
pub(crate) async fn make_schema(client: &Client, schema: &str) -> Result<(), WarehouseError> {
    let doing = WarehouseError::statement("making a schema");
    let exists: bool = client
        .query_one("select exists (select 1 from pg_namespace where nspname = $1)", &[&schema])
        .await
        .map_err(&doing)?
        .get(0);
    if exists {
        return Ok(());
    }
    let statement = format!("create schema if not exists {}", crate::sql::ident(schema));
    client.batch_execute(&statement).await.map_err(&doing)
}

/// The ledger's version; none when there is no ledger.
pub(crate) async fn version(client: &Client) -> Result<Option<i32>, WarehouseError> {
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
