//! What `daymark doctor` asks of sources and the raw store.
//!
//! In: sources, a store's URL, a clock. Out: [`Finding`]s. Deliberately absent: fetching: an API is
//! asked for nothing but the `Date` of an answer.

use std::collections::BTreeMap;
use std::time::Duration;

use daymark_plan::{
    Clock, Environment, Finding, Moment, RawUrl, SecretRef, Secrets, Source, Values,
};
use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::aws;
use crate::client::{Clients, Connections};
use crate::fetch::MAX_SKEW;
use crate::store::RawStore;
use crate::words::{chain, innermost};

/// From how far on two clocks that differ are worth a word.
const WORTH_A_WORD: SignedDuration = SignedDuration::from_secs(30);
/// How long a store or an API may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to do about a wrong clock.
const SET_THE_CLOCK: &str =
    "set this machine's clock (NTP): daymark fetches nothing with one that is 5 minutes off";

/// Tries the raw store out, and compares its clock where it has one.
pub async fn store(url: &RawUrl, clock: &Clock) -> Vec<Finding> {
    let store = match RawStore::open(url) {
        Ok(store) => store,
        Err(error) => {
            let hint = match url {
                RawUrl::File(_) => "the folder must be one, and writable by this user",
                RawUrl::S3(_) => "check the bucket's URL and AWS_PROFILE",
            };
            return vec![Finding::fail("store", chain(&error), hint)];
        }
    };
    let mut findings = Vec::new();
    if let Some(server) = store.server_time().await {
        findings.push(compared("clock", &format!("`{store}`"), clock.now(), server));
    }
    match tokio::time::timeout(PATIENCE, store.probe()).await {
        Ok(probed) => findings.extend(probed),
        Err(_) => findings.push(Finding::fail(
            "store",
            format!("`{store}` did not answer within {} s", PATIENCE.as_secs()),
            "check the endpoint, the region and the network",
        )),
    }
    findings
}

/// Compares this machine's clock with the `Date` of every API host, once a host.
pub async fn clocks(sources: &[Source], environment: &Environment, clock: &Clock) -> Vec<Finding> {
    let mut hosts: BTreeMap<String, (&Source, Url)> = BTreeMap::new();
    let mut findings = Vec::new();
    for source in sources {
        match address(source, environment, clock) {
            Ok(url) => {
                hosts.entry(url.origin().ascii_serialization()).or_insert((source, url));
            }
            Err(reason) => findings.push(Finding::warn(
                "api",
                format!("the address of `{}` is not known: {reason}", source.id),
                "set its secrets, or mend `request.url`",
            )),
        }
    }
    let clients = Clients::default();
    let asked = hosts.into_iter().map(|(origin, (source, url))| {
        let clients = &clients;
        async move { ask(clients, source, &url, &origin, environment, clock).await }
    });
    findings.extend(futures::future::join_all(asked).await);
    findings
}

/// What the templates of a source can name today.
fn values<'v>(source: &'v Source, secrets: &'v Secrets, now: Timestamp) -> Values<'v> {
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let entity = source.entities.rows.first().map(|entity| source.entities.named(entity));
    Values {
        data_date: today,
        window_start: Moment::Date(today),
        window_end: Moment::Date(today),
        cursor: Some(Moment::Date(today)),
        entity: entity.unwrap_or_default(),
        zone: jiff::tz::TimeZone::UTC,
        secrets,
    }
}

/// The secrets that are in the environment; those that are stored elsewhere are not asked for here.
fn secrets(source: &Source, environment: &Environment) -> Secrets {
    let mut secrets = Secrets::default();
    for name in source.secrets() {
        if let SecretRef::Variable(variable) = &name
            && let Some(value) = environment.get(variable)
        {
            let value = daymark_plan::Secret::new(value.to_owned());
            secrets.insert(name, value);
        }
    }
    secrets
}

fn address(source: &Source, environment: &Environment, clock: &Clock) -> Result<Url, String> {
    let secrets = secrets(source, environment);
    let text = source.request.url.render(&values(source, &secrets, clock.now()))?;
    // What does not parse is not shown: it may hold a secret.
    Url::parse(&text).map_err(|error| error.to_string())
}

async fn ask(
    clients: &Clients,
    source: &Source,
    url: &Url,
    origin: &str,
    environment: &Environment,
    clock: &Clock,
) -> Finding {
    let secrets = secrets(source, environment);
    let values = values(source, &secrets, clock.now());
    let client = match clients.for_source(source, url, &values, Connections::UsedAgain) {
        Ok(client) => client,
        Err(error) => return Finding::fail("api", chain(&error), error.hint()),
    };
    // The path may hold a secret, and asking for it may count as a call: the root will do.
    let sent = client.head(format!("{origin}/")).timeout(PATIENCE).send().await;
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) => {
            let reason = innermost(&error.without_url());
            return Finding::fail(
                "api",
                format!("`{origin}` does not answer: {reason}"),
                "check the network, the proxy and the host's name; `--offline` leaves the APIs alone",
            );
        }
    };
    let date = answer.headers().get(reqwest::header::DATE).and_then(|date| {
        Timestamp::try_from(httpdate::parse_http_date(date.to_str().ok()?).ok()?).ok()
    });
    match date {
        Some(date) => compared("clock", &format!("`{origin}`"), clock.now(), date),
        None => Finding::ok("api", format!("`{origin}` answers, and does not tell its time")),
    }
}

/// This machine's clock beside another.
fn compared(name: &str, whose: &str, here: Timestamp, there: Timestamp) -> Finding {
    // A `Date` is in whole seconds.
    let ahead = SignedDuration::from_secs(here.as_second() - there.as_second());
    let far = ahead.abs();
    let seconds = far.as_secs();
    let said = match ahead.as_secs() {
        -1..=1 => format!("this machine's clock agrees with that of {whose}"),
        2.. => format!("this machine's clock is {seconds} s ahead of that of {whose}"),
        _ => format!("this machine's clock is {seconds} s behind that of {whose}"),
    };
    if far > MAX_SKEW {
        Finding::fail(name, said, SET_THE_CLOCK)
    } else if far > WORTH_A_WORD {
        Finding::warn(name, said, SET_THE_CLOCK)
    } else {
        Finding::ok(name, said)
    }
}

/// Whether the secrets of the sources are there. None is shown.
pub async fn secrets_of(sources: &[Source], environment: &Environment) -> Vec<Finding> {
    let mut users: BTreeMap<SecretRef, Vec<&str>> = BTreeMap::new();
    for source in sources {
        for secret in source.secrets() {
            users.entry(secret).or_default().push(source.id.as_str());
        }
    }
    let mut findings = Vec::new();
    for (secret, sources) in users {
        let whose = sources.join("`, `");
        let found = match &secret {
            SecretRef::Variable(name) => match environment.get(name) {
                Some(_) => Ok(()),
                None => Err("the environment variable is not set".to_owned()),
            },
            SecretRef::Stored(name) => {
                match tokio::time::timeout(PATIENCE, aws::secret(name, environment)).await {
                    Ok(found) => found.map(|_| ()),
                    Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
                }
            }
        };
        findings.push(match found {
            Ok(()) => Finding::ok("secret", format!("`{secret}` of `{whose}` is set")),
            Err(reason) => {
                let hint = match &secret {
                    SecretRef::Variable(name) => {
                        format!("set {name} in the environment daymark is started in")
                    }
                    SecretRef::Stored(_) => "store it, or let this identity read it: \
                         secretsmanager:GetSecretValue or ssm:GetParameter"
                        .to_owned(),
                };
                Finding::fail("secret", format!("`{secret}` of `{whose}`: {reason}"), &hint)
            }
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use daymark_plan::Verdict;

    use super::*;

    #[test]
    fn clocks_that_are_apart_are_told() {
        let here = Timestamp::UNIX_EPOCH;
        let at = |seconds| {
            let found = compared("clock", "x", here, here + SignedDuration::from_secs(seconds));
            (found.verdict, found.message)
        };
        assert_eq!(at(1), (Verdict::Ok, "this machine's clock agrees with that of x".to_owned()));
        let behind = |seconds| format!("this machine's clock is {seconds} s behind that of x");
        assert_eq!(at(30), (Verdict::Ok, behind(30)));
        assert_eq!(at(31), (Verdict::Warn, behind(31)));
        assert_eq!(at(301), (Verdict::Fail, behind(301)));
        assert_eq!(at(-301).0, Verdict::Fail);
    }
}
