//! How fast hosts and sources may be asked.
//!
//! In: the `[rate]` of sources and the `[hosts]` of the pipeline. Out: a wait before each request.
//! Built on `governor`. Deliberately absent: limits shared between processes; a server that counts
//! them all answers 429, which is retried.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use daymark_plan::{Rate, Source, Weight};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use url::Url;

/// The limits of a process.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    hosts: HashMap<String, Rate>,
    made: Mutex<HashMap<String, Arc<Limit>>>,
}

/// One limit.
#[derive(Debug)]
struct Limit {
    limiter: DefaultDirectRateLimiter,
    burst: u32,
    /// How long it takes until one more call may be made.
    #[cfg(test)]
    cell: std::time::Duration,
}

impl Limits {
    /// The limits of hosts, by their names.
    pub(crate) fn new(hosts: impl IntoIterator<Item = (String, Rate)>) -> Self {
        Self { hosts: hosts.into_iter().collect(), made: Mutex::default() }
    }

    /// Waits until a request of a source to an address may be sent.
    pub(crate) async fn wait(&self, source: &Source, url: &Url) {
        let weight = weight(source.weight, url);
        if let Some(rate) = source.rate {
            self.limit(format!("source {}", source.id), rate, weight).wait(weight).await;
        }
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        if let Some(rate) = self.hosts.get(&host) {
            self.limit(format!("host {host}"), *rate, weight).wait(weight).await;
        }
    }

    fn limit(&self, name: String, rate: Rate, weight: u32) -> Arc<Limit> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(made.entry(name).or_insert_with(|| Arc::new(Limit::new(rate, weight))))
    }
}

impl Limit {
    /// No stretch of `per` sees more than `calls`: what may come at once (a tenth, or one request of
    /// the usual weight) and what is added during the stretch are `calls` together. Of requests so heavy
    /// that no two fit, there is one in each stretch.
    fn new(rate: Rate, weight: u32) -> Self {
        let (burst, refill) = burst_and_refill(rate, weight);
        let quota = Quota::with_period(rate.per / refill)
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN))
            .allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
        Self {
            limiter: RateLimiter::direct(quota),
            burst,
            #[cfg(test)]
            cell: quota.replenish_interval(),
        }
    }

    async fn wait(&self, weight: u32) {
        // A request heavier than the burst waits for its weight in parts.
        let mut left = weight.max(1);
        while let Some(part) = NonZeroU32::new(left.min(self.burst)) {
            if self.limiter.until_n_ready(part).await.is_err() {
                return;
            }
            left -= part.get();
        }
    }
}

/// What may come at once under a limit, and what is added in each `per`.
fn burst_and_refill(rate: Rate, weight: u32) -> (u32, u32) {
    let burst = (rate.calls / 10).max(weight).clamp(1, rate.calls);
    let left = rate.calls - burst;
    (burst, if left < burst { burst } else { left })
}

/// The least time in which so many calls fit a limit.
pub(crate) fn least_time(rate: Rate, weight: u32, calls: u64) -> Duration {
    let (burst, refill) = burst_and_refill(rate, weight);
    let waited_for = calls.saturating_sub(u64::from(burst));
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let seconds = rate.per.as_secs_f64() / f64::from(refill) * waited_for as f64;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// How many calls a request counts as.
pub(crate) fn weight(weight: Weight, url: &Url) -> u32 {
    match weight {
        Weight::Calls(calls) => calls,
        Weight::OpenMeteo => open_meteo(url),
    }
}

/// `max(1, v/10, days/14 * v/10) * locations`, v being variables times models (FORMATS.md section A,
/// "Limits"); days are those of the dates asked for, or 7 forecast days and the past ones.
fn open_meteo(url: &Url) -> u32 {
    let mut variables = 0;
    let (mut models, mut locations) = (1, 1);
    let (mut past, mut forecast) = (0, 7);
    let (mut from, mut to) = (None, None);
    for (name, value) in url.query_pairs() {
        let count = u32::try_from(value.split(',').count()).unwrap_or(u32::MAX);
        match name.as_ref() {
            "hourly" | "daily" | "weekly" | "monthly" | "current" | "minutely_15" => {
                variables += count;
            }
            "models" => models = count,
            "latitude" => locations = count,
            "past_days" => past = value.parse().unwrap_or(0),
            "forecast_days" => forecast = value.parse().unwrap_or(7),
            "start_date" => from = value.parse::<jiff::civil::Date>().ok(),
            "end_date" => to = value.parse::<jiff::civil::Date>().ok(),
            _ => {}
        }
    }
    let days = match (from, to) {
        (Some(from), Some(to)) => f64::from((to - from).get_days() + 1),
        _ => f64::from(past) + f64::from(forecast),
    };
    let tenths = f64::from(variables) * f64::from(models) / 10.0;
    let calls = 1_f64.max(tenths).max(days / 14.0 * tenths) * f64::from(locations);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded up and clamped to what fits"
    )]
    let calls = calls.ceil().clamp(1.0, f64::from(u32::MAX)) as u32;
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(query: &str) -> u32 {
        let url = format!("https://api.open-meteo.com/v1/forecast?{query}").parse().unwrap();
        weight(Weight::OpenMeteo, &url)
    }

    #[test]
    fn open_meteo_counts_wide_and_long_requests_as_many() {
        assert_eq!(calls("latitude=1&longitude=2&daily=a,b,c&past_days=2"), 1);
        assert_eq!(calls("latitude=1&hourly=a,b,c,d,e,f,g,h,i,j,k,l,m,n,o"), 2);
        // FORMATS.md: ten years were seen to count as about 260 calls.
        let ten_years =
            "latitude=1&daily=a,b,c,d,e,f,g,h,i,j&start_date=2014-01-01&end_date=2023-12-31";
        assert_eq!(calls(ten_years), 261);
        assert_eq!(calls("latitude=1,2,3&longitude=1,2,3&daily=a"), 3);
    }

    #[test]
    fn no_stretch_sees_more_than_its_calls() {
        let per = std::time::Duration::from_mins(1);
        for (calls, weight, fits) in [
            (600, 1, 600),
            (600, 261, 2),
            (10, 1, 10),
            (1, 1, 1),
            (5, 5, 1),
            (10, 8, 1),
            (10, 3, 3),
        ] {
            let limit = Limit::new(Rate { calls, per }, weight);
            let refill = per.as_secs_f64() / limit.cell.as_secs_f64();
            // What was there at its start and came during it, in whole requests.
            let burst = f64::from(limit.burst);
            let most = if refill <= burst { refill } else { burst + refill };
            assert!(most <= f64::from(calls) + 1e-6, "{calls} {weight}: {most}");
            // What is told beforehand is what the limit comes to.
            let (rate, wait) = (Rate { calls, per }, limit.cell * 2);
            assert_eq!(least_time(rate, weight, u64::from(limit.burst)), Duration::ZERO);
            let two_more = least_time(rate, weight, u64::from(limit.burst) + 2);
            assert!(two_more.abs_diff(wait) < Duration::from_millis(1), "{two_more:?} {wait:?}");
            assert!(most / f64::from(weight) > f64::from(fits) - 1.0, "{calls} {weight}: {most}");
        }
    }
}
