//! The policy of docs/lambda.md is enough, and nothing in it can be left out: on a server that looks at
//! signatures and policies. (It does not look at conditions; the one of the policy narrows what may be listed.)

use daymark_testkit::bucket::{GuardedServer, UserKeys};
use daymark_testkit::rest::Reply;
use serde_json::{Value, json};

use crate::runtime_api::{Lambda, Said};
use crate::world::{AMPLE, GOOD, World};

/// The policy of docs/lambda.md, which is about the bucket `my-bucket` and the prefix `my-pipeline`.
fn documented() -> Value {
    let page = include_str!("../../../../docs/lambda.md");
    let blocks = page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut policies = blocks
        .filter_map(|block| serde_json::from_str::<Value>(block).ok())
        .filter(|policy| policy["Statement"].is_array());
    let policy = policies.next().expect("docs/lambda.md has a policy");
    assert_eq!(policies.next(), None, "it has one");
    policy
}

/// The policy without one of its permissions.
fn without(permission: &str) -> Value {
    let mut policy = documented();
    let mut found = 0;
    policy["Statement"].as_array_mut().unwrap().retain_mut(|statement| {
        let actions = match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            one => vec![one.clone()],
        };
        let left: Vec<Value> =
            actions.iter().filter(|action| *action != permission).cloned().collect();
        found += actions.len() - left.len();
        statement["Action"] = json!(left);
        !left.is_empty()
    });
    assert_eq!(found, 1, "{permission} is in the policy");
    policy
}

/// Every permission of the policy.
fn permissions() -> Vec<String> {
    let policy = documented();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let actions = statements.flat_map(|statement| match &statement["Action"] {
        Value::Array(actions) => actions.clone(),
        one => vec![one.clone()],
    });
    actions.map(|action| action.as_str().unwrap().to_owned()).collect()
}

/// The function's process with a user's keys.
async fn function(world: &World, server: &GuardedServer, keys: &UserKeys) -> Lambda {
    let mut variables = world.variables("function");
    "s3://my-bucket/my-pipeline".clone_into(&mut variables[1].1);
    variables.push(("DAYMARK_RAW_ENDPOINT", server.endpoint.clone()));
    variables.push(("AWS_ACCESS_KEY_ID", keys.id.clone()));
    variables.push(("AWS_SECRET_ACCESS_KEY", keys.secret.clone()));
    variables.push(("AWS_REGION", "us-east-1".to_owned()));
    Lambda::start(&variables).await
}

fn event(hour: u32) -> String {
    json!({ "scheduled_at": format!("2025-11-24T{hour:02}:00:00Z") }).to_string()
}

#[tokio::test]
async fn the_documented_policy_is_enough_and_nothing_in_it_is_too_much() {
    let server = GuardedServer::start();
    server.bucket("my-bucket").await;
    let allowed = server.user("allowed", &documented().to_string()).await;
    let mut restricted = Vec::new();
    for permission in permissions() {
        let name = permission.replace(':', "-");
        restricted.push((
            permission.clone(),
            server.user(&name, &without(&permission).to_string()).await,
        ));
    }
    server.enforce().await;

    // Pages, a cursor, an answer that is refused, and the same bytes once more: all that a fetch does.
    let world = World::of_two().await;
    world.source(
        "pages",
        "",
        "query = { since = \"{{ cursor }}\" }\n[pagination]\ntype = \"next_url\"\npath = \"$.next\"\n\
         [incremental]\ncursor = \"$.daily.time[*]\"\ntype = \"date\"\ninitial = \"2025-11-01\"\n",
    );
    world.answer("pages", &GOOD.replacen('{', "{\"next\":\"/pages?page=2\",", 1));
    world.answer("pages?page=2", &GOOD.replace("9.1", "8.8"));
    let mut whole = function(&world, &server, &allowed).await;
    for hour in [13, 13, 14] {
        let said = whole.invoke(&event(hour), AMPLE).await;
        assert!(matches!(said, Some(Said::Response(_))), "{said:?}");
    }
    world.api.only("/weather", Reply::json(crate::world::BUSY));
    let said = whole.invoke(&event(15), AMPLE).await;
    let Some(Said::Error(error)) = said else { panic!("no error: {said:?}") };
    assert!(error["errorMessage"].as_str().unwrap().contains("`$.error` is present"), "{error}");
    world.answer("weather", GOOD);

    let mut told = Vec::new();
    for (permission, keys) in &restricted {
        let said = function(&world, &server, keys).await.invoke(&event(16), AMPLE).await;
        let Some(Said::Error(error)) = said else { panic!("{permission}: no error: {said:?}") };
        let message = error["errorMessage"].as_str().unwrap().to_owned();
        assert!(!message.contains(&keys.secret), "{permission}");
        // Which permission it is stands in the hint.
        assert!(message.contains(&format!("`{permission}`")), "{permission}: {message}");
        assert!(message.contains("S3 says AccessDenied"), "{permission}: {message}");
        assert!(!message.contains('<'), "no markup: {message}");
        told.push(permission.as_str());
    }
    assert_eq!(told, ["s3:PutObject", "s3:GetObject", "s3:ListBucket"]);

    let wrong = UserKeys { secret: "not-the-secret".to_owned(), ..allowed };
    let said = function(&world, &server, &wrong).await.invoke(&event(17), AMPLE).await;
    let Some(Said::Error(error)) = said else { panic!("no error: {said:?}") };
    let message = error["errorMessage"].as_str().unwrap();
    assert!(message.contains("SignatureDoesNotMatch"), "{message}");
    assert!(message.contains("must belong together"), "{message}");
}
