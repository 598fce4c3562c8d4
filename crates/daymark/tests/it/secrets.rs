//! One secret in each place it can stand, through mornings good and bad: none is found in anything that
//! is written, printed or shown, in whatever form.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use daymark_testkit::aws;
use daymark_testkit::database::Kind;
use daymark_testkit::rest::{Gate, Reply};

use crate::world::{Done, World, closed_port, run_to_end};

/// Where secrets stand: a source, its variable, the secret, and what its file says. Each begins with
/// eight characters that stand nowhere else.
const PLACES: [(&str, &str, &str, &str); 9] = [
    (
        "bearer",
        "S_BEARER",
        "bqarer+1/sec=ret",
        "[auth]\ntype = \"bearer\"\ntoken = \"${S_BEARER}\"",
    ),
    (
        "basic",
        "S_BASIC",
        "bqsic:2 p&ss/w+rd",
        "[auth]\ntype = \"basic\"\nuser = \"me\"\npassword = \"${S_BASIC}\"",
    ),
    (
        "header",
        "S_HEADER",
        "hqader-3/key+%41=",
        "[auth]\ntype = \"api_key\"\nname = \"X-Who\"\nvalue = \"${S_HEADER}\"",
    ),
    (
        "query",
        "S_QUERY",
        "qqery-4 key&=/%41+é",
        "[auth]\ntype = \"api_key\"\nname = \"who\"\nvalue = \"${S_QUERY}\"\nin = \"query\"",
    ),
    (
        "oauth",
        "S_CLIENT",
        "cqient-5/secret+ &%",
        "[auth]\ntype = \"oauth2\"\ntoken_url = \"{api}/token/oauth\"\nclient_id = \"me\"\n\
         client_secret = \"${S_CLIENT}\"\ncredentials_in = \"form\"",
    ),
    (
        "oauth_header",
        "S_CLIENT2",
        "dqient-6/secret+ &%",
        "[auth]\ntype = \"oauth2\"\ntoken_url = \"{api}/token/oauth_header\"\nclient_id = \"me\"\n\
         client_secret = \"${S_CLIENT2}\"",
    ),
    (
        "body",
        "S_BODY",
        "bqdy-7 \"sec\\ret\" é<&>",
        "json = { note = \"${S_BODY}\", list = [\"${S_BODY}\"] }",
    ),
    ("path", "S_PATH", "pqth-8-secret+1=2", ""),
    (
        "stored",
        "S_STORED",
        "sqored-9/secret+==",
        "[auth]\ntype = \"bearer\"\ntoken = \"secret://e2e/stored\"",
    ),
];

/// What the token server gives.
const TOKEN: &str = "tqken-10.from/oauth+2==";

/// A secret with everything but unreserved characters percent-encoded.
fn percent(secret: &str) -> String {
    let mut text = String::new();
    for byte in secret.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").unwrap();
        }
    }
    text
}

fn html(secret: &str) -> String {
    secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn json(secret: &str) -> String {
    serde_json::Value::from(secret).to_string().trim_matches('"').to_owned()
}

/// The forms of a secret, as a server may repeat them.
fn forms(secret: &str) -> Vec<String> {
    let base64 = STANDARD_NO_PAD.encode(secret);
    let pair = STANDARD_NO_PAD.encode(format!("me:{secret}"));
    vec![
        secret.to_owned(),
        percent(secret),
        percent(secret).to_lowercase().replace("%20", "+"),
        json(secret),
        html(secret),
        percent(&percent(secret)),
        URL_SAFE_NO_PAD.encode(secret),
        percent(&base64),
        base64,
        pair,
    ]
}

/// What must be found nowhere: the forms, their first eight characters (a text may be cut), and what of
/// the base64 is the same whatever stands before it.
fn needles(secret: &str) -> Vec<String> {
    let mut needles: Vec<String> =
        forms(secret).into_iter().filter(|form| !form.starts_with("bWU6")).collect();
    let first: String = secret.chars().take(8).collect();
    needles.extend([percent(&first), json(&first), html(&first), first]);
    for before in 0..3_usize {
        let bytes = [vec![b'x'; before], secret.as_bytes().to_vec()].concat();
        let text = STANDARD_NO_PAD.encode(&bytes);
        let from = (before * 8).div_ceil(6);
        needles.push(text[from..from + 8].to_owned());
    }
    needles
}

fn assert_hidden(place: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    for secret in PLACES.iter().map(|place| place.2).chain([TOKEN]) {
        for needle in needles(secret) {
            if let Some(at) = text.find(&needle) {
                let around: String = text[..at].chars().rev().take(200).collect();
                let around: String = around.chars().rev().collect();
                panic!("{place}: `{needle}` of `{secret}` behind `{around}`");
            }
        }
    }
}

/// The files below a folder, with what they hold.
fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

/// The sources, in place of those of the reference pipeline; the market's model and pages go with it.
fn write_sources(world: &World, api: &str) {
    for (id, _, _, tables) in PLACES {
        let (request, auth) = if tables.starts_with('[') { ("", tables) } else { (tables, "") };
        let path = if id == "path" {
            "/path/${S_PATH}/x?y=${S_PATH}".to_owned()
        } else {
            format!("/{id}")
        };
        let text = format!(
            "id = \"{id}\"\n[request]\nurl = \"{api}{path}\"\n{request}\nread_timeout_seconds = 0.3\n{}\n\
             [retry]\nattempts = 2\nbase_seconds = 0.001\n[expect]\nabsent = [\"$.error\"]\nmax_reject_ratio = 1.0\n\
             [rows]\nlayout = \"records\"\nat = \"$.rows\"\n[rows.fields]\nat = {{ path = \"at\", type = \"integer\" }}\n",
            auth.replace("{api}", api)
        );
        world.write(&format!("sources/{id}.toml"), &text);
    }
}

/// The program with every secret in its environment, as talkative as it can be.
async fn daymark(world: &World, arguments: &[&str]) -> Done {
    let mut command = world.command(arguments);
    command.args(["-v", "-v"]).env("AWS_ENDPOINT_URL", aws::endpoint());
    for (_, variable, secret, _) in PLACES {
        command.env(variable, secret);
    }
    run_to_end(&mut command).await
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn no_secret_is_found_anywhere() {
    let world = World::new(Kind::Native).await;
    for file in ["sources/weather.toml", "sources/sp500.toml"] {
        std::fs::remove_file(world.folder.join(file)).unwrap();
    }
    for folder in ["models", "marts", "dashboards"] {
        std::fs::remove_dir_all(world.folder.join(folder)).unwrap();
    }
    let api = world.api.url("");
    write_sources(&world, &api);
    aws::put_secret("e2e/stored", "SecretString", PLACES[8].2).await;

    // What a source is asked at, and what its answers repeat.
    let asked = |id: &str| match id {
        "path" => format!("/path/{}/x", PLACES[7].2),
        _ => format!("/{id}"),
    };
    let secrets_of = |id: &str| -> Vec<&str> {
        let own = PLACES.iter().filter(|place| place.0 == id).map(|place| place.2);
        own.chain(id.starts_with("oauth").then_some(TOKEN)).collect()
    };
    let repeated = |id: &str| -> Vec<String> {
        secrets_of(id).iter().flat_map(|secret| forms(secret)).collect()
    };
    let token = Reply::json(format!(r#"{{"access_token":"{TOKEN}","expires_in":3600}}"#));
    let mut received: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut reply = |id: &str, reply: Reply| {
        received.insert(reply.body().to_vec());
        world.api.only(&asked(id), reply);
    };
    let gate = Gate::closed();
    let (_closed, port) = closed_port();
    let mut said = Vec::new();
    for morning in [
        "good",
        "401",
        "redirect",
        "html",
        "truncated",
        "rejects",
        "headers",
        "token",
        "silence",
        "timeout",
        "refused",
        "words",
    ] {
        for (id, _, secret, _) in PLACES {
            world.api.only(&format!("/token/{id}"), token.clone());
            let all = repeated(id);
            let words = all.join(" ");
            let in_json = serde_json::Value::from(format!("who is {words}?")).to_string();
            let one = &all[0];
            reply(
                id,
                match morning {
                    "good" => Reply::json(r#"{"rows":[{"at":1},{"at":2}]}"#),
                    "401" => Reply::json(format!(r#"{{"message":{in_json}}}"#)).status(401),
                    "redirect" => {
                        let to = format!("http://{}.example/{}?k={}", "elsewhere", all[1], all[1]);
                        Reply::redirect(&to).header("x-ratelimit-who", &all[1])
                    }
                    // What is cut to a readable length is cut in the middle of a secret.
                    "words" => Reply::new(400, format!("{} {one} {words}", "x".repeat(192))),
                    "html" => {
                        Reply::new(200, format!("<html><title>{}</title>{words}</html>", html(one)))
                    }
                    "truncated" => {
                        Reply::json(format!(r#"{{"rows":[{{"at":1}}],"note":{in_json}"#))
                    }
                    "rejects" => {
                        let rows: Vec<String> = all
                            .iter()
                            .map(|form| {
                                format!(r#"{{"at":{}}}"#, serde_json::Value::from(form.as_str()))
                            })
                            .collect();
                        Reply::json(format!(r#"{{"rows":[{{"at":1}},{}]}}"#, rows.join(",")))
                    }
                    "headers" => Reply::json(format!(r#"{{"error":{in_json}}}"#))
                        .header("etag", &all[1])
                        .header("content-type", &format!("text/{}", all[1]))
                        .header("set-cookie", &format!("k={}", all[1])),
                    // Who gives no token repeats what it was asked with.
                    "token" => {
                        let own = serde_json::Value::from(forms(secret).join(" "));
                        let refusal = Reply::json(format!(r#"{{"message":{own}}}"#)).status(400);
                        world.api.only(&format!("/token/{id}"), refusal);
                        Reply::new(500, words)
                    }
                    "silence" => Reply::close(),
                    "timeout" => Reply::json("{}").held_by(&gate),
                    "refused" => Reply::json("{}"),
                    other => panic!("{other}"),
                },
            );
        }
        match morning {
            "refused" => write_sources(&world, &format!("http://127.0.0.1:{port}")),
            _ => write_sources(&world, &api),
        }
        let before = world.api.requests().len();
        // Every other morning all that is logged is looked at, and in JSON.
        let arguments: &[&str] =
            if said.len() % 4 == 0 { &["run"] } else { &["run", "-vv", "--log-format", "json"] };
        let done = daymark(&world, arguments).await;
        let code = i32::from(!matches!(morning, "good" | "rejects"));
        assert_eq!(done.code, Some(code), "{morning}: {done:?}");
        assert!(!done.stderr.contains("panicked"), "{morning}: {done:?}");
        assert_eq!(world.api.requests().len() > before, morning != "refused", "{morning}");
        said.push((format!("{morning}, stdout"), done.stdout.into_bytes()));
        said.push((format!("{morning}, stderr"), done.stderr.into_bytes()));
    }

    // Every secret went over the wire, so that there was something to hide.
    let wire = format!("{:?}", world.api.requests());
    for (id, _, secret, _) in PLACES {
        let sent = match id {
            "basic" => STANDARD_NO_PAD.encode(format!("me:{secret}")),
            "oauth_header" => STANDARD_NO_PAD.encode(format!("me:{}", percent(secret))),
            "query" | "oauth" => percent(secret),
            "body" => format!("{:?}", json(secret)).trim_matches('"').to_owned(),
            _ => secret.to_owned(),
        };
        assert!(wire.contains(&sent), "{id}: `{sent}`");
    }
    assert!(wire.contains(&format!("Bearer {TOKEN}")));

    for arguments in [&["status"][..], &["status", "--json"], &["run", "--json"], &["validate"]] {
        let done = daymark(&world, arguments).await;
        let (stdout, stderr) = (done.stdout.into_bytes(), done.stderr.into_bytes());
        said.push((format!("{arguments:?}, stdout"), stdout));
        said.push((format!("{arguments:?}, stderr"), stderr));
    }
    let (up, address) = world.up_quietly().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let page =
        client.get(format!("{}/ledger", address.trim_end_matches('/'))).send().await.unwrap();
    let page = page.error_for_status().unwrap().text().await.unwrap();
    assert!(page.contains("***"), "{page}");
    said.push(("the ledger page".to_owned(), page.into_bytes()));
    for path in ["metrics", "readyz"] {
        let address = format!("{}/{path}", address.trim_end_matches('/'));
        let text = client.get(address).send().await.unwrap().text().await.unwrap();
        assert!(text.contains("scheduler"), "{text}");
        said.push((path.to_owned(), text.into_bytes()));
    }
    up.stop().await;

    let client = world.native_client().await;
    let tables =
        "select table_name::text from information_schema.tables where table_schema = 'daymark'";
    let mut rows = 0;
    for table in client.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        let dump = format!("select row_to_json(t)::text from daymark.\"{table}\" as t");
        for row in client.query(&dump, &[]).await.unwrap() {
            let text: String = row.get(0);
            rows += 1;
            said.push((format!("daymark.{table}"), text.into_bytes()));
        }
    }
    assert!(rows > 100, "{rows}");

    let mut kept = Vec::new();
    files(&world.folder, &mut kept);
    let manifests = kept.iter().filter(|(path, _)| path.contains("/manifests/")).count();
    assert_eq!(manifests, PLACES.len() * 13);
    for (path, bytes) in kept {
        said.push((format!("the name of {path}"), path.clone().into_bytes()));
        // The truth is kept as it came, whatever it repeats.
        let body = path.contains("/raw/archive/") || path.contains("/raw/raw/");
        if !(body && received.contains(&bytes)) {
            said.push((path, bytes));
        }
    }
    for (place, text) in said {
        assert_hidden(&place, &text);
    }
}
