//! `[[alerts]]`, `[heartbeat]` and `[ledger]`: what is refused of them, each with its line, and what they come to.

use std::fs;

use daymark_plan::{AlertEvent, ChannelKind, Environment, Plan, PlanError, SmtpTls};
use tempfile::TempDir;

/// A folder with one source and this behind its `daymark.toml`, which starts on line 4.
fn with(alerts: &str) -> Result<Plan, PlanError> {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("sources")).unwrap();
    let main = "name = \"t\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n";
    fs::write(folder.path().join("daymark.toml"), format!("{main}{alerts}")).unwrap();
    fs::write(
        folder.path().join("sources/bars.toml"),
        "id = \"bars\"\n[request]\nurl = \"http://127.0.0.1:1/\"\n[rows]\nlayout = \"records\"\n\
         [rows.fields]\nsymbol = { path = \"symbol\", type = \"text\" }\n",
    )
    .unwrap();
    daymark_plan::load(folder.path(), &Environment::default())
}

/// The problems of alerts, as people read them.
fn refused(alerts: &str) -> String {
    match with(alerts) {
        Err(PlanError::Problems { problems, .. }) => {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn logs_are_kept_for_a_year_and_more_unless_the_folder_says_otherwise() {
    let kept = |ledger: &str| with(ledger).unwrap().settings.keep_logs.map(|kept| kept.as_hours());
    assert_eq!(kept(""), Some(400 * 24));
    assert_eq!(kept("[ledger]\nkeep_logs = \"90d\"\n"), Some(90 * 24));
    assert_eq!(kept("[ledger]\nkeep_logs = \"forever\"\n"), None);
    for wrong in ["29d", "0d", "-1d", "1y", ""] {
        assert_eq!(
            refused(&format!("[ledger]\nkeep_logs = \"{wrong}\"\n")),
            format!(
                "daymark.toml:5: `ledger.keep_logs` is `{wrong}`\n    hint: accepted: `forever`, or from 30 days to \
                 ten years, such as `90d` or `400d`"
            )
        );
    }
    let unknown = refused("[ledger]\nkeep_log = \"90d\"\n");
    assert!(unknown.contains("hint: did you mean `keep_logs`?"), "{unknown}");
}

#[test]
fn channels_of_every_kind() {
    let plan = with(
        "[[alerts]]\nname = \"ops\"\ntype = \"webhook\"\nurl = \"${HOOK}\"\nformat = \"slack\"\n\
         events = [\"missing\", \"recovered\"]\nsources = \"bars\"\nrepeat = \"never\"\n\
         headers = { Authorization = \"Bearer ${TOKEN}\" }\n\
         [[alerts]]\nname = \"mail\"\ntype = \"email\"\nhost = \"smtp.example.com\"\nuser = \"me\"\n\
         password = \"secret://smtp\"\nfrom = \"daymark <d@example.com>\"\nto = \"ops@example.com\"\n\
         [[alerts]]\nname = \"local\"\ntype = \"email\"\nhost = \"127.0.0.1\"\ntls = \"none\"\n\
         from = \"d@example.com\"\nto = [\"a@example.com\", \"b@example.com\"]\nport = 2525\n\
         [[alerts]]\nname = \"topic\"\ntype = \"sns\"\ntopic = \"arn:aws:sns:eu-west-1:123456789012:ops\"\n\
         [[alerts]]\nname = \"log\"\ntype = \"log\"\nmin_rejects = 10\n\
         [heartbeat]\nurl = \"https://hc.example.com/${ID}\"\nevery = \"5min\"\n\
         [dashboard]\nurl = \"https://data.example.com/\"\n",
    )
    .unwrap();
    let [ops, mail, local, topic, log] = plan.settings.alerts.as_slice() else { panic!() };
    assert!(ops.wants(AlertEvent::Missing, Some("bars"), None));
    assert!(!ops.wants(AlertEvent::Late, Some("bars"), None));
    assert!(!ops.wants(AlertEvent::Missing, Some("other"), None));
    assert_eq!((ops.recovered, ops.repeat, ops.secrets().len()), (true, None, 2));
    let ChannelKind::Email(mail) = &mail.kind else { panic!() };
    assert_eq!((mail.port, mail.tls), (587, SmtpTls::StartTls));
    let ChannelKind::Email(local) = &local.kind else { panic!() };
    assert_eq!((local.port, local.tls, local.to.len()), (2525, SmtpTls::None, 2));
    let ChannelKind::Sns { region, .. } = &topic.kind else { panic!() };
    assert_eq!(region, "eu-west-1");
    assert!(log.wants(AlertEvent::SchedulerStopped, None, None) && log.recovered);
    assert!(!log.wants(AlertEvent::Rejects, Some("bars"), Some(9)));
    assert!(log.wants(AlertEvent::Rejects, Some("bars"), Some(10)));
    let heartbeat = plan.settings.heartbeat.unwrap();
    assert!(!heartbeat.fail, "a ping minutes later would end its alarm");
    assert_eq!(plan.settings.dashboard.url.as_deref(), Some("https://data.example.com"));
}

#[test]
fn every_problem_of_every_channel_is_reported() {
    insta::assert_snapshot!(refused(
        "[[alerts]]\nname = \"Ops\"\ntype = \"webhok\"\n\
         [[alerts]]\nname = \"a\"\ntype = \"webhook\"\nurl = \"ftp://example.com\"\nformat = \"teams\"\n\
         events = [\"mising\"]\nrepeat = \"daily\"\nheaders = { X-Api-Key = \"plain-sekret\" }\nfrom = \"x\"\n\
         [[alerts]]\nname = \"a\"\ntype = \"log\"\nsources = [\"bar\"]\nmin_rejects = 0\n\
         [[alerts]]\nname = \"b\"\ntype = \"email\"\nhost = \"smtp.example.com\"\ntls = \"none\"\n\
         user = \"me\"\nfrom = \"nobody\"\nto = []\n\
         [[alerts]]\nname = \"c\"\ntype = \"email\"\nhost = \"smtp.example.com\"\nuser = \"me\"\n\
         password = \"plain-sekret\"\nfrom = \"a@example.com\"\nto = \"b@example.com\"\n\
         [[alerts]]\nname = \"d\"\ntype = \"sns\"\ntopic = \"arn:aws:sqs:eu-west-1:1:x\"\n\
         [[alerts]]\nname = \"e\"\ntype = \"webhook\"\nurl = \"https://example.com/{{ data_date }}\"\n\
         [heartbeat]\nevery = \"1s\"\n[dashboard]\nurl = \"data.example.com\"\n"
    ), @r#"
    daymark.toml:5: `alerts.name` is `Ops`
        hint: accepted: a-z, 0-9, - and _, at most 40 characters
    daymark.toml:6: `alerts[0].type` is `webhok`
        hint: did you mean `webhook`? accepted: `webhook`, `email`, `sns`, `log`
    daymark.toml:10: `url` has the scheme `ftp`
        hint: accepted: http, https
    daymark.toml:11: `alerts[1].format` is `teams`
        hint: accepted: `json`, `slack`
    daymark.toml:12: `mising` is no event
        hint: did you mean `missing`? accepted: `run_failed`, `late`, `missing`, `given_up`, `quarantined`, `schema_drift`, `rejects`, `volume_anomaly`, `check_warned`, `scheduler_stopped`, `recovered`
    daymark.toml:13: `alerts.repeat` is `daily`
        hint: accepted: `never`, or from one minute on such as `30min`, `6h`, `1d`
    daymark.toml:14: the secret of `X-Api-Key` stands in the file
        hint: write `${NAME}` for an environment variable, or `secret://NAME` for AWS Secrets Manager
    daymark.toml:15: unknown key `alerts[1].from`
        hint: did you mean `format`? accepted: `name`, `type`, `events`, `sources`, `repeat`, `min_rejects`, `timeout_seconds`, `url`, `headers`, `format`, `ca_file`
    daymark.toml:16: the channel `a` names the source `bar`
        hint: did you mean `bars`? accepted: `bars`
    daymark.toml:20: `alerts[2].min_rejects` is 0
        hint: accepted: a whole number from 1 to 4294967295
    daymark.toml:21: `alerts[3].password` is missing
    daymark.toml:25: mail would go to `smtp.example.com` in the open
        hint: `tls = "none"` is for this machine's own loopback; use `starttls` or `implicit`
    daymark.toml:27: `nobody` is no mail address
        hint: such as `ops@example.com` or `Ops <ops@example.com>`
    daymark.toml:28: `alerts[3].to` is empty
    daymark.toml:34: the secret of `password` stands in the file
        hint: write `${NAME}` for an environment variable, or `secret://NAME` for AWS Secrets Manager
    daymark.toml:40: `alerts.topic` is `arn:aws:sqs:eu-west-1:1:x`
        hint: accepted: `arn:aws:sns:REGION:ACCOUNT:NAME`
    daymark.toml:44: `url` is the same for every message
        hint: accepted: text with `${NAME}`, or `secret://NAME`
    daymark.toml:45: `heartbeat.url` is missing
    daymark.toml:46: `heartbeat.every` is `1s`
        hint: accepted: from `10s` on, such as `5min` or `1h`
    daymark.toml:48: `dashboard.url` is not the address of a page
        hint: such as `https://data.example.com`
    "#);
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/alerts.md");
    let text = fs::read_to_string(text).unwrap();
    let example = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let plan = with(&example.replace("sources = [\"weather\"]", "sources = [\"bars\"]")).unwrap();
    assert_eq!(plan.settings.alerts.len(), 2);
    assert!(plan.settings.heartbeat.unwrap().fail);
}
