//! Whose keys the requests to the bucket are signed with: each link of the standard chain, against a stand-in
//! on loopback. The host of an ECS task's role by a relative address is fixed (169.254.170.2): that test runs
//! in a network of its own.

use std::fs;
use std::path::{Path, PathBuf};

use daymark_testkit::rest::{Reply, RestServer, SeenRequest};

use crate::runtime_api::{Lambda, Said};
use crate::tls::TlsFront;
use crate::world::{AMPLE, World, scheduled};

/// What a stand-in gives, as the metadata of an instance and of a container both write it.
fn role(id: &str) -> String {
    format!(
        r#"{{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"{id}","SecretAccessKey":"s3cr3t-of-a-role","Token":"token-of-{id}","Expiration":"2099-01-01T00:00:00Z","LastUpdated":"2026-01-01T00:00:00Z"}}"#
    )
}

/// A bucket that says no to everything, and the variables that lead there.
struct Stand {
    world: World,
    bucket: RestServer,
}

impl Stand {
    async fn new() -> Self {
        let bucket = RestServer::start().await;
        let no = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
        bucket.on("/my-bucket", Reply::new(403, no).header("content-type", "application/xml"));
        Self { world: World::of_two().await, bucket }
    }

    /// A file beside the pipeline.
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.world.pipeline().join("..").join(name);
        fs::write(&file, text).unwrap();
        file
    }

    /// Runs the function with more variables; gives the first signed request, and what the function said.
    async fn signed(&self, more: &[(&'static str, &str)]) -> (Option<SeenRequest>, String) {
        let before = self.bucket.requests().len();
        let mut variables = self.world.variables("function");
        "s3://my-bucket".clone_into(&mut variables[1].1);
        variables.push(("DAYMARK_RAW_ENDPOINT", self.bucket.url("")));
        variables.push(("HOME", self.world.pipeline().to_str().unwrap().to_owned()));
        variables.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut function = Lambda::start(&variables).await;
        let message = match function.invoke(&scheduled(), AMPLE).await {
            Some(Said::Error(error)) => error["errorMessage"].as_str().unwrap().to_owned(),
            said => panic!("a bucket that says no is an error: {said:?}"),
        };
        let seen = self.bucket.requests().split_off(before);
        (seen.into_iter().find(|seen| seen.header("authorization").is_some()), message)
    }

    /// The key that a request was signed with, and the token that came with it.
    async fn key(&self, more: &[(&'static str, &str)]) -> (String, Option<String>) {
        let (seen, message) = self.signed(more).await;
        let seen = seen.unwrap_or_else(|| panic!("nothing was signed: {message}"));
        let authorization = seen.header("authorization").unwrap();
        let id = authorization.split_once("Credential=").unwrap().1.split('/').next().unwrap();
        (id.to_owned(), seen.header("x-amz-security-token").map(str::to_owned))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn keys_of_the_environment_come_first() {
    let stand = Stand::new().await;
    let metadata = RestServer::start().await;
    let keys = [
        ("AWS_ACCESS_KEY_ID", "AKIAENV"),
        ("AWS_SECRET_ACCESS_KEY", "s3cr3t"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.url("")),
    ];
    assert_eq!(stand.key(&keys).await, ("AKIAENV".to_owned(), None));
    let temporary = [keys[0], keys[1], ("AWS_SESSION_TOKEN", "token-of-env")];
    let (id, token) = stand.key(&temporary).await;
    assert_eq!((id.as_str(), token.as_deref()), ("AKIAENV", Some("token-of-env")));
    assert_eq!(metadata.requests().len(), 0, "nobody else is asked");
}

#[tokio::test]
async fn a_profile_is_read_from_the_shared_files() {
    let stand = Stand::new().await;
    let credentials = stand.file(
        "credentials",
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = a\n\n[work]\n\
         aws_access_key_id = AKIAWORK\naws_secret_access_key = b\naws_session_token = token-of-work\n",
    );
    let config = stand
        .file("config", "[profile work]\nregion = eu-north-1\n[profile sso]\nsso_session = x\n");
    let files =
        [("AWS_SHARED_CREDENTIALS_FILE", text(&credentials)), ("AWS_CONFIG_FILE", text(&config))];
    assert_eq!(stand.key(&files).await.0, "AKIADEFAULT");
    // A profile that is named counts more than keys that happen to be set.
    let named = [
        files[0],
        files[1],
        ("AWS_PROFILE", "work"),
        ("AWS_ACCESS_KEY_ID", "AKIAENV"),
        ("AWS_SECRET_ACCESS_KEY", "c"),
    ];
    let (seen, _) = stand.signed(&named).await;
    let seen = seen.unwrap();
    let authorization = seen.header("authorization").unwrap();
    assert!(authorization.contains("Credential=AKIAWORK/"), "{authorization}");
    assert!(authorization.contains("/eu-north-1/s3/"), "the profile's region: {authorization}");
    assert_eq!(seen.header("x-amz-security-token"), Some("token-of-work"));
}

#[tokio::test]
async fn a_profile_that_has_no_keys_or_is_not_there_says_what_to_do() {
    let stand = Stand::new().await;
    let config = stand.file("config", "[profile sso]\nsso_session = x\n");
    for (name, said) in [("sso", "export-credentials"), ("wrok", "in none of AWS's shared files")] {
        let mut variables = stand.world.variables("function");
        "s3://my-bucket".clone_into(&mut variables[1].1);
        variables.push(("DAYMARK_RAW_ENDPOINT", stand.bucket.url("")));
        variables.push(("AWS_CONFIG_FILE", text(&config).to_owned()));
        variables.push(("AWS_PROFILE", name.to_owned()));
        let (error, _) = Lambda::start(&variables).await.init_error().await;
        let Said::InitError(kind, error) = error else { panic!("no error: {error:?}") };
        assert_eq!(kind, "Runtime.NoRawStore");
        let message = error["errorMessage"].as_str().unwrap();
        assert!(message.contains(said) && message.contains("AWS_PROFILE"), "{message}");
    }
    assert_eq!(stand.bucket.requests().len(), 0);
}

#[tokio::test]
async fn an_instance_gives_its_role_by_imds_version_two() {
    let stand = Stand::new().await;
    let metadata = RestServer::start().await;
    let roles = "/latest/meta-data/iam/security-credentials/";
    metadata.on("/latest/api/token", Reply::new(200, "imds-token-77"));
    metadata.on(roles, Reply::new(200, "my-role"));
    metadata.on(&format!("{roles}my-role"), Reply::json(role("ASIAINSTANCE")));
    let endpoint = metadata.url("");
    let (id, token) = stand.key(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint)]).await;
    assert_eq!((id.as_str(), token.as_deref()), ("ASIAINSTANCE", Some("token-of-ASIAINSTANCE")));
    let seen = metadata.requests();
    assert_eq!(seen[0].method, "PUT");
    assert!(seen[0].header("x-aws-ec2-metadata-token-ttl-seconds").is_some());
    for later in &seen[1..] {
        assert_eq!(later.header("x-aws-ec2-metadata-token"), Some("imds-token-77"), "{later:?}");
    }
}

#[tokio::test]
async fn a_container_gives_its_role_to_whoever_has_its_token() {
    let stand = Stand::new().await;
    let agent = RestServer::start().await;
    agent.on("/v1/credentials", Reply::json(role("ASIACONTAINER")));
    let token_file = stand.file("container-token", "container-token-5");
    let uri = agent.url("/v1/credentials");
    let container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", text(&token_file)),
    ];
    let (id, token) = stand.key(&container).await;
    assert_eq!((id.as_str(), token.as_deref()), ("ASIACONTAINER", Some("token-of-ASIACONTAINER")));
    assert_eq!(agent.requests()[0].header("authorization"), Some("container-token-5"));
}

/// This program again, in a network of its own whose loopback has the address.
#[test]
fn a_task_of_ecs_gives_its_role_by_a_relative_address() {
    let inner = "credentials::in_the_network_of_a_task";
    let script = "ip link set lo up && ip addr add 169.254.170.2/32 dev lo && exec \"$@\"";
    let done = std::process::Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", inner, "--ignored", "--nocapture"])
        .output()
        .expect("util-linux has unshare");
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let said = said.join("\n");
    assert!(
        done.status.success(),
        "a network of its own can be had, and the test in it passes: {said}"
    );
    assert!(said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "a_task_of_ecs_gives_its_role_by_a_relative_address runs it, in a network of its own"]
async fn in_the_network_of_a_task() {
    let stand = Stand::new().await;
    let agent = RestServer::start().await;
    agent.on("/v2/credentials/of-this-task", Reply::json(role("ASIATASK")));
    let listener = tokio::net::TcpListener::bind("169.254.170.2:80").await.unwrap();
    let port = agent.port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(async move {
                // Either side may go away.
                tokio::io::copy_bidirectional(&mut client, &mut server).await.unwrap_or_default();
            });
        }
    });
    let task = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/of-this-task")];
    let (id, token) = stand.key(&task).await;
    assert_eq!((id.as_str(), token.as_deref()), ("ASIATASK", Some("token-of-ASIATASK")));
    assert_eq!(agent.requests()[0].method, "GET");
}

#[tokio::test]
async fn a_web_identity_becomes_the_keys_that_sts_gives_for_it() {
    let stand = Stand::new().await;
    let sts = RestServer::start().await;
    let answer = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                  <AccessKeyId>ASIAWEB</AccessKeyId><SecretAccessKey>s3cr3t</SecretAccessKey>\
                  <SessionToken>token-of-web</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
                  </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
    sts.on("/", Reply::new(200, answer).header("content-type", "text/xml"));
    let front = TlsFront::of(sts.port()).await;
    let trusted = stand.file("sts.pem", &front.certificate);
    let token = stand.file("identity", "web.identity.token");
    let identity = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", text(&token)),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/my-pipeline"),
        ("AWS_ENDPOINT_URL_STS", &front.url),
        ("SSL_CERT_FILE", text(&trusted)),
    ];
    let (id, session) = stand.key(&identity).await;
    assert_eq!((id.as_str(), session.as_deref()), ("ASIAWEB", Some("token-of-web")));
    let asked = &sts.requests()[0].target;
    assert!(asked.contains("Action=AssumeRoleWithWebIdentity"), "{asked}");
    assert!(
        asked.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fmy-pipeline"),
        "{asked}"
    );
    assert!(asked.contains("WebIdentityToken=web.identity.token"), "{asked}");
}

#[tokio::test]
async fn a_web_identity_is_not_sent_in_the_clear() {
    let stand = Stand::new().await;
    let (sts, metadata) = (RestServer::start().await, RestServer::start().await);
    let token = stand.file("identity", "web.identity.token");
    let identity = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", text(&token)),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/my-pipeline"),
        ("AWS_ENDPOINT_URL_STS", &sts.url("")),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.url("")),
    ];
    let (seen, message) = stand.signed(&identity).await;
    assert!(seen.is_none(), "{seen:?}");
    assert!(!message.contains("web.identity.token"), "{message}");
    assert_eq!(sts.requests().len(), 0, "the token does not leave without TLS");
    assert_eq!(metadata.requests().len(), 0, "no other link of the chain stands in");
}

#[tokio::test]
async fn without_any_keys_it_says_where_they_may_stand() {
    let stand = Stand::new().await;
    let mut variables = stand.world.variables("function");
    "s3://my-bucket".clone_into(&mut variables[1].1);
    variables.push(("DAYMARK_RAW_ENDPOINT", stand.bucket.url("")));
    variables.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
    let (error, _) = Lambda::start(&variables).await.init_error().await;
    let Said::InitError(_, error) = error else { panic!("no error: {error:?}") };
    insta::assert_snapshot!(error["errorMessage"].as_str().unwrap(), @"
    the raw store `s3://my-bucket` cannot be opened
      caused by: there are no credentials: neither keys (AWS_ACCESS_KEY_ID), a profile, a role of a container nor a web identity, and AWS_EC2_METADATA_DISABLED forbids to ask the instance for its role
    hint: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role; the bucket, its region and its endpoint stand in `[raw]`
    ");
}
