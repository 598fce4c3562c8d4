//! What `daymark doctor` asks of the database.
//!
//! In: the settings and the pipeline's name. Out: [`Finding`]s. Nothing is made or changed: neither a
//! schema nor, where there is none, an embedded database. Deliberately absent: the models.

use std::path::Path;
use std::time::Duration;

use daymark_plan::{DatabaseUrl, Finding, Settings, causes};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::embedded::Embedded;
use crate::migrate;

/// How long the database may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The oldest server that is known to work.
const OLDEST: i32 = 150_000;

/// Looks at the pipeline's database.
pub async fn database(settings: &Settings, pipeline: &str) -> Vec<Finding> {
    let shown = settings.database.to_string();
    let looking = async {
        match &settings.database {
            DatabaseUrl::Embedded(folder) => embedded(folder, settings, pipeline).await,
            DatabaseUrl::Server(url) => server(url.reveal(), settings, pipeline).await,
        }
    };
    if let Ok(findings) = tokio::time::timeout(PATIENCE, looking).await {
        return findings;
    }
    let holder = match &settings.database {
        DatabaseUrl::Embedded(folder) => note(folder, "session").unwrap_or_default(),
        DatabaseUrl::Server(_) => String::new(),
    };
    let message = format!("`{shown}` did not answer within {} s {holder}", PATIENCE.as_secs());
    let hint = "another process may be at work in it: wait for it, or stop it";
    vec![Finding::fail("database", message.trim_end(), hint)]
}

/// What an embedded database's processes note in its folder.
fn note(folder: &Path, file: &str) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(file)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

async fn embedded(folder: &Path, settings: &Settings, pipeline: &str) -> Vec<Finding> {
    let shown = folder.display();
    match std::fs::metadata(folder) {
        Ok(found) if !found.is_dir() => {
            return vec![Finding::fail(
                "database",
                format!("`{shown}` is not a folder"),
                "move that file away, or name another folder: `database.url = \"embedded:DIR\"`",
            )];
        }
        Ok(_) if folder.join("cluster").is_dir() => {}
        Ok(_) => {
            return vec![Finding::ok(
                "database",
                format!("`{shown}` is empty: the first run makes it"),
            )];
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return vec![Finding::ok(
                "database",
                format!("`{shown}` is not there yet: the first run makes it"),
            )];
        }
        Err(error) => {
            return vec![Finding::fail(
                "database",
                format!("`{shown}` cannot be looked at: {error}"),
                "the folder must be readable and writable by this user",
            )];
        }
    }
    let opened = match Embedded::new(folder) {
        Ok(embedded) => embedded.connect("doctor").await.map(|client| (embedded, client)),
        Err(error) => Err(error),
    };
    let (embedded, client) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let reasons: Vec<String> = causes(&error);
            let message = [vec![error.to_string()], reasons].concat().join(": ");
            let hint = error.hint().unwrap_or_default();
            return vec![Finding::fail("database", message, &hint)];
        }
    };
    let who = match embedded.host_of_others() {
        Some(host) => format!("it is served by {host}, and this was its guest"),
        None => "no other process has it open".to_owned(),
    };
    let mut findings = vec![Finding::ok("database", format!("`embedded:{shown}` answers; {who}"))];
    findings.extend(inside(&client, settings, pipeline).await);
    drop(client);
    embedded.session_ended();
    let stopped = tokio::task::spawn_blocking(move || embedded.stop()).await;
    stopped.expect("stopping the embedded server does not panic");
    findings
}

async fn server(url: &str, settings: &Settings, pipeline: &str) -> Vec<Finding> {
    let shown = settings.database.to_string();
    let mut config: tokio_postgres::Config = match url.parse() {
        Ok(config) => config,
        Err(error) => {
            let message = format!("`{shown}` is not a URL of PostgreSQL: {error}");
            return vec![Finding::fail(
                "database",
                message,
                "postgres://USER:PASSWORD@HOST/DATABASE",
            )];
        }
    };
    config.connect_timeout(Duration::from_secs(10)).application_name("daymark doctor");
    let (client, connection) = match config.connect(NoTls).await {
        Ok(connected) => connected,
        Err(error) => return vec![not_connected(&shown, &error)],
    };
    let connection = tokio::spawn(connection);
    let mut findings = match client
        .query_one(
            "select current_setting('server_version'), current_setting('server_version_num')::int, \
         current_user::text",
            &[],
        )
        .await
    {
        Ok(row) => {
            let (version, number, role): (String, i32, String) =
                (row.get(0), row.get(1), row.get(2));
            let message = format!("`{shown}` answers: PostgreSQL {version}, role `{role}`");
            vec![if number < OLDEST {
                Finding::fail("database", message, "daymark needs PostgreSQL 15 or later")
            } else {
                Finding::ok("database", message)
            }]
        }
        Err(error) => vec![said("database", &error)],
    };
    findings.extend(inside(&client, settings, pipeline).await);
    drop(client);
    // It ends with its client; how is no finding.
    drop(connection.await);
    findings
}

fn not_connected(shown: &str, error: &tokio_postgres::Error) -> Finding {
    let hint = match error.code() {
        Some(code)
            if *code == SqlState::INVALID_PASSWORD
                || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION =>
        {
            "the role or its password is wrong: check DAYMARK_DATABASE_URL or `database.url`"
        }
        Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
            "make it with `createdb`, or name another in `database.url`"
        }
        Some(_) => "PostgreSQL's log may say more",
        None => {
            "check that the server runs, and the host and port of `database.url` or DAYMARK_DATABASE_URL"
        }
    };
    let reasons = causes(error);
    let reason = reasons.last().cloned().unwrap_or_else(|| error.to_string());
    Finding::fail("database", format!("cannot connect to `{shown}`: {reason}"), hint)
}

fn said(name: &str, error: &tokio_postgres::Error) -> Finding {
    let reason = causes(error).last().cloned().unwrap_or_else(|| error.to_string());
    Finding::fail(name, reason, "PostgreSQL's log may say more")
}

/// The ledger and the role's rights.
async fn inside(client: &Client, settings: &Settings, pipeline: &str) -> Vec<Finding> {
    let ledger = ledger(client, settings, pipeline).await;
    let rights = rights(client, &settings.schema).await;
    [ledger, rights]
        .into_iter()
        .map(|found| found.unwrap_or_else(|error| said("database", &error)))
        .collect()
}

async fn ledger(
    client: &Client,
    settings: &Settings,
    pipeline: &str,
) -> Result<Finding, tokio_postgres::Error> {
    let asked = "select to_regclass('daymark.migration') is not null \
                 and to_regclass('daymark.pipeline') is not null";
    if !client.query_one(asked, &[]).await?.get::<_, bool>(0) {
        return Ok(Finding::ok("ledger", "there is none yet: the first run makes it"));
    }
    let version: Option<i32> =
        client.query_one("select max(version)::int from daymark.migration", &[]).await?.get(0);
    let version = version.unwrap_or(0);
    let current = migrate::current();
    if version > current {
        return Ok(Finding::fail(
            "ledger",
            format!("it has version {version}, and this program knows {current}"),
            "a newer daymark wrote it: use that one or a newer one",
        ));
    }
    let row = client
        .query_opt("select name, to_jsonb(p) ->> 'schema_name' from daymark.pipeline p", &[])
        .await?;
    let Some(row) = row else {
        return Ok(Finding::ok("ledger", "it is of no pipeline yet: the first run takes it"));
    };
    let (found, schema): (String, Option<String>) = (row.get(0), row.get(1));
    if found != pipeline {
        return Ok(Finding::fail(
            "ledger",
            format!("the database holds the pipeline `{found}`, not `{pipeline}`"),
            "one database holds one pipeline: use another database",
        ));
    }
    if let Some(schema) = schema.filter(|schema| *schema != settings.schema) {
        return Ok(Finding::fail(
            "ledger",
            format!("the curated tables are in the schema `{schema}`, not `{}`", settings.schema),
            &format!("set `database.schema` to `{schema}`, or use another database"),
        ));
    }
    let older = if version < current {
        format!("; version {version} becomes {current} at the next run")
    } else {
        format!(", version {version}")
    };
    Ok(Finding::ok("ledger", format!("it is of the pipeline `{found}`{older}")))
}

async fn rights(client: &Client, schema: &str) -> Result<Finding, tokio_postgres::Error> {
    let row = client
        .query_one(
            "select has_database_privilege(current_database(), 'CREATE'), \
             has_database_privilege(current_database(), 'TEMPORARY'), \
             (select has_schema_privilege(oid, 'CREATE') and has_schema_privilege(oid, 'USAGE') \
              from pg_namespace where nspname = 'daymark'), \
             (select has_schema_privilege(oid, 'CREATE') and has_schema_privilege(oid, 'USAGE') \
              from pg_namespace where nspname = $1), \
             current_user::text, current_database()::text, \
             current_setting('default_transaction_read_only') = 'on' or pg_is_in_recovery()",
            &[&schema],
        )
        .await?;
    let (make, temporary): (bool, bool) = (row.get(0), row.get(1));
    let (ledger, curated): (Option<bool>, Option<bool>) = (row.get(2), row.get(3));
    let (role, database): (String, String) = (row.get(4), row.get(5));
    if row.get(6) {
        return Ok(Finding::fail(
            "rights",
            "the database can only be read",
            "name the primary server in `database.url`, not a replica of it",
        ));
    }
    let mut grants = Vec::new();
    if (ledger.is_none() || curated.is_none()) && !make {
        grants.push(format!("grant create on database \"{database}\" to \"{role}\""));
    }
    if !temporary {
        grants.push(format!("grant temporary on database \"{database}\" to \"{role}\""));
    }
    for (schema, may) in [("daymark", ledger), (schema, curated)] {
        if may == Some(false) {
            grants.push(format!("grant usage, create on schema \"{schema}\" to \"{role}\""));
        }
    }
    Ok(if grants.is_empty() {
        Finding::ok("rights", format!("the role `{role}` may make what daymark needs"))
    } else {
        Finding::fail(
            "rights",
            format!("the role `{role}` may not make what daymark needs"),
            &format!("as the database's owner: {};", grants.join("; ")),
        )
    })
}
