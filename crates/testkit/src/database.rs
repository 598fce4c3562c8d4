//! A database per test: embedded in a folder of its own, or made on the native server.
//!
//! In: which kind. Out: a URL for `DAYMARK_DATABASE_URL` or `daymark.toml`. The native server is the
//! one of `DAYMARK_TEST_POSTGRES_URL`; `scripts/with-postgres.sh` starts one. Deliberately absent:
//! taking databases away; the server that holds them is made for one run of the tests.

use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::time_limit::TimeLimit;

/// How long the server of a test that hangs may take to say what it does.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Which PostgreSQL a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The one inside the program.
    Embedded,
    /// A server.
    Native,
}

/// A database of a test's own.
#[derive(Debug)]
pub struct TestDatabase {
    /// Its URL.
    pub url: String,
    /// The folder of an embedded one, removed with it.
    _folder: Option<TempDir>,
    /// A test that holds it for ever is ended.
    _limit: TimeLimit,
}

impl TestDatabase {
    /// A database that somebody else keeps.
    pub fn at(url: String) -> Self {
        Self::held(url, None)
    }

    fn held(url: String, folder: Option<TempDir>) -> Self {
        let looked_at = url.clone();
        let limit = TimeLimit::of_this_test(move || sessions(&looked_at));
        Self { url, _folder: folder, _limit: limit }
    }

    /// Makes a database.
    pub async fn new(kind: Kind) -> Self {
        match kind {
            Kind::Embedded => {
                let folder = TempDir::new().expect("a temporary folder can be made");
                let url = format!("embedded:{}", folder.path().join("postgres").display());
                Self::held(url, Some(folder))
            }
            Kind::Native => {
                let server = server_url();
                let (client, connection) = tokio_postgres::connect(server.as_str(), NoTls)
                    .await
                    .expect("the test server answers");
                let connection = tokio::spawn(connection);
                let name = format!("daymark_{}", uuid::Uuid::now_v7().simple());
                client
                    .batch_execute(&format!("create database {name}"))
                    .await
                    .expect("it can be made");
                drop(client);
                connection.await.expect("the connection does not panic").expect("it ends cleanly");
                let mut url = server;
                url.set_path(&name);
                Self::held(url.to_string(), None)
            }
        }
    }
}

/// What the sessions of a database are doing, a line each, for who looks why a test hangs.
fn sessions(url: &str) -> String {
    const SESSIONS: &str = "select concat_ws(' ', pid, state, wait_event_type, wait_event, now() - state_change, \
         'blocked by', pg_blocking_pids(pid), left(query, 300)) from pg_stat_activity \
         where datname = current_database() and pid <> pg_backend_pid()";
    let asked = async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        let rows = client.query(SESSIONS, &[]).await?;
        Ok::<_, tokio_postgres::Error>(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let told = runtime.map(|runtime| {
        runtime.block_on(async { tokio::time::timeout(ANSWERS_WITHIN, asked).await })
    });
    match told {
        Ok(Ok(Ok(sessions))) => format!("{url}\n{}", sessions.join("\n")),
        told => format!("{url}: {told:?}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "this variable is for tests only")]
fn server_url() -> url::Url {
    let text = std::env::var("DAYMARK_TEST_POSTGRES_URL").expect(
        "DAYMARK_TEST_POSTGRES_URL is not set: run the tests with `make unit`, or through \
         `scripts/with-postgres.sh cargo test`",
    );
    text.parse().expect("DAYMARK_TEST_POSTGRES_URL is a URL")
}

/// Makes two tests of an async function that takes a [`Kind`]: one per kind of database.
#[macro_export]
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* $name:ident;)+) => {
        $(mod $name {
            #[tokio::test(flavor = "multi_thread")]
            $(#[$attribute])*
            async fn embedded() {
                super::$name($crate::database::Kind::Embedded).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            $(#[$attribute])*
            async fn native() {
                super::$name($crate::database::Kind::Native).await;
            }
        })+
    };
}
