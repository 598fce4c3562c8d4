//! A line of the table through real fetches.
//!
//! In: a line. Out: what came of each of its fetches. On the way it is asserted of every fetch that the
//! manifest tells the requests the server saw, that the bytes kept are bytes that were served, that the
//! rows of each page are as many as `counted.rs` counts, and that no secret stands in the manifest.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use daymark_ingest::{
    FetchEvent, FetchOrder, Fetched, Ingest, Outcome, Policy, RawStore, Reach, policy,
};
use daymark_plan::{Clock, Environment, Source};
use daymark_testkit::rest::RestServer;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::table::{Found, Line};
use crate::{counted, served};

/// When responses are fetched whose own time is not known.
const NOW: &str = "2026-11-23T13:00:00Z";

/// A wait from this on is what the server asked for; it is taken note of and not waited for.
const LONG: Duration = Duration::from_secs(1);

/// What `${...}` stands for in the sources.
const SECRETS: [(&str, &str); 7] = [
    ("OPEN_METEO_KEY", "123-test"),
    ("FRED_API_KEY", "<FRED_API_KEY>"),
    ("ALPHA_VANTAGE_KEY", "alpha-s3cr3t"),
    ("YAHOO_CRUMB", "haT3oykhHqZ"),
    ("NOAA_TOKEN", "noaa-s3cr3t"),
    ("POLYGON_KEY", "polygon-s3cr3t"),
    ("MET_OFFICE_KEY", "office-s3cr3t"),
];

fn environment() -> Environment {
    Environment::of(SECRETS.map(|(name, value)| (name, value.to_owned())))
}

/// A source as its file has it, but that it asks `api` and waits for nothing.
fn source(id: &str, api: &RestServer) -> Source {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = match id {
        "weather" | "sp500" => here.join("../../pipelines/dc-markets/sources"),
        _ => here.join("tests/replay/sources"),
    };
    let text = fs::read_to_string(file.join(format!("{id}.toml"))).unwrap();
    let (before, url) = text.split_once("://").expect("a source has an address");
    let (scheme, path) = (before.rfind("http").unwrap(), url.find('/').unwrap());
    let text = format!("{}{}{}", &text[..scheme], api.url(""), &url[path..]);
    let text = format!("{text}\n[retry]\nbase_seconds = 0.001\ncap_seconds = 0.002\n");
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sources")).unwrap();
    let main = "name = \"replay\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n";
    fs::write(folder.path().join("daymark.toml"), main).unwrap();
    fs::write(folder.path().join(format!("sources/{id}.toml")), text).unwrap();
    let plan = daymark_plan::load(folder.path(), &environment())
        .unwrap_or_else(|error| panic!("{id}.toml: {error}"));
    plan.sources.into_iter().next().unwrap()
}

/// The path a source asks, with the server's words for it.
fn path(source: &Source, entity: Option<&str>) -> String {
    let text = source.request.url.text();
    let path = text.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap();
    let entity = source.entities.rows.iter().find(|row| Some(row.id.as_str()) == entity);
    match entity {
        // The only template in a path that is served without a question.
        Some(entity) => {
            let named = source.entities.named(entity);
            named.into_iter().fold(path, |path, (name, value)| {
                path.replace(&format!("{{{{ entity.{name} }}}}"), value)
            })
        }
        None => path,
    }
}

/// What came of the fetches of a line, in the order of its files.
pub(crate) async fn of(line: &Line) -> Vec<Found> {
    let (id, entity) = match line.source.split_once('@') {
        Some((id, entity)) => (id, Some(entity)),
        None => (line.source.as_str(), None),
    };
    let api = RestServer::start().await;
    let source = source(id, &api);
    let mut found = Vec::new();
    for files in line.files() {
        let day = day_of(&files[0]);
        let path = path(&source, entity);
        let answered_at = served::serve(&api, &path, &files, &line.served);
        found.extend(fetch(&api, &source, entity, day, answered_at, line).await);
    }
    found
}

/// The day in the name of a file.
fn day_of(file: &str) -> Option<Date> {
    Path::new(file).file_stem()?.to_str()?.parse().ok()
}

async fn fetch(
    api: &RestServer,
    source: &Source,
    entity: Option<&str>,
    day: Option<Date>,
    answered_at: Option<Timestamp>,
    line: &Line,
) -> Vec<Found> {
    let clock = Clock::manual(answered_at.unwrap_or_else(|| NOW.parse().unwrap()));
    let data_date = day.unwrap_or_else(|| clock.now().to_zoned(TimeZone::UTC).date());
    let ingest = Ingest::new(RawStore::in_memory(), clock).with_environment(environment());
    let order =
        FetchOrder { data_date, scheduled_at: None, run_id: Uuid::nil(), reach: Reach::Forward };
    let before = api.requests().len();
    let waits = Mutex::new(String::new());
    let (long, mut waiting) = mpsc::unbounded_channel();
    let watch = |event| {
        let event = match event {
            FetchEvent::Of { event, .. } => *event,
            event => event,
        };
        if let FetchEvent::Waiting { wait, why } = event
            && wait >= LONG
        {
            *waits.lock().unwrap() = why;
            long.send(wait).unwrap();
        }
    };
    let only = |id: Option<&daymark_plan::EntityId>| {
        entity.is_none() || id.map(daymark_plan::EntityId::as_str) == entity
    };
    let fetched = tokio::select! {
        fetched = ingest.fetch_all(source, &order, &only, &watch) => fetched.unwrap(),
        Some(wait) = waiting.recv() => {
            let why = waits.lock().unwrap().clone();
            return vec![Found {
                outcome: "-".to_owned(),
                kind: "-".to_owned(),
                then: format!("waits {} s", wait.as_secs()),
                requests: (api.requests().len() - before) as u64,
                says: why,
                ..Found::default()
            }];
        }
    };
    let asked = api.requests().split_off(before);
    let mut found = Vec::new();
    let mut attempts = 0;
    for one in &fetched {
        let (one, made) = told(&ingest, source, one, line).await;
        attempts += made;
        found.push(Found { says: one.says.replace(&api.port().to_string(), "<port>"), ..one });
    }
    assert_eq!(asked.len() as u64, attempts, "line {}: {asked:?}", line.number);
    if let Some(day) = day {
        let day = day.to_string();
        assert!(
            asked.iter().all(|seen| seen.target.contains(&day)),
            "line {}: {asked:?}",
            line.number
        );
    }
    found
}

/// A fetch as the table tells it, and the requests that its manifest has.
async fn told(ingest: &Ingest, source: &Source, fetched: &Fetched, line: &Line) -> (Found, u64) {
    let store = ingest.store();
    let number = line.number;
    let stored = fetched.outcome.as_ref().unwrap_or_else(|error| panic!("line {number}: {error}"));
    let manifest = &stored.manifest;
    let kept = String::from_utf8(store.read(&stored.key).await.unwrap().to_vec()).unwrap();
    for (name, secret) in SECRETS {
        assert!(!kept.contains(secret), "line {number}: {name} in the manifest");
        let encoded = secret.replace('<', "%3C").replace('>', "%3E");
        assert!(!kept.contains(&encoded), "line {number}: {name} in the manifest");
    }
    let (mut counted_rows, mut raw) = (0, BTreeSet::new());
    for page in &manifest.pages {
        let body = store.read_page(page).await.unwrap();
        if let Some(rows) = page.rows {
            let counted = counted::rows(source.id.as_str(), &body);
            assert_eq!(counted, Some(rows), "line {number}: the rows of page {:?}", page.number);
            counted_rows += rows;
        }
        if let Some(key) = &page.raw_key {
            assert_eq!(store.read(key).await.unwrap(), body, "line {number}: {key}");
            raw.insert(key.clone());
        }
    }
    let accepted = manifest.outcome == Outcome::Accepted;
    assert_eq!(raw.len(), if accepted { manifest.pages.len() } else { 0 }, "line {number}");
    let (rows, rejected) =
        manifest.rows.as_ref().map_or((0, 0), |rows| (rows.extracted, rows.rejected));
    if accepted {
        assert_eq!(rows + rejected, counted_rows, "line {number}: the rows of all pages");
        // Nothing is left out of a response that was taken.
        assert!(manifest.rows.is_some(), "line {number}");
    }
    let kind = manifest.error_kind;
    let then = kind.map(|kind| match policy(kind) {
        Policy::Retry => "tried again",
        Policy::Stop => "ends",
        Policy::NeedsOperator(_) => "someone must act",
    });
    let requests = manifest.attempts.len() as u64;
    let found = Found {
        outcome: format!("{:?}", manifest.outcome).to_lowercase(),
        kind: kind.map_or_else(|| "-".to_owned(), |kind| format!("{kind:?}")),
        then: then.unwrap_or("-").to_owned(),
        requests,
        rows,
        rejected,
        says: manifest.reason.clone().unwrap_or_else(|| "-".to_owned()),
    };
    (found, requests)
}
