//! The dead man's switch: an address outside that is pinged while all is well, and raises the alarm by itself when
//! it is not.
//!
//! In: `[heartbeat]` and what happened. Out: a ping, in the words of Healthchecks: the address itself for good, `/start`
//! and `/fail` behind it for the others. It is tried twice, and a failure is a warning. Deliberately absent: when.

use daymark_ingest::Scrubber;
use daymark_plan::{Heartbeat, Plan};
use reqwest::Url;

use super::Refusal;
use super::webhook::{address, answered, client};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat<'b> {
    /// A run starts.
    Started,
    /// A run ended well.
    Well,
    /// A run failed, and why.
    Failed(&'b str),
    /// The scheduler lives.
    Alive,
}

/// Pings, if the folder has a heartbeat that wants this beat.
pub(super) async fn ping(plan: &Plan, beat: Beat<'_>) {
    let Some(heartbeat) = &plan.settings.heartbeat else { return };
    let is_wanted = match beat {
        Beat::Started => heartbeat.start,
        Beat::Failed(_) => heartbeat.fail,
        Beat::Well | Beat::Alive => true,
    };
    if !is_wanted {
        return;
    }
    if let Err(error) = send(plan, heartbeat, beat).await {
        tracing::warn!("the heartbeat was not taken: {error}");
    }
}

async fn send(plan: &Plan, heartbeat: &Heartbeat, beat: Beat<'_>) -> Result<(), String> {
    let names = heartbeat.url.secrets().cloned().collect();
    let secrets = daymark_ingest::secrets(names, &plan.environment).await;
    let secrets = secrets.map_err(|error| error.to_string())?;
    let scrubbed = |refusal: Refusal| Scrubber::new(&secrets).scrub(&refusal.error);
    let base = address(&heartbeat.url, &secrets).map_err(scrubbed)?;
    let url = match beat {
        Beat::Started => behind(&base, "start"),
        Beat::Failed(_) => behind(&base, "fail"),
        Beat::Well | Beat::Alive => base,
    };
    let client = client(&url, heartbeat.timeout, None).map_err(scrubbed)?;
    let once = || async {
        let request = match beat {
            // The reason is kept beside the ping, up to some kilobytes.
            Beat::Failed(why) => {
                client.post(url.clone()).body(why.chars().take(2000).collect::<String>())
            }
            Beat::Started | Beat::Well | Beat::Alive => client.get(url.clone()),
        };
        answered(request.send().await).await
    };
    match once().await {
        Err(refusal) if refusal.may_pass => once().await,
        done => done,
    }
    .map(|_| ())
    .map_err(scrubbed)
}

/// An address with one more word in its path; what stands behind a `?` stays there.
fn behind(base: &Url, word: &str) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push(word);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_goes_behind_the_path() {
        let behind = |base: &str| behind(&base.parse().unwrap(), "fail").to_string();
        assert_eq!(behind("https://hc.test/uuid"), "https://hc.test/uuid/fail");
        assert_eq!(behind("https://hc.test/uuid/"), "https://hc.test/uuid/fail");
        assert_eq!(behind("https://hc.test/a/b?create=1"), "https://hc.test/a/b/fail?create=1");
    }
}
