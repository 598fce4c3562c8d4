//! What goes over the wire, and what comes back by another way than the straight one.

use daymark_ingest::{ErrorKind, Outcome};
use daymark_testkit::rest::{Gate, Reply, RestServer};

use crate::world::{GOOD, PATH, ROWS, SECRET, World, brotli, rows, zstandard};

#[tokio::test]
async fn templates_reach_every_part_of_a_request() {
    let world = World::new().await;
    world.api.on("/v1/spx/x", rows(&["a"], ""));
    let text = r#"
        [request]
        url = "{api}/v1/{{ entity.id }}/x?day={{ data_date | format(\"%Y%m%d\") }}"
        query = { symbol = "{{ entity.symbol }}", from = "{{ window.start }}", to = "{{ window.end }}", epoch = "{{ data_date | format('%s') }}" }
        headers = { X-Day = "{{ data_date - 1mo }}" }
        json = { symbols = ["{{ entity.symbol }}"], deep = { week = "{{ data_date - 7d }}" }, size = 50, exact = true, ratio = 0.10 }
        [window]
        days = 3
        [[entity]]
        id = "spx"
        symbol = "^GSPC & co"
    "#;
    let manifest = world.fetch(&world.source_of(&format!("{text}{ROWS}"), &[])).await;
    assert_eq!(manifest.outcome, Outcome::Accepted, "{:?}", manifest.reason);
    let seen = &world.api.requests()[0];
    assert_eq!(seen.method, "POST");
    assert_eq!(
        seen.target,
        "/v1/spx/x?day=20261123&symbol=%5EGSPC%20%26%20co&from=2026-11-21&to=2026-11-23&epoch=1795392000"
    );
    assert_eq!(seen.header("x-day"), Some("2026-10-23"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    let body = r#"{"symbols":["^GSPC & co"],"deep":{"week":"2026-11-16"},"size":50,"exact":true,"ratio":0.1}"#;
    assert_eq!(seen.body, body);
    // The manifest has what was sent, and of the entity what the folder says.
    assert_eq!(manifest.request.body.as_deref(), Some(body));
    assert!(manifest.request.url.ends_with(&seen.target), "{}", manifest.request.url);
    assert_eq!(manifest.entity_fields["symbol"], "^GSPC & co");
}

#[tokio::test]
async fn a_form_is_sent_as_one_and_a_get_can_be_asked_for_by_name() {
    let world = World::new().await;
    world.api.on("/form", rows(&["a"], ""));
    let text =
        "[request]\nurl = \"{api}/form\"\nform = { q = \"a b&c\", day = \"{{ data_date }}\" }";
    world.fetch(&world.source_of(&format!("{text}{ROWS}"), &[])).await;
    let seen = &world.api.requests()[0];
    assert_eq!((seen.method.as_str(), seen.body.as_str()), ("POST", "q=a%20b%26c&day=2026-11-23"));
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));

    let text = "[request]\nmethod = \"POST\"\nurl = \"{api}/form\"";
    world.fetch(&world.source_of(&format!("{text}{ROWS}"), &[])).await;
    let seen = &world.api.requests()[1];
    assert_eq!((seen.method.as_str(), seen.body.as_str()), ("POST", ""));
}

#[tokio::test]
async fn a_template_that_gives_no_request_says_which_and_why() {
    let world = World::new().await.with_environment(&[("TEST_BASE", "no address")]);
    let text = format!("[request]\nurl = \"${{TEST_BASE}}/x\"{ROWS}");
    let error = world.try_fetch(&world.source_of(&text, &[])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the request of `s` cannot be made: `${TEST_BASE}/x`: this is not an address: relative URL \
         without a base"
    );
    assert_eq!(error.kind(), ErrorKind::BadConfig);
}

#[tokio::test]
async fn brotli_and_zstandard_are_decoded_before_storing() {
    for (name, body) in [("br", brotli(GOOD.as_bytes())), ("zstd", zstandard(GOOD.as_bytes()))] {
        let world = World::new().await;
        world.api.on(PATH, Reply::json(body).header("content-encoding", name));
        let manifest = world.fetch(&world.source()).await;
        assert_eq!(manifest.outcome, Outcome::Accepted, "{name}: {:?}", manifest.reason);
        assert_eq!(world.object(&manifest.pages[0].archive_key), GOOD.as_bytes(), "{name}");
    }
    let world = World::new().await;
    world.api.on(PATH, Reply::json("not gzip").header("content-encoding", "gzip"));
    let manifest = world.fetch(&world.source_with("", "[retry]\nattempts = 1")).await;
    let reason = manifest.reason.unwrap();
    assert!(reason.starts_with("the body broke off after 0 bytes: "), "{reason}");
}

#[tokio::test]
async fn a_post_becomes_a_get_where_a_redirect_says_so() {
    for (status, method, body) in [
        (301, "GET", ""),
        (302, "GET", ""),
        (303, "GET", ""),
        (307, "POST", r#"{"a":1}"#),
        (308, "POST", r#"{"a":1}"#),
    ] {
        let world = World::new().await;
        world.api.on("/old", Reply::redirect("/new?moved=1").status(status));
        world.api.on("/new", rows(&["a"], ""));
        let text = format!("[request]\nurl = \"{{api}}/old\"\njson = {{ a = 1 }}{ROWS}");
        let manifest = world.fetch(&world.source_of(&text, &[])).await;
        assert_eq!(manifest.outcome, Outcome::Accepted, "{status}");
        let seen = &world.api.requests()[1];
        assert_eq!((seen.method.as_str(), seen.body.as_str()), (method, body), "{status}");
        assert_eq!(seen.header("content-type").is_some(), !body.is_empty(), "{status}");
    }
}

#[tokio::test]
async fn no_credentials_follow_to_another_origin() {
    let world = World::new().await;
    let other = RestServer::start().await;
    other.on("/data", rows(&["a"], ""));
    world.api.on("/old", Reply::redirect(&other.url("/data?x=1")));
    let text = format!(
        r#"
        [request]
        url = "{{api}}/old"
        headers = {{ X-Api-Key = "${{TEST_KEY}}", X-Note = "${{TEST_KEY}}", Accept = "*/*" }}
        redirect_hosts = ["127.0.0.1"]
        [auth]
        type = "bearer"
        token = "${{TEST_KEY}}"
        {ROWS}"#
    );
    let manifest = world.fetch(&world.source_of(&text, &[])).await;
    assert_eq!(manifest.outcome, Outcome::Accepted, "{:?}", manifest.reason);
    let first = &world.api.requests()[0];
    assert_eq!(first.header("authorization"), Some("Bearer s3cr3t-key"));
    let seen = &other.requests()[0];
    assert_eq!((seen.target.as_str(), seen.header("accept")), ("/data?x=1", Some("*/*")));
    assert!(!format!("{seen:?}").contains(SECRET), "{seen:?}");

    // A key in the query goes along within the origin, and only there.
    let keyed = |hosts: &str| {
        format!(
            "[request]\nurl = \"{{api}}/old\"\n{hosts}\n[auth]\ntype = \"api_key\"\nname = \"k\"\n\
             value = \"${{TEST_KEY}}\"\nin = \"query\"{ROWS}"
        )
    };
    world.fetch(&world.source_of(&keyed("redirect_hosts = [\"127.0.0.1\"]"), &[])).await;
    assert_eq!(world.asked()[1], "/old?k=s3cr3t-key");
    assert_eq!(other.requests()[1].target, "/data?x=1");
    world.api.only("/old", Reply::redirect("/new"));
    world.api.on("/new", rows(&["a"], ""));
    world.fetch(&world.source_of(&keyed(""), &[])).await;
    assert_eq!(world.asked()[3], "/new?k=s3cr3t-key");
}

#[tokio::test]
async fn a_body_with_a_secret_follows_to_no_other_origin() {
    let world = World::new().await;
    let other = RestServer::start().await;
    other.on("/data", rows(&["a"], ""));
    world.api.on("/old", Reply::redirect(&other.url("/data")).status(307));
    let text = |json: &str| {
        format!(
            "[request]\nurl = \"{{api}}/old\"\njson = {json}\nredirect_hosts = [\"127.0.0.1\"]{ROWS}"
        )
    };
    let manifest = world.fetch(&world.source_of(&text("{ note = \"${TEST_KEY}\" }"), &[])).await;
    let reason = manifest.reason.unwrap().replace(&other.port().to_string(), "<port>");
    assert_eq!(
        reason,
        "HTTP 307: it redirects a body that holds a secret to `http://127.0.0.1:<port>`, which is not \
         followed"
    );
    assert_eq!(other.requests().len(), 0);
    let manifest = world.fetch(&world.source_of(&text("{ note = \"none\" }"), &[])).await;
    assert_eq!(manifest.outcome, Outcome::Accepted);
    assert_eq!(other.requests()[0].body, r#"{"note":"none"}"#);
}

#[tokio::test]
async fn redirects_can_be_forbidden_and_never_change_the_scheme() {
    let world = World::new().await;
    world.api.on(PATH, Reply::redirect("/v2"));
    let manifest = world.fetch(&world.source_with("max_redirects = 0", "")).await;
    assert_eq!(manifest.reason.unwrap(), "HTTP 302: more than 0 redirects");
    let port = world.api.port();
    let other_scheme = format!("https://127.0.0.1:{port}/v2");
    world.api.only(PATH, Reply::redirect(&other_scheme));
    let source = world.source_with("redirect_hosts = [\"127.0.0.1\"]", "");
    let reason = world.fetch(&source).await.reason.unwrap();
    assert_eq!(
        world.stable(&reason),
        "HTTP 302: it redirects to `https://127.0.0.1:<port>`, which is not followed"
    );
    // Of another host the key is named that would allow it.
    world.api.only(PATH, Reply::redirect(&format!("http://localhost:{port}/v2")));
    let reason = world.fetch(&world.source_with("", "")).await.reason.unwrap();
    assert_eq!(
        reason,
        format!(
            "HTTP 302: it redirects to `http://localhost:{port}`, which is not followed \
             (`request.redirect_hosts`)"
        )
    );
    assert_eq!(world.api.requests().len(), 3);
}

#[tokio::test]
async fn cookies_are_sent_back_only_where_asked_for_and_only_within_a_fetch() {
    for (request, sent) in [("", None), ("cookies = true", Some("session=1"))] {
        let world = World::new().await;
        world.api.on(PATH, Reply::redirect("/v2").header("set-cookie", "session=1; Path=/"));
        world.api.on("/v2", Reply::json(GOOD));
        let source = world.source_with(request, "");
        for _ in 0..2 {
            assert_eq!(world.fetch(&source).await.outcome, Outcome::Accepted);
        }
        let seen = world.api.requests();
        let cookies: Vec<_> = seen.iter().map(|request| request.header("cookie")).collect();
        assert_eq!(cookies, [None, sent, None, sent], "{request}");
    }
}

#[tokio::test]
async fn an_answer_has_a_time_in_all() {
    let world = World::new().await;
    let gate = Gate::closed();
    world.api.on(PATH, Reply::json(GOOD).held_by(&gate));
    let source = world.source_with("total_timeout_seconds = 0.05", "[retry]\nattempts = 1");
    let manifest = world.fetch(&source).await;
    assert_eq!(manifest.reason.unwrap(), "no whole answer within 0.05 s");
    assert_eq!(manifest.error_kind, Some(ErrorKind::Timeout));
}

#[tokio::test]
async fn a_proxy_is_asked_in_place_of_the_host() {
    let world = World::new().await;
    let target = "http://api.invalid/v1/x";
    world.api.on(target, rows(&["a"], ""));
    let proxy = world.api.url("").replace("http://", "http://me:${TEST_KEY}@");
    let text = format!("[request]\nurl = \"{target}\"\nproxy = \"{proxy}\"{ROWS}");
    let source = world.source_of(&text, &[]);
    let manifest = world.fetch(&source).await;
    assert_eq!(manifest.outcome, Outcome::Accepted, "{:?}", manifest.reason);
    let seen = &world.api.requests()[0];
    assert_eq!(seen.target, target);
    // `me:s3cr3t-key`
    assert_eq!(seen.header("proxy-authorization"), Some("Basic bWU6czNjcjN0LWtleQ=="));
    assert!(!format!("{manifest:?}").contains(SECRET));

    world.api.only(target, Reply::new(407, "s3cr3t-key is not known here"));
    let manifest = world.fetch(&source).await;
    assert_eq!(manifest.reason.unwrap(), "HTTP 407: *** is not known here");
    assert_eq!(manifest.error_kind, Some(ErrorKind::Auth));

    let bad = world.with_environment(&[("TEST_KEY", "k"), ("TEST_PROXY", "not a proxy")]);
    let text = format!("[request]\nurl = \"{target}\"\nproxy = \"${{TEST_PROXY}}\"{ROWS}");
    let error = bad.try_fetch(&bad.source_of(&text, &[])).await.unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("`request.proxy` of `s` cannot be used: "), "{said}");
    assert!(!said.contains("not a proxy"), "{said}");
}

#[tokio::test]
async fn a_certificate_is_trusted_when_the_folder_has_it() {
    let world = World::new().await;
    let tls = RestServer::start_tls().await;
    tls.on("/x", rows(&["a"], ""));
    let url = tls.url("/x");
    let text = |more: &str| {
        format!(
            "[request]\nurl = \"{url}\"\n{more}{}",
            ROWS.replace("[retry]", "[retry]\nattempts = 1")
        )
    };
    let files = [("ca.pem", tls.certificate()), ("none.pem", "no certificate\n")];
    let source = world.source_of(&text("ca_file = \"ca.pem\""), &files);
    let manifest = world.fetch(&source).await;
    assert_eq!(manifest.outcome, Outcome::Accepted, "{:?}", manifest.reason);
    assert_eq!(tls.requests().len(), 1);

    match world.try_fetch(&world.source_of(&text(""), &[])).await {
        Ok(stored) => {
            let reason = stored.manifest.reason.unwrap().replace(&tls.port().to_string(), "<port>");
            assert_eq!(
                reason,
                "cannot connect to `127.0.0.1:<port>`: invalid peer certificate: UnknownIssuer"
            );
        }
        // A machine without CA certificates has no HTTPS, and hears which package is missing.
        Err(error) => assert!(error.hint().contains("ca-certificates"), "{error:?}"),
    }
    let error =
        world.try_fetch(&world.source_of(&text("ca_file = \"none.pem\""), &[])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`request.ca_file` of `s` cannot be used: it holds no certificate"
    );
    assert_eq!(tls.requests().len(), 1);
}

#[tokio::test]
async fn what_is_expected_of_an_answer() {
    let unequal = r#"{"rows":[{"at":"a"}],"x":[1,2],"y":[1]}"#;
    let text = |expect: &str| format!("[request]\nurl = \"{{api}}/x\"\n[expect]\n{expect}\n{ROWS}");
    for (expect, reason) in [
        ("same_length = [\"$.x\", \"$.y\"]", Some("arrays of unequal length: `$.x` 2, `$.y` 1")),
        ("same_length = [\"$.x\", \"$.x\"]", None),
        (
            "content_type = \"text/csv\"",
            Some("the content type is `application/json`, not `text/csv`"),
        ),
        ("content_type = \"application/JSON\"", None),
        ("min_rows = 2", Some("1 row, at least 2 expected (`min_rows`)")),
    ] {
        let world = World::new().await;
        world.api.on("/x", Reply::json(unequal));
        let manifest = world.fetch(&world.source_of(&text(expect), &[])).await;
        assert_eq!(manifest.reason.as_deref(), reason, "{expect}");
    }
}
