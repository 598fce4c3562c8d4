//! What is to be made up for.

use daymark_plan::{Plan, Source};
use jiff::Timestamp;

/// A fire that was not acted on yet, with the sources it is of.
#[derive(Debug)]
pub(crate) struct Missed<'p> {
    /// The scheduled instant.
    pub(crate) fire: Timestamp,
    /// When it starts: later than the fire by the longest delay of its sources' flexible windows.
    pub(crate) starts: Timestamp,
    /// The sources whose fire it is.
    pub(crate) sources: Vec<&'p Source>,
}

/// The first fire after `last` that is still to be acted on. Of each source only its latest fire in
/// (`last`, `now`] counts: the days in between are the ledger's to show as missing and a backfill's to fill,
/// since sources that only answer "now" would answer the same each time. Fires of several sources come one
/// after the other in time order, so that one mark, the last fire, is enough to go on from.
pub(crate) fn missed(plan: &Plan, last: Timestamp, now: Timestamp) -> Option<Missed<'_>> {
    let latest = |source: &Source| {
        plan.schedule_of(source).last_at_or_before(now).filter(|fire| *fire > last)
    };
    let fire = plan.sources.iter().filter_map(latest).min()?;
    let sources: Vec<&Source> =
        plan.sources.iter().filter(|source| latest(source) == Some(fire)).collect();
    let delays =
        sources.iter().map(|source| plan.schedule_of(source).delay(source.id.as_str(), fire));
    let starts = fire.checked_add(delays.max().unwrap_or_default()).unwrap_or(fire);
    Some(Missed { fire, starts, sources })
}

#[cfg(test)]
mod tests {
    use daymark_plan::{Environment, load};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A pipeline of two sources: `a` at eight in New York, `b` with the schedule given.
    fn plan(of_b: &str) -> (tempfile::TempDir, Plan) {
        let folder = tempfile::TempDir::new().unwrap();
        let source = |id: &str, more: &str| {
            format!(
                "id = \"{id}\"\n{more}\n[request]\nurl = \"http://localhost/\"\n[rows]\n\
                 layout = \"records\"\n[rows.fields]\na = {{ path = \"a\", type = \"text\" }}\n"
            )
        };
        std::fs::create_dir(folder.path().join("sources")).unwrap();
        for (name, text) in [
            (
                "daymark.toml",
                "name = \"p\"\ntime_zone = \"America/New_York\"\n\
                 schedule = \"cron(0 8 * * ? *)\"\n"
                    .to_owned(),
            ),
            ("sources/a.toml", source("a", "")),
            ("sources/b.toml", source("b", of_b)),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let plan = load(folder.path(), &Environment::default()).unwrap();
        (folder, plan)
    }

    /// What is made up for, one after the other, until nothing is left.
    fn all(plan: &Plan, last: &str, now: &str) -> Vec<String> {
        let (mut last, now, mut found) = (at(last), at(now), Vec::new());
        while let Some(missed) = missed(plan, last, now) {
            let ids: Vec<&str> = missed.sources.iter().map(|source| source.id.as_str()).collect();
            found.push(format!("{} {}", missed.fire, ids.join(" ")));
            last = missed.fire;
        }
        found
    }

    #[test]
    fn missed_fires_collapse_into_one() {
        let (_folder, plan) = plan("");
        let today = "2026-11-23T13:00:00Z";
        let now = "2026-11-23T15:00:00Z";
        assert_eq!(all(&plan, "2026-11-19T13:00:00Z", now), ["2026-11-23T13:00:00Z a b"]);
        assert!(all(&plan, today, now).is_empty());
        assert!(all(&plan, "2026-11-22T13:00:00Z", "2026-11-23T12:59:59Z").is_empty());
        // The fire of this very instant is due.
        assert_eq!(all(&plan, "2026-11-22T13:00:00Z", today), ["2026-11-23T13:00:00Z a b"]);
    }

    #[test]
    fn a_source_with_a_schedule_of_its_own_is_fetched_then_and_only_then() {
        let (_folder, plan) = plan("schedule = \"cron(30 7 ? * MON-FRI *)\"");
        let own = all(&plan, "2026-11-20T13:00:00Z", "2026-11-23T15:00:00Z");
        assert_eq!(own, ["2026-11-23T12:30:00Z b", "2026-11-23T13:00:00Z a"]);
        assert_eq!(
            all(&plan, "2026-11-20T13:00:00Z", "2026-11-22T15:00:00Z"),
            ["2026-11-22T13:00:00Z a"]
        );
    }

    #[test]
    fn a_flexible_window_starts_later_and_never_after_it() {
        let (_folder, plan) =
            plan("[schedule]\nexpression = \"cron(30 7 * * ? *)\"\nflexible_window_minutes = 20\n");
        let missed = missed(&plan, at("2026-11-22T13:00:00Z"), at("2026-11-23T12:30:00Z")).unwrap();
        let late = missed.starts.duration_since(missed.fire).as_secs();
        assert!((0..1200).contains(&late), "{late}");
        let source = missed.sources[0];
        assert_eq!(late, plan.schedule_of(source).delay("b", missed.fire).as_secs());
    }
}
