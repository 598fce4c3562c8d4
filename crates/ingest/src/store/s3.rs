//! Buckets: how they are reached, as whom, and what is asked of them beside objects.
//!
//! In: an [`S3Location`] and the standard chain of credentials: the environment, a web identity, the
//! container's role, the shared files (`AWS_PROFILE`), the instance's role (`IMDSv2`). Out: an object
//! store; signed requests for the few things `object_store` has no word for. Deliberately absent: AWS's
//! SDKs: `object_store` has the chain but for the shared files, which are a page of INI
//! (DECISIONS.md). Profiles that need more than their own keys (SSO, assumed roles) are not read; the
//! environment can carry what `aws configure export-credentials` gives.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daymark_plan::{Encryption, Environment, S3Location};
use jiff::Timestamp;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer, AwsCredential, Checksum};
use object_store::client::{HttpRequest, StaticCredentialProvider};
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, Error, ObjectStore, RetryConfig};

/// How long a server may take to say what time it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// A bucket, opened.
#[derive(Debug)]
pub(super) struct Bucket {
    store: Arc<AmazonS3>,
    pub(super) location: S3Location,
    region: String,
}

impl Bucket {
    /// Opens a bucket; nothing is asked of it yet.
    pub(super) fn open(location: &S3Location) -> Result<Self, String> {
        let region = region(location);
        let mut builder = chain()?
            .with_bucket_name(&location.bucket)
            .with_region(&region)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_virtual_hosted_style_request(!location.path_style)
            .with_allow_http(location.allow_http)
            .with_client_options(
                ClientOptions::new()
                    .with_allow_http(location.allow_http)
                    .with_timeout(Duration::from_mins(5))
                    .with_connect_timeout(Duration::from_secs(10)),
            )
            .with_retry(retry());
        if let Some(endpoint) = &location.endpoint {
            // `object_store` takes an endpoint of virtual-hosted style with the bucket in it.
            builder = builder.with_endpoint(if location.path_style {
                endpoint.clone()
            } else {
                with_bucket(endpoint, &location.bucket)
            });
        }
        match &location.encryption {
            None => {}
            Some(Encryption::Kms(Some(key))) => builder = builder.with_sse_kms_encryption(key),
            // A KMS key without a name is the bucket's own: an empty name is none.
            Some(encryption) => {
                let word = if *encryption == Encryption::S3 { "AES256" } else { "aws:kms" };
                let key = "aws_server_side_encryption".parse().map_err(said)?;
                builder = builder.with_config(key, word);
            }
        }
        let store = builder.build().map_err(said)?;
        Ok(Self { store: Arc::new(store), location: location.clone(), region })
    }

    /// Its objects, under its prefix.
    pub(super) fn objects(&self) -> Arc<dyn ObjectStore> {
        let store: Arc<AmazonS3> = Arc::clone(&self.store);
        if self.location.prefix.is_empty() {
            return store;
        }
        Arc::new(PrefixStore::new(store, self.location.prefix.as_str()))
    }

    /// The address of the bucket.
    fn address(&self) -> String {
        let bucket = &self.location.bucket;
        match &self.location.endpoint {
            Some(endpoint) if self.location.path_style => {
                format!("{}/{bucket}", endpoint.trim_end_matches('/'))
            }
            Some(endpoint) => with_bucket(endpoint, bucket),
            None => format!("https://{bucket}.s3.{}.amazonaws.com", self.region),
        }
    }

    /// The address of its object `x`, as requests for objects have it.
    #[cfg(test)]
    pub(super) async fn object_address(&self) -> String {
        use object_store::signer::Signer as _;
        let (path, short) = (object_store::path::Path::from("x"), Duration::from_secs(1));
        let signed = self.store.signed_url(http::Method::GET, &path, short).await;
        let url = signed.expect("a URL can be signed");
        url.as_str().split('?').next().unwrap_or_default().to_owned()
    }

    /// The `Date` of its server, which comes with every answer, a refusal among them.
    pub(super) async fn server_time(&self) -> Option<Timestamp> {
        let address = self.address();
        let client = client(&address).ok()?;
        let answer = client.head(address).send().await.ok()?;
        let date = answer.headers().get(reqwest::header::DATE)?.to_str().ok()?;
        Timestamp::try_from(httpdate::parse_http_date(date).ok()?).ok()
    }

    /// Whether it keeps versions: `Enabled`, `Suspended`, or nothing when it never did.
    pub(super) async fn versioning(&self) -> Result<Option<String>, String> {
        let url = format!("{}?versioning=", self.address());
        let signer = Signer { credential: self.credential().await?, region: self.region.clone() };
        let (status, body) = signer.send("GET", &url, "s3", &[], Bytes::new()).await?;
        if status != 200 {
            return Err(format!("HTTP {status}"));
        }
        let inside = |open: &str, close: &str| {
            let rest = body.split_once(open)?.1;
            Some(rest.split_once(close)?.0.to_owned())
        };
        Ok(inside("<Status>", "</Status>"))
    }

    /// The id of the key requests are signed with, which is no secret.
    pub(super) async fn key_id(&self) -> Result<String, String> {
        Ok(self.credential().await?.key_id.clone())
    }

    /// Whose the key is, as AWS tells. None for another server than AWS's, which has no STS, unless the
    /// environment says where there is one.
    pub(super) async fn identity(&self) -> Option<Result<String, String>> {
        let environment = Environment::of_process();
        let variable = |name| environment.get(name).map(str::to_owned);
        let named = variable("AWS_ENDPOINT_URL_STS").or_else(|| variable("AWS_ENDPOINT_URL"));
        let url = match named {
            Some(url) => format!("{}/", url.trim_end_matches('/')),
            None if self.location.endpoint.is_none() => {
                format!("https://sts.{}.amazonaws.com/", self.region)
            }
            None => return None,
        };
        Some(self.ask_identity(&url).await)
    }

    async fn ask_identity(&self, url: &str) -> Result<String, String> {
        let signer = Signer { credential: self.credential().await?, region: self.region.clone() };
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let body = Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15");
        let (status, answer) = signer.send("POST", url, "sts", &headers, body).await?;
        let inside = |open: &str, close: &str| {
            let rest = answer.split_once(open)?.1;
            Some(rest.split_once(close)?.0.to_owned())
        };
        match inside("<Arn>", "</Arn>") {
            Some(arn) if status == 200 => Ok(arn),
            _ => {
                let code = inside("<Code>", "</Code>").unwrap_or_default();
                Err(format!("STS answers HTTP {status} {code}").trim_end().to_owned())
            }
        }
    }

    async fn credential(&self) -> Result<Arc<AwsCredential>, String> {
        let found = self.store.credentials().get_credential().await;
        found.map_err(said)
    }
}

/// An endpoint with the bucket before its host.
fn with_bucket(endpoint: &str, bucket: &str) -> String {
    endpoint.trim_end_matches('/').replacen("://", &format!("://{bucket}."), 1)
}

/// How often a request is repeated that the server was too busy for, or that got lost: with the default of
/// ten times over three minutes a run says nothing for too long of a bucket that cannot be reached.
/// How often a request that failed is made again.
pub(super) const RETRIES: usize = 6;

fn retry() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(5), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: RETRIES, retry_timeout: Duration::from_mins(1) }
}

/// An error in S3's own words rather than with its whole answer, where it said no; a listing that may not be
/// is told as any other no, which `object_store` does not.
pub(super) fn in_words(error: Error, key: &str) -> Error {
    let text = daymark_plan::one_line(&error);
    let inside = |name: &str| {
        let rest = text.split_once(&format!("<{name}>"))?.1;
        Some(rest.split_once(&format!("</{name}>"))?.0)
    };
    // Of other answers the number of tries is worth knowing, and the status.
    let (Some(code), true) = (inside("Code"), text.contains("status code: 4")) else {
        return error;
    };
    let message = inside("Message").map(|message| format!(": {message}")).unwrap_or_default();
    let source = format!("S3 says {code}{message}").into();
    match error {
        Error::NotFound { path, .. } => Error::NotFound { path, source },
        Error::PermissionDenied { path, .. } => Error::PermissionDenied { path, source },
        Error::Unauthenticated { path, .. } => Error::Unauthenticated { path, source },
        Error::Generic { .. } if code == "AccessDenied" => {
            Error::PermissionDenied { path: key.to_owned(), source }
        }
        Error::Generic { store, .. } => Error::Generic { store, source },
        other => other,
    }
}

/// An error of `object_store` in words.
#[expect(clippy::needless_pass_by_value, reason = "the shape `map_err` wants")]
fn said(error: Error) -> String {
    daymark_plan::one_line(&error)
}

/// The region: the folder's word, else the environment's, else where AWS began.
fn region(location: &S3Location) -> String {
    let environment = Environment::of_process();
    let variable = |name| environment.get(name).map(str::to_owned);
    location
        .region
        .clone()
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"))
        .or_else(|| profile(&environment).and_then(|profile| profile.get("region").cloned()))
        .unwrap_or_else(|| "us-east-1".to_owned())
}

/// The standard chain of credentials.
fn chain() -> Result<AmazonS3Builder, String> {
    let environment = Environment::of_process();
    let mut builder = AmazonS3Builder::from_env().with_retry(retry());
    // What AWS's own tools call the address of the instance's metadata.
    if let Some(endpoint) = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        builder = builder.with_metadata_endpoint(endpoint.trim_end_matches('/'));
    }
    let before = [
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ];
    let named = environment.get("AWS_PROFILE");
    if named.is_none() && before.into_iter().any(|name| environment.get(name).is_some()) {
        return Ok(builder);
    }
    let profile = profile(&environment);
    let keys = profile.as_ref().and_then(|profile| {
        profile.get("aws_access_key_id").zip(profile.get("aws_secret_access_key"))
    });
    let (Some(profile), Some((id, secret))) = (&profile, keys) else {
        let no_instance = environment.get("AWS_EC2_METADATA_DISABLED");
        return match (named, &profile) {
            (None, _) if no_instance.is_some_and(|word| word.eq_ignore_ascii_case("true")) => {
                Err("there are no credentials: neither keys (AWS_ACCESS_KEY_ID), a profile, a role of \
                     a container nor a web identity, and AWS_EC2_METADATA_DISABLED forbids to ask the \
                     instance for its role"
                    .to_owned())
            }
            (None, _) => Ok(builder),
            (Some(name), None) => {
                Err(format!("the profile `{name}` (AWS_PROFILE) is in none of AWS's shared files"))
            }
            (Some(name), Some(_)) => Err(format!(
                "the profile `{name}` (AWS_PROFILE) has no keys of its own; `eval \"$(aws configure \
                 export-credentials --format env)\"` gives its keys to the environment"
            )),
        };
    };
    let credential = AwsCredential {
        key_id: id.clone(),
        secret_key: secret.clone(),
        token: profile.get("aws_session_token").cloned(),
    };
    Ok(builder.with_credentials(Arc::new(StaticCredentialProvider::new(credential))))
}

/// The profile in force (`AWS_PROFILE`, else `default`), out of both shared files: that of credentials
/// counts more.
fn profile(environment: &Environment) -> Option<HashMap<String, String>> {
    let variable = |name| environment.get(name).map(str::to_owned);
    let name = variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
    let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
    let file = |name: &'static str, default: &str| {
        let path = variable(name).map_or_else(|| home.join(default), PathBuf::from);
        std::fs::read_to_string(path).unwrap_or_default()
    };
    let config = file("AWS_CONFIG_FILE", ".aws/config");
    let section = if name == "default" { name.clone() } else { format!("profile {name}") };
    let mut found = of_section(&config, &section);
    let credentials = file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
    found.extend(of_section(&credentials, &name));
    (!found.is_empty()).then_some(found)
}

/// The keys of a section of an INI file, as AWS's shared files are.
fn of_section(text: &str, section: &str) -> HashMap<String, String> {
    let mut inside = false;
    let mut found = HashMap::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = name.split_whitespace().collect::<Vec<_>>().join(" ") == section;
        } else if inside
            && !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once('=')
        {
            found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

fn client(url: &str) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder().timeout(PATIENCE).connect_timeout(PATIENCE);
    if url.starts_with("http://") {
        // The machine's certificates are not needed, and not there on a bare Debian.
        builder = builder.redirect(reqwest::redirect::Policy::none()).tls_certs_only([]);
    }
    builder.build().map_err(|error| error.to_string())
}

/// Signs requests to AWS beside those of objects.
pub(crate) struct Signer {
    credential: Arc<AwsCredential>,
    /// The region.
    pub(crate) region: String,
}

/// A signer by the standard chain.
pub(crate) async fn signer() -> Result<Signer, String> {
    let location = S3Location::default();
    let region = region(&location);
    let store = chain()?.with_bucket_name("none").with_region(&region).build();
    let store = store.map_err(said)?;
    let credential = store.credentials().get_credential().await.map_err(said)?;
    Ok(Signer { credential, region })
}

impl Signer {
    /// Sends a signed request; gives the status and the text of the answer.
    pub(crate) async fn send(
        &self,
        method: &str,
        url: &str,
        service: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Result<(u16, String), String> {
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request: HttpRequest =
            request.body(body.clone().into()).map_err(|error| error.to_string())?;
        AwsAuthorizer::new(&self.credential, service, &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| error.to_string())?;
        let (parts, _) = request.into_parts();
        let client = client(url)?;
        let sent = client.request(parts.method, url).headers(parts.headers).body(body).send().await;
        let answer = sent.map_err(|error| crate::words::innermost(&error.without_url()))?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(|error| error.without_url().to_string())?;
        Ok((status, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_files_are_read_by_section() {
        let text = "# mine\n[default]\nregion = eu-west-1\n\n[profile  work]\naws_access_key_id=AK\n\
                    AWS_SECRET_ACCESS_KEY = a=b\n;aws_session_token = no\n[other]\nregion = x\n";
        let work = of_section(text, "profile work");
        assert_eq!(work.get("aws_access_key_id").map(String::as_str), Some("AK"));
        assert_eq!(work.get("aws_secret_access_key").map(String::as_str), Some("a=b"));
        assert_eq!(work.len(), 2);
        assert_eq!(of_section(text, "default")["region"], "eu-west-1");
        assert!(of_section(text, "nobody").is_empty());
    }
}
