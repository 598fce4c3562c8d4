//! Secrets: where they are looked up, what is said when they are not there, and that no form of them
//! that comes back is kept in words.

use daymark_ingest::{ErrorKind, Outcome};
use daymark_testkit::aws;
use daymark_testkit::rest::Reply;

use crate::world::{ROWS, World, rows};

fn source(token: &str) -> String {
    format!(
        "[request]\nurl = \"{{api}}/x\"\n[auth]\ntype = \"bearer\"\ntoken = \"{token}\"\n{ROWS}"
    )
}

#[tokio::test]
async fn a_variable_that_is_not_set_or_is_empty_is_named() {
    for environment in [&[][..], &[("TEST_TOKEN", "")]] {
        let world = World::new().await.with_environment(environment);
        let error =
            world.try_fetch(&world.source_of(&source("${TEST_TOKEN}"), &[])).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the secret `${TEST_TOKEN}` of `s` is not there: the environment variable is not set"
        );
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(world.api.requests().is_empty() && world.keys().is_empty());
    }
}

#[tokio::test]
async fn secrets_manager_and_ssm_are_asked_by_name() {
    aws::put_secret("it/token", "SecretString", "stored-token-1").await;
    aws::put_secret(
        "it/json",
        "SecretString",
        r#"{"key":"stored-token-2","number":12345678,"no":null}"#,
    )
    .await;
    aws::put_secret("it/binary", "SecretBinary", "AAECAw==").await;
    aws::put_parameter("/it/token", "stored-token-3").await;
    let endpoint = aws::endpoint();
    for (name, value) in [
        ("it/token", "stored-token-1"),
        ("it/json#key", "stored-token-2"),
        ("it/json#number", "12345678"),
        ("/it/token", "stored-token-3"),
    ] {
        let world = World::new().await.with_environment(&[("AWS_ENDPOINT_URL", &endpoint)]);
        world.api.on("/x", rows(&["a"], ""));
        let manifest =
            world.fetch(&world.source_of(&source(&format!("secret://{name}")), &[])).await;
        assert_eq!(manifest.outcome, Outcome::Accepted, "{name}: {:?}", manifest.reason);
        let sent = format!("Bearer {value}");
        assert_eq!(world.api.requests()[0].header("authorization"), Some(sent.as_str()));
        assert!(!format!("{manifest:?}").contains(value));
    }
    for (name, reason) in [
        (
            "it/nobody",
            "Secrets Manager answers HTTP 400 ResourceNotFoundException Secrets Manager can't find the \
             specified secret.",
        ),
        ("/it/nobody", "SSM answers HTTP 400 ParameterNotFound Parameter /it/nobody not found."),
        ("it/json#nobody", "Secrets Manager has it, and it has no `nobody`"),
        ("it/json#no", "Secrets Manager has it, and it has no `no`"),
        ("it/token#key", "Secrets Manager has it, and it has no `key`"),
        ("it/binary", "Secrets Manager has it in another form than text"),
    ] {
        let world = World::new().await.with_environment(&[("AWS_ENDPOINT_URL", &endpoint)]);
        let text = source(&format!("secret://{name}"));
        let error = world.try_fetch(&world.source_of(&text, &[])).await.unwrap_err();
        // AWS's own Secrets Manager says 400 for what is not there.
        let said = error.to_string().replace("HTTP 404", "HTTP 400");
        assert_eq!(said, format!("the secret `secret://{name}` of `s` is not there: {reason}"));
        assert!(world.api.requests().is_empty());
    }
}

#[tokio::test]
async fn a_service_that_is_away_is_asked_again_and_then_named() {
    let (_, port) = crate::world::closed_port();
    let address = format!("http://127.0.0.1:{port}");
    let world = World::new().await.with_environment(&[("AWS_ENDPOINT_URL_SSM", &address)]);
    let error = world.try_fetch(&world.source_of(&source("secret:///x"), &[])).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the secret `secret:///x` of `s` is not there: no answer of SSM: Connection refused (os error 111)"
    );
    // One that throttles for a moment gives it all the same.
    let world = World::new().await;
    world.api.on(
        "/",
        Reply::json(r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#).status(400),
    );
    world.api.on("/", Reply::new(500, ""));
    world.api.on("/", Reply::json(r#"{"Parameter":{"Value":"late-token"}}"#));
    world.api.on("/x", rows(&["a"], ""));
    let address = world.api.url("");
    let world = world.with_environment(&[("AWS_ENDPOINT_URL_SSM", &address)]);
    world.fetch(&world.source_of(&source("secret:///x"), &[])).await;
    assert_eq!(world.asked(), ["/", "/", "/", "/x"]);
    let seen = world.api.requests();
    assert_eq!(seen[0].header("x-amz-target"), Some("AmazonSSM.GetParameter"));
    assert_eq!(seen[0].body, r#"{"Name":"/x","WithDecryption":true}"#);
    assert_eq!(seen[3].header("authorization"), Some("Bearer late-token"));
}

/// A secret with characters that every encoding has its own way with.
const ODD: &str = "p&ss/w+rd=\"é<100%>";

#[tokio::test]
async fn no_form_that_comes_back_is_kept_in_words() {
    let encoded = "p%26ss%2Fw%2Brd%3D%22%C3%A9%3C100%25%3E";
    let html = "<html><title>no p&amp;ss/w+rd=&quot;é&lt;100%&gt; here</title></html>";
    let json = serde_json::json!({ "message": format!("no {ODD} here") }).to_string();
    let cut = format!("{} no {ODD} here", "x".repeat(190));
    for (reply, reason) in [
        (Reply::new(400, format!("no {ODD} here")), "HTTP 400: no *** here"),
        (Reply::new(400, format!("no {encoded} here")), "HTTP 400: no *** here"),
        (Reply::new(400, html), "HTTP 400: no *** here"),
        (Reply::json(json).status(400), "HTTP 400: no *** here"),
        (Reply::new(400, cut), "HTTP 400: xxx no *** …"),
        (Reply::new(200, format!("no {ODD} here")), "the body is not whole JSON: no *** here"),
        (
            Reply::json(format!(r#"{{"rows":[{{"at":"{encoded}"}}"#)),
            "the body is not whole JSON: ***",
        ),
    ] {
        let world = World::new().await.with_environment(&[("TEST_TOKEN", ODD)]);
        world.api.on("/x", reply.header("x-ratelimit-who", encoded));
        let text = format!(
            "[request]\nurl = \"{{api}}/x?first=${{TEST_TOKEN}}\"\nquery = {{ second = \"${{TEST_TOKEN}}\" }}\n\
             json = {{ third = \"${{TEST_TOKEN}}\" }}{ROWS}"
        );
        let manifest = world.fetch(&world.source_of(&text, &[])).await;
        let seen = &world.api.requests()[0];
        assert_eq!(seen.target, format!("/x?first={encoded}&second={encoded}"));
        assert_eq!(seen.body, serde_json::json!({ "third": ODD }).to_string());
        assert_eq!(manifest.outcome, Outcome::Refused);
        let kept = serde_json::to_string(&manifest).unwrap();
        for piece in ["p&ss", "p%26ss", "p&amp;ss", "w+rd", "w%2Brd", "100%", "cCZzcy93"] {
            assert!(!kept.contains(piece), "`{piece}` of {reason}: {kept}");
        }
        assert!(kept.contains("***"), "{kept}");
    }
}

#[tokio::test]
async fn rejected_values_and_cursors_of_pages_are_shown_without_secrets() {
    let world = World::new().await.with_environment(&[("TEST_TOKEN", "hunter2-hunter2")]);
    let body =
        r#"{"rows":[{"at":"1"},{"at":"hunter2-hunter2"},{"at":"2"}],"next":"hunter2-hunter2"}"#;
    world.api.on("/x", Reply::json(body));
    let rows = ROWS.replace("type = \"text\"", "type = \"integer\"");
    let text = format!(
        "[request]\nurl = \"{{api}}/x\"\nheaders = {{ X-Api-Key = \"${{TEST_TOKEN}}\" }}\n[expect]\n\
         max_reject_ratio = 1.0\n[pagination]\ntype = \"cursor\"\npath = \"$.next\"\nparameter = \"after\"\n{rows}"
    );
    let manifest = world.fetch(&world.source_of(&text, &[])).await;
    let rejects = &manifest.rows.as_ref().unwrap().rejects;
    assert_eq!((rejects.len(), rejects[0].value.as_str()), (2, "\"***\""));
    assert!(!serde_json::to_string(&manifest).unwrap().contains("hunter2"), "{manifest:?}");
    // What was received is kept as it came.
    assert_eq!(world.object(&manifest.pages[0].archive_key), body.as_bytes());
}
