//! Who asks: on the wire in full, in the manifest not at all.

use daymark_ingest::{ErrorKind, Outcome};
use daymark_testkit::rest::Reply;

use crate::world::{ROWS, SECRET, World, entities, rows};

fn source(auth: &str) -> String {
    format!("[request]\nurl = \"{{api}}/x\"\n[auth]\n{auth}\n{ROWS}")
}

#[tokio::test]
async fn every_kind_of_credential_goes_where_it_belongs() {
    for (auth, target, header) in [
        (
            "type = \"bearer\"\ntoken = \"${TEST_KEY}\"",
            "/x",
            Some(("authorization", "Bearer s3cr3t-key")),
        ),
        (
            // `client-77:s3cr3t-key`
            "type = \"basic\"\nuser = \"${TEST_ID}\"\npassword = \"${TEST_KEY}\"",
            "/x",
            Some(("authorization", "Basic Y2xpZW50LTc3OnMzY3IzdC1rZXk=")),
        ),
        (
            "type = \"api_key\"\nname = \"X-Custom\"\nvalue = \"v-${TEST_KEY}\"",
            "/x",
            Some(("x-custom", "v-s3cr3t-key")),
        ),
        (
            "type = \"api_key\"\nname = \"q\"\nvalue = \"${TEST_KEY}\"\nin = \"query\"",
            "/x?q=s3cr3t-key",
            None,
        ),
    ] {
        let world = World::new().await;
        world.api.on("/x", rows(&["a"], ""));
        let manifest = world.fetch(&world.source_of(&source(auth), &[])).await;
        assert_eq!(manifest.outcome, Outcome::Accepted, "{auth}");
        let seen = &world.api.requests()[0];
        assert_eq!(seen.target, target);
        if let Some((name, value)) = header {
            assert_eq!(seen.header(name), Some(value));
            assert_eq!(manifest.request.headers[name], "***");
        } else {
            assert!(manifest.request.url.ends_with("/x?q=***"), "{}", manifest.request.url);
        }
        assert!(!format!("{manifest:?}").contains(SECRET), "{manifest:?}");
    }
}

/// An API with tokens, and the source that asks it; `more` goes into `[auth]`.
fn with_tokens(more: &str) -> String {
    source(&format!(
        "type = \"oauth2\"\ntoken_url = \"{{api}}/token\"\nclient_id = \"${{TEST_ID}}\"\n\
         client_secret = \"${{TEST_KEY}}\"\n{more}"
    ))
}

fn token(text: &str, life: u32) -> Reply {
    Reply::json(format!(r#"{{"access_token":"{text}","token_type":"bearer","expires_in":{life}}}"#))
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_kept() {
    let world = World::new().await;
    world.api.on("/token", token("tok-1-abcdef", 3600));
    world.api.on("/x", rows(&["a"], ""));
    let entities = entities(6);
    let text = with_tokens("scope = \"read all\"\naudience = \"https://a.example\"");
    let source = world.source_of(&text.replace("[retry]", &format!("{entities}[retry]")), &[]);
    for _ in 0..2 {
        let all = world.fetch_all(&source).await;
        assert!(all.iter().all(|one| one.outcome.as_ref().unwrap().manifest.is_accepted()));
    }
    let requests = world.api.requests();
    let (tokens, data): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.target == "/token");
    assert_eq!((tokens.len(), data.len()), (1, 12));
    let asked = tokens[0];
    assert_eq!(asked.method, "POST");
    assert_eq!(
        asked.body,
        "grant_type=client_credentials&scope=read%20all&audience=https:%2F%2Fa.example"
    );
    // `client-77:s3cr3t-key`
    assert_eq!(asked.header("authorization"), Some("Basic Y2xpZW50LTc3OnMzY3IzdC1rZXk="));
    for request in data {
        assert_eq!(request.header("authorization"), Some("Bearer tok-1-abcdef"));
    }
}

#[tokio::test]
async fn credentials_may_go_into_the_form_and_a_short_life_is_respected() {
    let world = World::new().await;
    // A minute before its end a token is no longer used: this one never is twice.
    world.api.on("/token", token("tok-1-abcdef", 60));
    world.api.on("/token", token("tok-2-abcdef", 3600));
    world.api.on("/x", rows(&["a"], ""));
    let source = world.source_of(&with_tokens("credentials_in = \"form\""), &[]);
    for _ in 0..3 {
        assert_eq!(world.fetch(&source).await.outcome, Outcome::Accepted);
    }
    let requests = world.api.requests();
    let targets: Vec<&str> = requests.iter().map(|request| request.target.as_str()).collect();
    assert_eq!(targets, ["/token", "/x", "/token", "/x", "/x"]);
    assert_eq!(
        requests[0].body,
        "grant_type=client_credentials&client_id=client-77&client_secret=s3cr3t-key"
    );
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(requests[4].header("authorization"), Some("Bearer tok-2-abcdef"));
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_refreshed_once() {
    let world = World::new().await;
    world.api.on("/token", token("tok-1-abcdef", 3600));
    world.api.on("/token", token("tok-2-abcdef", 3600));
    world.api.on("/x", Reply::new(401, "tok-1-abcdef is over"));
    world.api.on("/x", rows(&["a"], ""));
    let manifest = world.fetch(&world.source_of(&with_tokens(""), &[])).await;
    assert_eq!(manifest.outcome, Outcome::Accepted, "{:?}", manifest.reason);
    let said: Vec<_> =
        manifest.attempts.iter().map(|one| (one.status, one.message.as_deref())).collect();
    assert_eq!(said, [(Some(401), Some("HTTP 401: *** is over")), (Some(200), None)]);
    let seen: Vec<_> = world.api.requests();
    assert_eq!(seen[3].header("authorization"), Some("Bearer tok-2-abcdef"));

    // Not for ever: the second refusal stands, though there are attempts left.
    let world = World::new().await;
    world.api.on("/token", token("tok-1-abcdef", 3600));
    world.api.on("/token", token("tok-2-abcdef", 3600));
    world
        .api
        .on("/x", Reply::json(r#"{"message":"no tok-1-abcdef, no tok-2-abcdef"}"#).status(401));
    let manifest = world.fetch(&world.source_of(&with_tokens(""), &[])).await;
    assert_eq!(manifest.reason.unwrap(), "HTTP 401: no ***, no *** (2 attempts)");
    assert_eq!(manifest.error_kind, Some(ErrorKind::Auth));
    assert_eq!(world.asked(), ["/token", "/x", "/token", "/x"]);
}

#[tokio::test]
async fn a_token_server_that_does_not_give_one() {
    for (replies, kind, reason) in [
        (
            vec![
                Reply::json(r#"{"error":"invalid_client","error_description":"bad s3cr3t-key"}"#)
                    .status(401),
            ],
            ErrorKind::Auth,
            "no token from `127.0.0.1:<port>`: HTTP 401: invalid_client",
        ),
        (
            vec![
                Reply::json(r#"{"error":"invalid_scope","message":"not s3cr3t%2Dkey"}"#)
                    .status(400),
            ],
            ErrorKind::Auth,
            "no token from `127.0.0.1:<port>`: HTTP 400: not ***",
        ),
        (
            vec![Reply::new(503, "later")],
            ErrorKind::Unavailable,
            "no token from `127.0.0.1:<port>`: HTTP 503: later (4 attempts)",
        ),
        (
            vec![Reply::json(r#"{"token":"x"}"#)],
            ErrorKind::BadResponse,
            "no token from `127.0.0.1:<port>`: its answer has no `access_token`",
        ),
        (
            vec![Reply::json(r#"{"access_token":"a\nb"}"#)],
            ErrorKind::BadResponse,
            "no token from `127.0.0.1:<port>`: its token is no header value",
        ),
    ] {
        let world = World::new().await;
        for reply in replies {
            world.api.on("/token", reply);
        }
        let manifest = world.fetch(&world.source_of(&with_tokens(""), &[])).await;
        assert_eq!(world.stable(&manifest.reason.unwrap()), reason);
        assert_eq!(manifest.error_kind, Some(kind), "{reason}");
        assert!(world.asked().iter().all(|target| target == "/token"));
    }
    // One that fails for a moment is asked again.
    let world = World::new().await;
    world.api.on("/token", Reply::new(500, ""));
    world.api.on("/token", token("tok-1-abcdef", 3600));
    world.api.on("/x", rows(&["a"], ""));
    let manifest = world.fetch(&world.source_of(&with_tokens(""), &[])).await;
    assert_eq!(manifest.outcome, Outcome::Accepted);
    assert_eq!(world.asked(), ["/token", "/token", "/x"]);
}

#[tokio::test]
async fn a_token_that_a_200_repeats_is_hidden() {
    let world = World::new().await;
    world.api.on("/token", token("tok-1-abcdef", 3600));
    world.api.on(
        "/x",
        Reply::json(r#"{"message":"who is tok-1-abcdef?"}"#).header("etag", "tok-1-abcdef"),
    );
    let manifest = world.fetch(&world.source_of(&with_tokens(""), &[])).await;
    assert_eq!(
        manifest.reason.as_deref(),
        Some("the body has nothing at `$.rows`; it says: who is ***?")
    );
    assert!(!format!("{manifest:?}").contains("tok-1-abcdef"), "{manifest:?}");
}
