//! The heart of a run: while its work goes on, the ledger is told that it lives, and its log is kept.
//!
//! In: the work of a run. Out: what it gives. Deliberately absent: what is done about a run whose heart stopped
//! (`ledger::close_interrupted`).

use std::time::Duration;

use daymark_plan::one_line;
use daymark_warehouse::ledger;
use futures::future::join;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Runner;
use super::execute::save;
use super::journal::Journal;

/// How often a run says that it lives.
const BEAT: Duration = Duration::from_secs(5);

impl Runner {
    /// Does the work of a run while its heart beats, and its log is kept.
    pub(crate) async fn beating<T>(
        &self,
        run_id: Uuid,
        journal: Option<&Journal>,
        work: impl Future<Output = T>,
    ) -> T {
        self.beating_every(BEAT, run_id, journal, work).await
    }

    async fn beating_every<T>(
        &self,
        every: Duration,
        run_id: Uuid,
        journal: Option<&Journal>,
        work: impl Future<Output = T>,
    ) -> T {
        let ended = CancellationToken::new();
        let work = async {
            let done = work.await;
            ended.cancel();
            done
        };
        let beat = async {
            loop {
                tokio::select! {
                    () = ended.cancelled() => return,
                    () = tokio::time::sleep(every) => {}
                }
                let session = async { self.warehouse().await?.session("a run's heartbeat").await };
                // The work may hold the only session there is, and whoever waits for this may hold it after the
                // work as well.
                let session = tokio::select! {
                    () = ended.cancelled() => return,
                    session = session => session,
                };
                let beat = async {
                    let mut session = session?;
                    ledger::beat(&mut session, run_id).await?;
                    save(&mut session, run_id, journal).await
                };
                // The work meets the same database, and says what is wrong with it.
                if let Err(error) = beat.await {
                    tracing::debug!("no heartbeat: {}", one_line(&error));
                }
            }
        };
        join(work, beat).await.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use daymark_plan::{Clock, Environment};

    use super::*;

    /// The embedded database has one session: a heart that waits for it must not be waited for.
    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_keeps_its_session_ends_though_the_heart_waits_for_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let settings = "name = \"t\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n";
        std::fs::write(folder.path().join("daymark.toml"), settings).unwrap();
        let source = "id = \"s\"\n[request]\nurl = \"http://127.0.0.1:1/\"\n[rows]\nlayout = \"records\"\n\
                      [rows.fields]\nv = { path = \"v\", type = \"text\" }\n";
        std::fs::create_dir(folder.path().join("sources")).unwrap();
        std::fs::write(folder.path().join("sources/s.toml"), source).unwrap();
        let plan = Arc::new(daymark_plan::load(folder.path(), &Environment::default()).unwrap());
        let runner = Runner::new(plan, Clock::System);
        let session = runner.warehouse().await.unwrap().session("the work").await.unwrap();
        let every = Duration::from_millis(1);
        // The heart beats, or would, some fifty times.
        let work = tokio::time::sleep(every * 50);
        let beating = runner.beating_every(every, Uuid::now_v7(), None, work);
        tokio::time::timeout(Duration::from_mins(1), beating).await.expect("it ends");
        drop(session);
        runner.close().await;
    }
}
