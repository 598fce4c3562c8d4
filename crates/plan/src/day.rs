//! The state of a day, worked out from what is known of it and from the clock.
//!
//! In: a source's rules (calendar, schedule, data-date rule, deadline), what the ledger recorded of a day, and
//! an instant. Out: the day's [`DayState`] with its reason, a pure function of these: a scheduler that stopped
//! still turns a day late, whoever looks. docs/ledger.md has the table. Deliberately absent: reading the ledger.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::data_date::data_date;
use crate::schedule::{Calendar, DataDateRule, Schedule};
use crate::source::SourceId;

/// The state of a day (DESIGN.md section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DayState {
    /// Its time has not come, or its deadline has not passed yet.
    Expected,
    /// Received, not published.
    Fetched,
    /// Published.
    Published,
    /// The last attempt failed, and none succeeded.
    Failed,
    /// Its deadline passed.
    Late,
    /// Its deadline passed long ago, and no attempt is recorded.
    Missing,
    /// A check holds it back.
    Quarantined,
    /// Its source has no data on it.
    Holiday,
    /// It was left out: by the schedule's rules for missed fires, or by a person.
    Skipped,
}

impl DayState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Expected,
        Self::Fetched,
        Self::Published,
        Self::Failed,
        Self::Late,
        Self::Missing,
        Self::Quarantined,
        Self::Holiday,
        Self::Skipped,
    ];

    /// The state's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Fetched => "fetched",
            Self::Published => "published",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Missing => "missing",
            Self::Quarantined => "quarantined",
            Self::Holiday => "holiday",
            Self::Skipped => "skipped",
        }
    }

    /// The state of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether somebody should look.
    pub fn needs_a_look(self) -> bool {
        matches!(self, Self::Failed | Self::Late | Self::Missing | Self::Quarantined)
    }
}

impl std::fmt::Display for DayState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// By when a day is to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// The instant, told from the day's fire.
    pub by: DeadlineBy,
    /// How long after it a day without an attempt is missing.
    pub missing_after: SignedDuration,
}

/// How a deadline is told from a fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadlineBy {
    /// The first such time of the schedule's clock that is not before the fire.
    Time(Time),
    /// So long after the fire, and after its flexible window.
    After(SignedDuration),
}

impl Default for Deadline {
    /// An hour after the fire, and missing a day later.
    fn default() -> Self {
        Self {
            by: DeadlineBy::After(SignedDuration::from_hours(1)),
            missing_after: SignedDuration::from_hours(24),
        }
    }
}

/// What decides when a source's days are to be there.
#[derive(Debug, Clone, Copy)]
pub struct DayRules<'p> {
    /// The source.
    pub source_id: &'p SourceId,
    /// When it is fetched.
    pub schedule: &'p Schedule,
    /// Which day a fire is for.
    pub data_date: DataDateRule,
    /// The days it has data on.
    pub calendar: &'p Calendar,
    /// By when.
    pub deadline: Deadline,
    /// The pipeline's zone.
    pub zone: &'p TimeZone,
}

/// What calendar and schedule say of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The calendar has no data on it.
    NoData,
    /// No fire is for it.
    Never,
    /// It is to be there.
    By {
        /// The first fire that is for it.
        fire: Timestamp,
        /// From when on it is late.
        late: Timestamp,
        /// From when on it is missing.
        missing: Timestamp,
    },
}

/// Whether a day is one that a backfill asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It is.
    Yes,
    /// The calendar has no data on it.
    NoData,
    /// No fire of the schedule is for it.
    NoFire,
    /// Its fire has not come.
    NotYet,
}

/// The best that was reached for a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Received and accepted.
    Fetched,
    /// Published.
    Published,
    /// A check holds it back.
    Quarantined,
    /// Nothing.
    Failed,
}

/// What the ledger has of a day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DayFacts {
    /// The best outcome reached, since when and why; none without an attempt.
    pub reached: Option<(Reached, Timestamp, Option<String>)>,
    /// When the last attempt was.
    pub last_at: Option<Timestamp>,
    /// When it was left out, and why.
    pub skipped: Option<(Timestamp, String)>,
    /// Whether it is from before the source's first day: nothing is owed for it.
    pub is_before_start: bool,
}

/// Where a day stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its state.
    pub state: DayState,
    /// Since when; none of one whose time has not come.
    pub since: Option<Timestamp>,
    /// Why, when there is something to say.
    pub reason: Option<String>,
}

impl DayRules<'_> {
    /// What calendar and schedule say of a day: its first fire, and its deadlines.
    pub fn expected(&self, date: Date) -> Expected {
        if !self.calendar.has_data_on(date) {
            return Expected::NoData;
        }
        match self.fire_of(date) {
            Some(fire) => {
                let late = self.late_from(fire);
                let missing = late.checked_add(self.deadline.missing_after);
                Expected::By { fire, late, missing: missing.unwrap_or(Timestamp::MAX) }
            }
            None => Expected::Never,
        }
    }

    /// The first fire that is for a day: none for a day such as a Sunday under a schedule of weekdays.
    pub fn fire_of(&self, date: Date) -> Option<Timestamp> {
        let midnight =
            |date: Date| self.zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0)).compatible().ok();
        let from = match self.data_date {
            DataDateRule::RunDay => midnight(date),
            DataDateRule::RunDayOffset(days) => {
                midnight(date.saturating_sub(jiff::Span::new().days(days)))
            }
            // Fires for a session come after its close; without a clock of its own, after the day.
            DataDateRule::PreviousSession => {
                self.calendar.session_close(date).or_else(|| midnight(date.tomorrow().ok()?))
            }
        };
        let just_before = from?.checked_sub(SignedDuration::from_micros(1)).ok()?;
        let fire = self.schedule.next_after(just_before)?;
        let its_date = data_date(self.data_date, self.calendar, self.zone, fire);
        (its_date == date).then_some(fire)
    }

    /// Whether a day of the past is one that its source has, as calendar and schedule say. `start` and `end` of
    /// the schedule bound when it is fetched, and not which days there are.
    pub fn wanted(&self, date: Date, now: Timestamp) -> Wanted {
        if !self.calendar.has_data_on(date) {
            return Wanted::NoData;
        }
        let unbounded = self.schedule.unbounded();
        let rules = DayRules { schedule: unbounded.as_ref().unwrap_or(self.schedule), ..*self };
        match rules.fire_of(date) {
            Some(fire) if fire > now => Wanted::NotYet,
            Some(_) => Wanted::Yes,
            None if now.to_zoned(self.zone.clone()).date() <= date => Wanted::NotYet,
            // Before a rate begins to count there is no telling which days it would have had.
            None => {
                let begins = self.zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0)).compatible();
                let has_fired =
                    begins.is_ok_and(|at| rules.schedule.last_at_or_before(at).is_some());
                if has_fired { Wanted::NoFire } else { Wanted::Yes }
            }
        }
    }

    /// From when on a day is late whose fire this is.
    fn late_from(&self, fire: Timestamp) -> Timestamp {
        let zone = &self.schedule.zone;
        match self.deadline.by {
            DeadlineBy::Time(time) => {
                let today = zone.to_datetime(fire).date();
                let at = |date: Date| zone.to_ambiguous_timestamp(date.to_datetime(time));
                let days = [Some(today), today.tomorrow().ok()].into_iter().flatten();
                let mut deadlines = days.filter_map(|date| at(date).compatible().ok());
                deadlines.find(|deadline| *deadline >= fire).unwrap_or(fire)
            }
            DeadlineBy::After(long) => {
                let starts = self.schedule.delay(self.source_id.as_str(), fire);
                let late = fire.checked_add(starts).and_then(|at| at.checked_add(long));
                late.unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// Where a day stands at an instant.
    pub fn standing(&self, expected: Expected, facts: &DayFacts, now: Timestamp) -> Standing {
        let stands = |state, since, reason: Option<String>| Standing { state, since, reason };
        if let Some((Reached::Published, since, reason)) = &facts.reached {
            return stands(DayState::Published, Some(*since), reason.clone());
        }
        if let Some((at, reason)) = &facts.skipped
            && facts.last_at.is_none_or(|last| last <= *at)
        {
            return stands(DayState::Skipped, Some(*at), Some(reason.clone()));
        }
        let told = |late: Timestamp| {
            let late = late.to_zoned(self.schedule.zone.clone());
            late.strftime("%Y-%m-%d %H:%M %Z").to_string()
        };
        match (&facts.reached, expected) {
            (Some((Reached::Fetched, ..)), Expected::By { late, .. }) if now >= late => {
                let reason = format!("received, and not published by {}", told(late));
                stands(DayState::Late, Some(late), Some(reason))
            }
            (Some((reached, since, reason)), _) => {
                let state = match reached {
                    Reached::Fetched => DayState::Fetched,
                    Reached::Published => DayState::Published,
                    Reached::Quarantined => DayState::Quarantined,
                    Reached::Failed => DayState::Failed,
                };
                stands(state, Some(*since), reason.clone())
            }
            (None, Expected::NoData) => stands(DayState::Holiday, None, None),
            (None, _) if facts.is_before_start => stands(DayState::Expected, None, None),
            (None, Expected::Never) => {
                let reason = "the schedule does not fire for this day".to_owned();
                stands(DayState::Holiday, None, Some(reason))
            }
            (None, Expected::By { late, missing, .. }) => {
                let reason = || {
                    let deadline = told(late);
                    Some(format!("no attempt is recorded; it was to be there by {deadline}"))
                };
                if now >= missing {
                    stands(DayState::Missing, Some(missing), reason())
                } else if now >= late {
                    stands(DayState::Late, Some(late), reason())
                } else {
                    stands(DayState::Expected, None, None)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
