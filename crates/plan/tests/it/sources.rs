//! What stands in a source beside its rows: every key is in the folder's reference, and every misuse
//! is said.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{SETTINGS, folder, problems};
use daymark_plan::{Environment, load};

const ROWS: &str =
    "[rows]\nlayout = \"records\"\n[rows.fields]\na = { path = \"a\", type = \"text\" }\n";

/// The problems of a source with these tables.
fn said(tables: &str) -> String {
    let request =
        if tables.contains("[request]") { "" } else { "[request]\nurl = \"http://a.example/\"\n" };
    let source = format!("id = \"s\"\n{request}{tables}\n{ROWS}");
    problems(&[("daymark.toml", SETTINGS), ("sources/s.toml", &source)])
}

/// The keys that a table accepts, as the hint about one that it does not.
fn accepted(problems: &str, table: &str) -> Vec<String> {
    let unknown = format!("unknown key `{table}zzz`\n");
    let (_, rest) =
        problems.split_once(&unknown).unwrap_or_else(|| panic!("{unknown} in {problems}"));
    let hint = rest.lines().next().unwrap();
    let (_, list) = hint.split_once("accepted: ").unwrap();
    list.split(", ").map(|key| format!("{table}{}", key.trim_matches('`'))).collect()
}

#[test]
fn every_key_is_in_the_reference_of_the_folder() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/folder.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let mut keys = BTreeSet::new();
    for (table, tables) in [
        ("request.", "[request]\nurl = \"http://a.example/\"\nzzz = 1"),
        ("auth.", "[auth]\ntype = \"bearer\"\ntoken = \"${T}\"\nzzz = 1"),
        ("auth.", "[auth]\ntype = \"basic\"\nuser = \"u\"\npassword = \"${T}\"\nzzz = 1"),
        ("auth.", "[auth]\ntype = \"api_key\"\nname = \"n\"\nvalue = \"${T}\"\nzzz = 1"),
        (
            "auth.",
            "[auth]\ntype = \"oauth2\"\ntoken_url = \"http://a.example/\"\nclient_id = \"c\"\n\
             client_secret = \"${T}\"\nzzz = 1",
        ),
        ("pagination.", "[pagination]\ntype = \"link\"\nzzz = 1"),
        ("pagination.", "[pagination]\ntype = \"next_url\"\npath = \"$.n\"\nzzz = 1"),
        (
            "pagination.",
            "[pagination]\ntype = \"cursor\"\npath = \"$.n\"\nparameter = \"p\"\nzzz = 1",
        ),
        ("pagination.", "[pagination]\ntype = \"offset\"\nlimit = 1\nzzz = 1"),
        ("pagination.", "[pagination]\ntype = \"page\"\nzzz = 1"),
        ("entities.", "[entities]\nzzz = 1"),
        (
            "incremental.",
            "[incremental]\ncursor = \"$.c\"\ntype = \"text\"\ninitial = \"\"\nzzz = 1",
        ),
        ("window.", "[window]\nzzz = 1"),
        ("rate.", "[rate]\nzzz = 1"),
        ("retry.", "[retry]\nzzz = 1"),
        ("expect.", "[expect]\nzzz = 1"),
    ] {
        keys.extend(accepted(&said(tables), table));
    }
    assert!(keys.len() > 50, "{keys:?}");
    let missing: Vec<_> =
        keys.iter().filter(|key| !reference.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/folder.md does not name {missing:?}");
    // The words a key takes stand there as well.
    for word in [
        "bearer",
        "basic",
        "api_key",
        "oauth2",
        "none",
        "link",
        "next_url",
        "cursor",
        "offset",
        "page",
        "timestamp",
        "date",
        "integer",
        "text",
        "open-meteo",
        "second",
        "minute",
        "hour",
        "day",
    ] {
        assert!(reference.contains(&format!("`{word}`")), "docs/folder.md does not name `{word}`");
    }
}

/// The examples of the reference are sources.
#[test]
fn the_examples_of_the_reference_are_read() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/folder.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let mut read = 0;
    let (_, of_sources) = reference.split_once("\n## sources/ID.toml\n").unwrap();
    let (of_sources, _) = of_sources.split_once("\n## ").unwrap();
    for block in of_sources.split("```toml\n").skip(1) {
        let (example, _) = block.split_once("```").unwrap();
        let mut source = format!("id = \"s\"\n{example}");
        if !source.contains("[request]") {
            source.push_str("[request]\nurl = \"http://a.example/\"\n");
        }
        if source.contains("[rows]") {
            source.push_str("[rows.fields]\na = { path = \"a\", type = \"text\" }\n");
        } else {
            source.push_str(ROWS);
        }
        let folder = folder(&[("daymark.toml", SETTINGS), ("sources/s.toml", &source)]);
        if let Err(error) = load(folder.path(), &Environment::default()) {
            panic!("{error:?}\n{source}");
        }
        read += 1;
    }
    assert_eq!(read, 4);
}

#[test]
fn every_misuse_is_said() {
    for (tables, expected) in [
        (
            "[request]\nurl = \"http://a.example/\"\nproxy = \"http://me:hunter2@p.example:3128\"",
            "sources/s.toml:4: the secret of `proxy` stands in the file",
        ),
        (
            "[request]\nurl = \"http://a.example/\"\nproxy = \"socks5://p.example:3128\"",
            "sources/s.toml:4: `proxy` has the scheme `socks5`",
        ),
        (
            "[request]\nurl = \"http://a.example/\"\nheaders = { Ocp-Apim-Subscription-Key = \"abc\" }",
            "sources/s.toml:4: the secret of `Ocp-Apim-Subscription-Key` stands in the file",
        ),
        (
            "[request]\nurl = \"http://a.example/?apikey=abcdef\"",
            "sources/s.toml:3: the secret of `apikey` stands in the file",
        ),
        (
            "[request]\nurl = \"http://a.example/\"\nquery = { q = \"Bearer secret://x\" }",
            "sources/s.toml:4: `secret://NAME` stands alone: it is the whole text or none of it",
        ),
        (
            "[request]\nurl = \"http://a.example/\"\nmethod = \"GET\"\njson = {}",
            "sources/s.toml:5: a GET request carries no body",
        ),
        (
            "[request]\nurl = \"http://a.example/\"\nform = { a = 1 }\njson = {}",
            "sources/s.toml:4: a request carries `json` or `form`, not both",
        ),
        (
            "[request]\nurl = \"http://a.example/\"\nquery = { d = \"{{ data_date - 5h }}\" }",
            "sources/s.toml: `{{ data_date - 5h }}` moves a date by hours, minutes or seconds",
        ),
        (
            "[request]\nurl = \"http://a.example/\"\nquery = { d = \"{{ cursor }}\" }",
            "sources/s.toml: `{{ cursor }}` names a cursor, and the source has none",
        ),
        (
            "[request]\nurl = \"http://a.example/\"\nquery = { d = \"{{ entity.id }}\" }",
            "sources/s.toml: `{{ entity.id }}` names an entity, and the source has none",
        ),
        (
            "[incremental]\ncursor = \"$.c\"\ntype = \"date\"\ninitial = \"2026-01-01\"",
            "sources/s.toml: `[incremental]` keeps a cursor that no request carries",
        ),
        (
            "[incremental]\ncursor = \"$.c\"\ntype = \"date\"\ninitial = \"soon\"",
            "sources/s.toml:7: `incremental.initial` is `soon`",
        ),
        (
            "[incremental]\ncursor = \"$.c\"\ntype = \"integer\"\ninitial = \"0\"\nlag = \"1d\"",
            "sources/s.toml:8: only dates and instants can lag",
        ),
        (
            "[auth]\ntype = \"bearer\"\ntoken = \"abc\"",
            "sources/s.toml:6: the secret of `token` stands in the file",
        ),
        (
            "[auth]\ntype = \"api_key\"\nname = \"X Key\"\nvalue = \"${K}\"",
            "sources/s.toml:6: `X Key` is no header's name",
        ),
        (
            "[request]\nurl = \"http://a.example/\"\nheaders = { authorization = \"${A}\" }\n[auth]\n\
             type = \"bearer\"\ntoken = \"${T}\"",
            "sources/s.toml: `authorization` stands in `[request]` and comes from `[auth]`",
        ),
        (
            "[pagination]\ntype = \"cursor\"\npath = \"next\"\nparameter = \"after\"",
            "sources/s.toml:6: `next` does not start at the root",
        ),
        (
            "[pagination]\ntype = \"page\"\nin = \"body\"",
            "sources/s.toml: `pagination.in` is `body`, and the request has no body to put it into",
        ),
        ("[pagination]\ntype = \"offset\"", "sources/s.toml:4: `pagination.limit` is missing"),
        ("[[entity]]\nid = \"Oslo\"", "sources/s.toml:4: the entity's `id` is `Oslo`"),
        (
            "[[entity]]\nid = \"a\"\n[[entity]]\nid = \"a\"",
            "sources/s.toml:6: the entity `a` stands here twice",
        ),
        (
            "[[entity]]\nid = \"a\"\ntoken = \"abc\"",
            "sources/s.toml:4: the secret of `token` stands in the file",
        ),
        (
            "[entities]\nfile = \"none.csv\"",
            "sources/s.toml:5: `none.csv` cannot be read: No such file or directory (os error 2)",
        ),
        ("[rate]\nper = \"second\"", "sources/s.toml:5: `per` stands without `calls`"),
        (
            "[rate]\ncalls = 5\nweight = \"heavy\"",
            "sources/s.toml:6: `rate.weight` is not a weight",
        ),
    ] {
        let found = said(tables);
        assert!(found.lines().any(|line| line == expected), "{expected}\n{found}");
        assert!(!found.contains("hunter2") && !found.contains("abcdef"), "{found}");
    }
}

/// A date of TOML's own is as good as one in quotes; a time behind it is not.
#[test]
fn the_first_day_stands_in_quotes_or_without() {
    let of = |start: &str| {
        format!("id = \"s\"\nstart = {start}\n[request]\nurl = \"http://a.example/\"\n{ROWS}")
    };
    for start in ["\"2026-11-01\"", "2026-11-01"] {
        let folder = folder(&[("daymark.toml", SETTINGS), ("sources/s.toml", &of(start))]);
        let plan = load(folder.path(), &Environment::default()).unwrap();
        assert_eq!(plan.sources[0].start, Some(jiff::civil::date(2026, 11, 1)));
    }
    for start in ["2026-11-01T08:00:00", "\"2026-13-01\"", "20261101"] {
        let said = problems(&[("daymark.toml", SETTINGS), ("sources/s.toml", &of(start))]);
        assert!(said.contains("sources/s.toml:2: ") && said.contains("YYYY-MM-DD"), "{said}");
    }
}
