//! Who is told of an alert.
//!
//! In: what happened to an alert, what a channel was told of it before, the channel's wishes, whether it is muted,
//! and now. Out: the messages the channel gets. A pure function: no database, no clock. A channel that was never
//! told of an alert is not told of its end; one that was muted, or is new, is told of what is still open once it
//! may be. Deliberately absent: sending them (`outbox`, `daymark`).

use daymark_plan::{AlertEvent, Channel};
use jiff::{SignedDuration, Timestamp};

/// For how long an alert is repeated. What nobody mends in that time they know of; it stays in the list.
const REPEATED_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);
/// News of what came and went so long ago is none.
const NEWS_FOR: SignedDuration = SignedDuration::from_hours(3 * 24);

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Something is wrong.
    Trigger,
    /// It still is.
    Reminder,
    /// It is well again.
    Resolve,
}

impl Action {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Reminder => "reminder",
            Self::Resolve => "resolve",
        }
    }

    pub(super) fn parse(word: &str) -> Self {
        match word {
            "resolve" => Self::Resolve,
            "reminder" => Self::Reminder,
            _ => Self::Trigger,
        }
    }
}

/// What an alert said at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) action: Action,
    pub(super) event: AlertEvent,
    pub(super) amount: Option<i64>,
    pub(super) reason: String,
    pub(super) at: Timestamp,
}

/// An alert with its news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alert {
    pub(super) source_id: Option<String>,
    pub(super) opened_at: Timestamp,
    pub(super) is_open: bool,
    /// What it says now; the action is of no account.
    pub(super) now: Said,
    /// What happened to it that nobody was told of yet, in order.
    pub(super) news: Vec<Said>,
}

/// The last message a channel got about an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) action: Action,
    pub(super) event: AlertEvent,
    pub(super) at: Timestamp,
}

/// The messages a channel gets about an alert.
pub(super) fn messages(
    alert: &Alert,
    channel: &Channel,
    told: Option<Told>,
    is_muted: bool,
    now: Timestamp,
) -> Vec<Said> {
    let wants = |said: &Said| {
        !is_muted && channel.wants(said.event, alert.source_id.as_deref(), said.amount)
    };
    let is_news = |said: &Said| alert.is_open || now.duration_since(said.at) < NEWS_FOR;
    let mut told = told;
    let mut messages = Vec::new();
    let mut tell = |said: Said, told: &mut Option<Told>| {
        *told = Some(Told { action: said.action, event: said.event, at: now });
        messages.push(said);
    };
    for said in &alert.news {
        let is_told = told.is_some_and(|told| told.action != Action::Resolve);
        match said.action {
            Action::Resolve if is_told && channel.recovered => tell(said.clone(), &mut told),
            // Whoever does not hear of ends still hears of the next beginning.
            Action::Resolve => {
                told = told.map(|told| Told { action: Action::Resolve, ..told });
            }
            Action::Trigger | Action::Reminder => {
                let is_same = is_told && told.is_some_and(|told| told.event == said.event);
                if wants(said) && is_news(said) && !is_same {
                    tell(said.clone(), &mut told);
                }
            }
        }
    }
    if !alert.is_open || !wants(&alert.now) {
        return messages;
    }
    match told.filter(|told| told.action != Action::Resolve) {
        Some(told) if told.event == alert.now.event => {
            let since = now.duration_since(told.at);
            let is_due = channel.repeat.is_some_and(|repeat| since >= repeat);
            if is_due && now.duration_since(alert.opened_at) < REPEATED_FOR {
                messages.push(Said { action: Action::Reminder, at: now, ..alert.now.clone() });
            }
        }
        _ => messages.push(Said { action: Action::Trigger, at: now, ..alert.now.clone() }),
    }
    messages
}

#[cfg(test)]
mod tests {
    use daymark_plan::{Environment, load};
    use proptest::prelude::*;

    use super::*;

    /// A channel as the folder's words make it.
    fn channel(words: &str) -> Channel {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("sources")).unwrap();
        let main = format!(
            "name = \"p\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n[[alerts]]\n\
             name = \"c\"\ntype = \"log\"\n{words}\n"
        );
        std::fs::write(folder.path().join("daymark.toml"), main).unwrap();
        let source = "id = \"s\"\n[request]\nurl = \"http://localhost/\"\n[rows]\n\
                      layout = \"records\"\n[rows.fields]\na = { path = \"a\", type = \"text\" }\n";
        std::fs::write(folder.path().join("sources/s.toml"), source).unwrap();
        let plan = load(folder.path(), &Environment::default()).unwrap();
        plan.settings.alerts[0].clone()
    }

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn said(action: Action, event: AlertEvent, minutes: i64) -> Said {
        Said { action, event, amount: None, reason: "so".to_owned(), at: at(minutes) }
    }

    fn open(event: AlertEvent, news: Vec<Said>) -> Alert {
        let now = said(Action::Trigger, event, 0);
        Alert { source_id: Some("s".to_owned()), opened_at: at(0), is_open: true, now, news }
    }

    fn actions(messages: &[Said]) -> Vec<Action> {
        messages.iter().map(|said| said.action).collect()
    }

    const LATE: AlertEvent = AlertEvent::Late;
    const MISSING: AlertEvent = AlertEvent::Missing;

    #[test]
    fn what_opened_is_told_once_and_repeated_after_the_interval() {
        let channel = channel("repeat = \"1h\"");
        let news = open(LATE, vec![said(Action::Trigger, LATE, 0)]);
        assert_eq!(actions(&messages(&news, &channel, None, false, at(0))), [Action::Trigger]);
        let quiet = open(LATE, vec![]);
        let told = Some(Told { action: Action::Trigger, event: LATE, at: at(0) });
        assert!(messages(&quiet, &channel, told, false, at(59)).is_empty());
        let again = messages(&quiet, &channel, told, false, at(60));
        assert_eq!(actions(&again), [Action::Reminder]);
        // Not for ever.
        assert!(messages(&quiet, &channel, told, false, at(7 * 24 * 60)).is_empty());
    }

    #[test]
    fn a_channel_that_was_not_told_of_the_beginning_is_not_told_of_the_end() {
        let channel = channel("events = [\"missing\", \"recovered\"]");
        let mut gone =
            open(LATE, vec![said(Action::Trigger, LATE, 0), said(Action::Resolve, LATE, 1)]);
        gone.is_open = false;
        assert!(messages(&gone, &channel, None, false, at(1)).is_empty());
        gone.news.insert(1, said(Action::Trigger, MISSING, 1));
        let told = messages(&gone, &channel, None, false, at(1));
        assert_eq!(actions(&told), [Action::Trigger, Action::Resolve]);
        assert_eq!(told[0].event, MISSING);
    }

    #[test]
    fn what_was_muted_is_told_when_it_may_be_and_only_if_it_is_still_open() {
        let channel = channel("");
        let news = open(LATE, vec![said(Action::Trigger, LATE, 0)]);
        assert!(messages(&news, &channel, None, true, at(0)).is_empty());
        let quiet = open(LATE, vec![]);
        assert_eq!(actions(&messages(&quiet, &channel, None, false, at(9))), [Action::Trigger]);
        let closed = Alert { is_open: false, ..quiet };
        assert!(messages(&closed, &channel, None, false, at(9)).is_empty());
    }

    #[test]
    fn old_news_are_none() {
        let channel = channel("");
        let mut gone =
            open(LATE, vec![said(Action::Trigger, LATE, 0), said(Action::Resolve, LATE, 1)]);
        gone.is_open = false;
        assert_eq!(messages(&gone, &channel, None, false, at(60)).len(), 2);
        assert!(messages(&gone, &channel, None, false, at(4 * 24 * 60)).is_empty());
    }

    #[test]
    fn few_rejects_are_below_the_threshold() {
        let channel = channel("min_rejects = 10");
        let mut alert = open(AlertEvent::Rejects, vec![]);
        for (rows, told) in [(9, 0), (10, 1)] {
            alert.now.amount = Some(rows);
            assert_eq!(messages(&alert, &channel, None, false, at(0)).len(), told, "{rows}");
        }
    }

    proptest! {
        /// Whatever happens to an alert, and however often somebody looks: beginnings and ends alternate, no
        /// event is told twice in a row, no reminder comes early, nothing is said while it is muted but an end,
        /// and what is open, wanted and not muted is known.
        #[test]
        fn a_channel_hears_a_sensible_story(
            steps in prop::collection::vec((0_u8..4, prop::bool::weighted(0.2), 1_i64..200), 1..40),
            recovered in any::<bool>(),
        ) {
            let events = if recovered {
                "events = [\"late\", \"missing\", \"recovered\"]\nrepeat = \"2h\""
            } else {
                "events = [\"late\", \"missing\"]\nrepeat = \"2h\""
            };
            let channel = channel(events);
            let (mut minutes, mut opened) = (0, 0);
            let mut event: Option<AlertEvent> = None;
            let mut told: Option<Told> = None;
            for (step, is_muted, wait) in steps {
                minutes += wait;
                let before = event;
                event = [None, Some(LATE), Some(MISSING), Some(AlertEvent::Quarantined)][usize::from(step)];
                if before.is_none() {
                    // A new alert: the channel has heard nothing of it.
                    told = None;
                    opened = minutes;
                }
                let news = match (before, event) {
                    (before, Some(now)) if before != Some(now) => vec![said(Action::Trigger, now, minutes)],
                    (Some(before), None) => vec![said(Action::Resolve, before, minutes)],
                    _ => vec![],
                };
                let Some(current) = event.or(before) else { continue };
                let alert = Alert {
                    source_id: Some("s".to_owned()), opened_at: at(opened), is_open: event.is_some(),
                    now: said(Action::Trigger, current, minutes), news,
                };
                for message in messages(&alert, &channel, told, is_muted, at(minutes)) {
                    match message.action {
                        Action::Resolve => {
                            prop_assert!(recovered && told.is_some_and(|told| told.action != Action::Resolve));
                        }
                        Action::Trigger => {
                            prop_assert!(!is_muted && channel.wants(message.event, Some("s"), None));
                            prop_assert!(told.is_none_or(|told| told.event != message.event
                                || told.action == Action::Resolve));
                        }
                        Action::Reminder => {
                            prop_assert!(!is_muted);
                            let last = told.unwrap();
                            prop_assert_eq!(last.event, message.event);
                            prop_assert!(at(minutes).duration_since(last.at) >= SignedDuration::from_hours(2));
                        }
                    }
                    told = Some(Told { action: message.action, event: message.event, at: at(minutes) });
                }
                let wanted = event.filter(|event| channel.wants(*event, Some("s"), None));
                if let (Some(wanted), false) = (wanted, is_muted) {
                    prop_assert_eq!(told.unwrap().event, wanted);
                }
                // Looking again at once says nothing more.
                let quiet = Alert { news: vec![], ..alert };
                prop_assert!(messages(&quiet, &channel, told, is_muted, at(minutes)).is_empty());
            }
        }
    }
}
