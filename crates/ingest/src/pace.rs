//! How long limits make asking take.
//!
//! In: how many times each source would be asked. Out: the calls that counts as, and the least time `[rate]` and
//! `[hosts]` leave for them. Nothing is asked, and no secret is looked up. Deliberately absent: how long the API
//! itself takes, and pages beyond the first; nobody knows them before.

use std::collections::BTreeMap;
use std::time::Duration;

use daymark_plan::{
    CursorType, Moment, Plan, Rate, Secret, Secrets, Source, SourceId, Values, Weight,
};
use jiff::ToSpan;
use jiff::civil::Date;

use crate::rate::{least_time, weight};
use crate::request::Outgoing;

/// What asking a source so often comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// The source.
    pub source: SourceId,
    /// Requests, of one page each.
    pub requests: u64,
    /// What they count as at the API.
    pub calls: u64,
    /// The least time its limits, and those of its host with all that asks there, leave.
    pub least: Duration,
}

/// What asking each source so often comes to, each request as for the given day.
pub fn asking(plan: &Plan, wanted: &[(&Source, Date, u64)]) -> Vec<Asking> {
    let mut at_hosts: BTreeMap<String, (u64, u32)> = BTreeMap::new();
    let mut asked = Vec::new();
    for (source, date, requests) in wanted {
        let outgoing = first_request(plan, source, *date);
        let weight = match (&outgoing, source.weight) {
            (Some(outgoing), by) => weight(by, &outgoing.url),
            (None, Weight::Calls(calls)) => calls,
            (None, Weight::OpenMeteo) => 1,
        };
        let calls = requests.saturating_mul(u64::from(weight));
        let host =
            outgoing.and_then(|outgoing| outgoing.url.host_str().map(str::to_ascii_lowercase));
        if let Some(host) = &host {
            let at = at_hosts.entry(host.clone()).or_default();
            *at = (at.0.saturating_add(calls), at.1.max(weight));
        }
        asked.push((*source, *requests, calls, weight, host));
    }
    let of_host = |host: Option<&String>| -> Option<Duration> {
        let host = host?;
        let rate: &Rate = plan.settings.hosts.get(host)?;
        let (calls, weight) = *at_hosts.get(host)?;
        Some(least_time(*rate, weight, calls))
    };
    let asked = asked.into_iter().map(|(source, requests, calls, weight, host)| {
        let own = source.rate.map(|rate| least_time(rate, weight, calls));
        let least = own.max(of_host(host.as_ref())).unwrap_or_default();
        Asking { source: source.id.clone(), requests, calls, least }
    });
    asked.collect()
}

/// The first request of a source for a day, with its secrets left out.
fn first_request(plan: &Plan, source: &Source, data_date: Date) -> Option<Outgoing> {
    let mut secrets = Secrets::default();
    for secret in source.secrets() {
        secrets.insert(secret, Secret::new("unknown".to_owned()));
    }
    let zone = plan.settings.zone.clone();
    let first_day = data_date.checked_sub((i64::from(source.window.days) - 1).days()).ok()?;
    let kind = source.incremental.as_ref().map(|incremental| incremental.cursor_type);
    let moment = |date: Date| match kind {
        Some(CursorType::Timestamp) => {
            date.to_zoned(zone.clone()).ok().map(|zoned| Moment::Instant(zoned.timestamp()))
        }
        _ => Some(Moment::Date(date)),
    };
    let window_start = moment(first_day)?;
    let entity = source.entities.rows.first();
    let values = Values {
        data_date,
        cursor: kind.map(|_| window_start.clone()),
        window_start,
        window_end: moment(data_date)?,
        entity: entity.map(|entity| source.entities.named(entity)).unwrap_or_default(),
        zone: zone.clone(),
        secrets: &secrets,
    };
    Outgoing::build(source, &values).ok()
}
