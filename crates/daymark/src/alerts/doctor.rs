//! Whether the channels and the heartbeat could be reached, without telling them anything.
//!
//! In: `[[alerts]]` and `[heartbeat]`, the environment with their secrets. Out: a [`Finding`] for each. A web server is
//! asked for the head of its root, a mail server for a connection. Deliberately absent: sending: that is
//! `daymark alerts test`.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use daymark_ingest::Scrubber;
use daymark_plan::{
    Channel, ChannelKind, Email, Environment, Finding, SecretRef, Secrets, Settings, Template,
};
use tokio::net::TcpStream;

use super::Refusal;
use super::webhook::{address, client, innermost};

/// How long a server may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the findings are called.
const NAME: &str = "alerts";

/// Looks at every channel, and at the heartbeat; with `is_offline` no server is asked.
pub(crate) async fn channels(
    settings: &Settings,
    environment: &Environment,
    is_offline: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if settings.alerts.is_empty() {
        let message = "nobody is told of anything: the folder has no `[[alerts]]` (docs/alerts.md)";
        findings.push(Finding::ok(NAME, message));
    }
    let looks = settings.alerts.iter().map(|channel| of_channel(channel, environment, is_offline));
    findings.extend(futures::future::join_all(looks).await);
    if let Some(heartbeat) = &settings.heartbeat {
        let names = heartbeat.url.secrets().cloned().collect();
        let found = match secrets(names, environment).await {
            Ok(secrets) => web(&heartbeat.url, None, &secrets, is_offline).await,
            Err(wrong) => Err(wrong),
        };
        findings.push(finding("the heartbeat", found));
    }
    findings
}

/// What is wrong, and what to do.
struct Wrong {
    reason: String,
    hint: String,
}

impl Wrong {
    fn with(refusal: &Refusal, secrets: &Secrets) -> Self {
        let reason = Scrubber::new(secrets).scrub(&refusal.error);
        Self { reason, hint: "mend it in daymark.toml, or its secret".to_owned() }
    }

    fn away(reason: String) -> Self {
        let hint = "check the address, the network and the proxy; `--offline` leaves servers alone";
        Self { reason, hint: hint.to_owned() }
    }
}

fn finding(whose: &str, found: Result<&'static str, Wrong>) -> Finding {
    match found {
        Ok(said) => Finding::ok(NAME, format!("{whose}: {said}")),
        Err(Wrong { reason, hint }) => Finding::fail(NAME, format!("{whose}: {reason}"), &hint),
    }
}

async fn of_channel(channel: &Channel, environment: &Environment, is_offline: bool) -> Finding {
    let look = async {
        let secrets = secrets(channel.secrets(), environment).await?;
        match &channel.kind {
            ChannelKind::Webhook(webhook) => {
                web(&webhook.url, webhook.ca_file.as_deref(), &secrets, is_offline).await
            }
            ChannelKind::Email(mail) => of_mail(mail, is_offline).await,
            // Asking AWS whether it would take a message needs a right that sending does not.
            ChannelKind::Sns { .. } => Ok("it is declared; `daymark alerts test` tries it"),
            ChannelKind::Log => Ok("it is this program's own log"),
        }
    };
    finding(&format!("`{}` ({})", channel.name, channel.kind.as_str()), look.await)
}

async fn secrets(names: BTreeSet<SecretRef>, environment: &Environment) -> Result<Secrets, Wrong> {
    let found = tokio::time::timeout(PATIENCE, daymark_ingest::secrets(names, environment)).await;
    let hint =
        "set it in the environment daymark is started in, or store it where daymark may read it";
    let reason = match found {
        Ok(Ok(secrets)) => return Ok(secrets),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("its secrets were not found within {} s", PATIENCE.as_secs()),
    };
    Err(Wrong { reason, hint: hint.to_owned() })
}

/// A web server: whatever it answers, it is there. Its address may be a secret, and is not repeated.
async fn web(
    url: &Template,
    ca_file: Option<&Path>,
    secrets: &Secrets,
    is_offline: bool,
) -> Result<&'static str, Wrong> {
    let refused = |refusal: Refusal| Wrong::with(&refusal, secrets);
    let mut url = address(url, secrets).map_err(refused)?;
    let client = client(&url, PATIENCE, ca_file).map_err(refused)?;
    if is_offline {
        return Ok("its secrets are there (--offline: its server is not asked)");
    }
    // The path may mean a message, or a ping: the root will do.
    url.set_path("/");
    url.set_query(None);
    match client.head(url).send().await {
        Ok(_) => Ok("its secrets are there and its server answers"),
        Err(error) => {
            let reason = Scrubber::new(secrets).scrub(&innermost(&error.without_url()));
            Err(Wrong::away(format!("its server does not answer: {reason}")))
        }
    }
}

/// A mail server: that it takes the connection.
async fn of_mail(mail: &Email, is_offline: bool) -> Result<&'static str, Wrong> {
    if is_offline {
        return Ok("its secrets are there (--offline: its server is not asked)");
    }
    let (host, port) = (mail.host.as_str(), mail.port);
    let away = |reason: String| Wrong::away(format!("`{host}:{port}` does not answer: {reason}"));
    match tokio::time::timeout(PATIENCE, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok("its secrets are there and its server answers"),
        Ok(Err(error)) => Err(away(error.to_string())),
        Err(_) => Err(away(format!("nothing within {} s", PATIENCE.as_secs()))),
    }
}
