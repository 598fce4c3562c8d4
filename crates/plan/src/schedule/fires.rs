//! The instants a schedule fires at.
//!
//! In: a [`Schedule`] and an instant. Out: the next, the last, all between, and what is unusual about one.
//! Every function is pure: no clock, no state. Deliberately absent: waiting, and what was fired before.
//!
//! The rule is that of the `EventBridge` Scheduler, so that a pipeline fires at home as it does on AWS: a wall
//! clock time that the spring change skips does not fire that day (with `dst_gap = "next_valid"` it fires at
//! the first instant after the gap), and one that the autumn change repeats fires once, at its first
//! occurrence (<https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>, "Daylight
//! savings time"). A rate is a count of seconds and knows no wall clock.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::{DstGap, Expression, Schedule};

impl Schedule {
    /// The first fire strictly after `after`; `None` if the schedule never fires again.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let bounds = self.bounds();
        let after = match bounds.0 {
            // The start itself may fire.
            Some(start) if start > after => {
                start.checked_sub(SignedDuration::from_nanos(1)).ok()?
            }
            _ => after,
        };
        let fire = match &self.expression {
            Expression::Cron(cron) => {
                // Fires in wall clock order are fires in time order: only a repeated hour runs backwards,
                // and of that only the first occurrence fires. So every fire after `after` is later on the
                // wall clock too, and the search can start from there. Only a time moved out of a gap is
                // earlier on the wall clock than its fire, and that gap is still ahead.
                let mut wall = self.zone.to_datetime(after);
                loop {
                    wall = cron.next(wall, false)?;
                    // In the repeated hour's second half the wall clock names instants that have passed.
                    if let Some(fire) = self.instant_of(wall).filter(|fire| *fire > after) {
                        break Some(fire);
                    }
                }
            }
            Expression::Rate(seconds) => {
                let anchor = self.start.unwrap_or(Timestamp::UNIX_EPOCH);
                let passed = seconds_between(anchor, after).div_euclid(*seconds);
                let passed = if after < anchor { -1 } else { passed };
                anchor.checked_add(SignedDuration::from_secs(seconds.checked_mul(passed + 1)?)).ok()
            }
            Expression::At(wall) => self.instant_of(*wall).filter(|fire| *fire > after),
        };
        fire.filter(|fire| bounds.1.is_none_or(|end| *fire <= end))
    }

    /// The last fire at or before `at`; `None` if the schedule had not fired by then.
    pub fn last_at_or_before(&self, at: Timestamp) -> Option<Timestamp> {
        let bounds = self.bounds();
        let at = bounds.1.map_or(at, |end| at.min(end));
        let fire = match &self.expression {
            Expression::Cron(cron) => {
                let now = self.zone.to_datetime(at);
                // In the repeated hour's second half, all of its first half has passed: it is read as if
                // the clock had not been put back.
                let mut wall = match self.zone.to_ambiguous_timestamp(now).offset() {
                    AmbiguousOffset::Fold { before, .. } => before.to_datetime(at),
                    AmbiguousOffset::Gap { .. } | AmbiguousOffset::Unambiguous { .. } => now,
                };
                let mut inclusive = true;
                loop {
                    wall = cron.previous(wall, inclusive)?;
                    inclusive = false;
                    if let Some(fire) = self.instant_of(wall).filter(|fire| *fire <= at) {
                        break Some(fire);
                    }
                }
            }
            Expression::Rate(seconds) => {
                let anchor = self.start.unwrap_or(Timestamp::UNIX_EPOCH);
                let passed = seconds_between(anchor, at).div_euclid(*seconds);
                let since = seconds.checked_mul(passed)?;
                (at >= anchor).then(|| anchor.checked_add(SignedDuration::from_secs(since)).ok())?
            }
            Expression::At(wall) => self.instant_of(*wall).filter(|fire| *fire <= at),
        };
        fire.filter(|fire| bounds.0.is_none_or(|start| *fire >= start))
    }

    /// The fires strictly after `after`, up to and including `until`, in order.
    pub fn fires_between(
        &self,
        after: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = Timestamp> + '_ {
        self.fires_after(after).take_while(move |fire| *fire <= until)
    }

    /// The fires strictly after `after`, in order.
    pub fn fires_after(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        std::iter::successors(self.next_after(after), |fire| self.next_after(*fire))
    }

    /// Whether it fires at all, ever.
    pub fn ever_fires(&self) -> bool {
        self.next_after(Timestamp::MIN).is_some()
    }

    /// What is unusual about `fire`, the first after `before`: times the clock skipped on the way to it, that
    /// it was moved, that its wall clock time comes twice.
    pub fn unusual(&self, before: Timestamp, fire: Timestamp) -> Option<String> {
        let mut notes = Vec::new();
        if let Expression::Cron(cron) = &self.expression {
            for change in
                self.zone.following(before).take_while(|change| change.timestamp() <= fire)
            {
                let at = change.timestamp();
                let Ok(earlier) = at.checked_sub(SignedDuration::from_nanos(1)) else { continue };
                let (from, to) =
                    (self.zone.to_offset(earlier).to_datetime(at), change.offset().to_datetime(at));
                let skipped: Vec<DateTime> =
                    std::iter::successors(cron.next(from, true), |wall| cron.next(*wall, false))
                        .take_while(|wall| *wall < to)
                        .collect();
                let Some(first) = skipped.first() else { continue };
                let more = match skipped.len() - 1 {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let what = match self.dst_gap {
                    DstGap::NextValid if at == fire => "moved here",
                    DstGap::NextValid => continue,
                    DstGap::Skip => "skipped",
                };
                notes.push(format!(
                    "{}{more} {what}: the clock goes from {} to {}",
                    first.strftime("%F %H:%M"),
                    from.strftime("%H:%M"),
                    hour_of(from, to),
                ));
            }
        }
        if !matches!(self.expression, Expression::Rate(_)) {
            let wall = self.zone.to_datetime(fire);
            if let AmbiguousOffset::Fold { .. } = self.zone.to_ambiguous_timestamp(wall).offset() {
                let time = wall.strftime("%H:%M");
                notes.push(format!(
                    "{time} comes twice, the clock is put back: the first of the two"
                ));
            }
        }
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    /// How long after `fire` the source starts: a second of the flexible window, which is the same for the
    /// same source and day, whoever asks.
    pub fn delay(&self, source: &str, fire: Timestamp) -> SignedDuration {
        let window = u64::from(self.flexible_window_minutes) * 60;
        if window == 0 {
            return SignedDuration::ZERO;
        }
        let day = self.zone.to_datetime(fire).date();
        let hash = crate::digest::sha256_hex(format!("{source} {day}").as_bytes());
        let number = u64::from_str_radix(&hash[..15], 16).unwrap_or(0);
        SignedDuration::from_secs(i64::try_from(number % window).unwrap_or(0))
    }

    /// The instant a wall clock time fires at: none in a gap or the gap's end, the first of two in a fold.
    fn instant_of(&self, wall: DateTime) -> Option<Timestamp> {
        let offset = match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Fold { before, .. } => before,
            AmbiguousOffset::Gap { before, .. } => {
                return match self.dst_gap {
                    DstGap::Skip => None,
                    // Read with the offset from before the gap, the time is within or after it.
                    DstGap::NextValid => gap_end(&self.zone, before.to_timestamp(wall).ok()?),
                };
            }
        };
        offset.to_timestamp(wall).ok()
    }

    /// Between which instants it fires; a single `at(...)` has no bounds, as in `EventBridge`.
    fn bounds(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        match self.expression {
            Expression::At(_) => (None, None),
            Expression::Cron(_) | Expression::Rate(_) => (self.start, self.end),
        }
    }
}

/// The latest change of the clock at or before an instant.
fn gap_end(zone: &TimeZone, at: Timestamp) -> Option<Timestamp> {
    let just_after = at.checked_add(SignedDuration::from_nanos(1)).ok()?;
    zone.preceding(just_after).next().map(|change| change.timestamp())
}

/// Whole seconds, rounded down.
fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_nanos().div_euclid(1_000_000_000).try_into().unwrap_or(i64::MAX)
}

fn hour_of(from: DateTime, to: DateTime) -> String {
    let format = if from.date() == to.date() { "%H:%M" } else { "%F %H:%M" };
    to.strftime(format).to_string()
}
