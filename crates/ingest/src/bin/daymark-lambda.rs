//! The bootstrap of the AWS Lambda function: events in, raw objects and manifests out.
//!
//! In: the environment that Lambda sets, and events of its Runtime API. Out: a report or an error for
//! each. The pipeline folder is read once, before the first event; what is wrong with it is an error of
//! the start. Deliberately absent: everything an invocation does, which is `daymark_ingest::lambda`'s.

use std::process::ExitCode;

use daymark_ingest::lambda::{Function, LambdaError, Report};
use daymark_plan::{Clock, Environment};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Value, json};
use tracing::Instrument;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// What Lambda sets and `lambda_runtime` cannot do without.
const SET_BY_LAMBDA: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
];

/// `cargo lambda watch` sends how long there is in the place of an instant.
const NO_INSTANT: SignedDuration = SignedDuration::from_hours(24);

fn main() -> ExitCode {
    let environment = Environment::of_process();
    start_log(&environment);
    if let Some(name) = SET_BY_LAMBDA.into_iter().find(|name| environment.get(name).is_none()) {
        tracing::error!(
            "this program is the bootstrap of an AWS Lambda function, and {name} is not set; \
             `daymark fetch` does its work elsewhere"
        );
        return ExitCode::from(2);
    }
    // What takes long in a fetch is waiting; reading bodies and writing files have threads of their own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            tracing::error!("the function cannot start: {cause}");
            return ExitCode::from(1);
        }
    };
    runtime.block_on(serve(&environment))
}

/// Answers events until the process is ended.
async fn serve(environment: &Environment) -> ExitCode {
    let function = match Function::open(environment, Clock::System) {
        Ok(function) => function,
        Err(error) => {
            tracing::error!(kind = error.kind(), "{}", error.text());
            if let Err(cause) = report_no_start(&error).await {
                tracing::error!("Lambda could not be told: {cause}");
            }
            return ExitCode::from(1);
        }
    };
    let function = &function;
    let handler = service_fn(|event: LambdaEvent<Value>| {
        let span = tracing::info_span!("invocation", request_id = event.context.request_id);
        answer(function, event).instrument(span)
    });
    match lambda_runtime::Runtime::new(handler).run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            tracing::error!("Lambda's Runtime API does not answer: {cause}");
            ExitCode::from(1)
        }
    }
}

async fn answer(function: &Function, event: LambdaEvent<Value>) -> Result<Report, Diagnostic> {
    let deadline = deadline(event.context.deadline, Clock::System.now());
    function.handle(&event.payload, deadline).await.map_err(|error| {
        tracing::error!(kind = error.kind(), "{}", error.text());
        diagnostic(&error)
    })
}

/// The instant an answer must be there.
fn deadline(milliseconds: u64, now: Timestamp) -> Timestamp {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    let given = SignedDuration::from_millis(milliseconds);
    let from = if given < NO_INSTANT { now } else { Timestamp::UNIX_EPOCH };
    from.checked_add(given).unwrap_or(Timestamp::MAX)
}

fn diagnostic(error: &LambdaError) -> Diagnostic {
    Diagnostic { error_type: error.kind().to_owned(), error_message: error.text() }
}

/// Tells Lambda why there will be no function.
async fn report_no_start(error: &LambdaError) -> Result<(), lambda_runtime_api_client::BoxError> {
    let Diagnostic { error_type, error_message } = diagnostic(error);
    let kind = format!("Runtime.{error_type}");
    let body = json!({ "errorType": error_type, "errorMessage": error_message, "stackTrace": [] });
    let request = lambda_runtime_api_client::build_request()
        .method("POST")
        .uri("/2018-06-01/runtime/init/error")
        .header("lambda-runtime-function-error-type", kind)
        .body(body.to_string().into())?;
    lambda_runtime_api_client::Client::builder().build()?.call(request).await?;
    Ok(())
}

/// Logs JSON lines on standard output, as Lambda wants them; what other crates say from warnings on.
fn start_log(environment: &Environment) {
    let level = match environment.get("AWS_LAMBDA_LOG_LEVEL") {
        Some("TRACE") => LevelFilter::TRACE,
        Some("DEBUG") => LevelFilter::DEBUG,
        Some("WARN") => LevelFilter::WARN,
        Some("ERROR" | "FATAL") => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    let others = level.min(LevelFilter::WARN);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_target(false);
    let filter = Targets::new().with_default(others).with_target("daymark", level);
    tracing_subscriber::registry().with(lines).with(filter).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_an_instant_and_of_cargo_lambda_a_duration() {
        let now: Timestamp = "2026-11-23T13:00:00Z".parse().unwrap();
        let minute = SignedDuration::from_mins(1);
        let later = u64::try_from((now + minute).as_millisecond()).unwrap();
        assert_eq!(deadline(later, now), now + minute);
        assert_eq!(deadline(60_000, now), now + minute);
        assert_eq!(deadline(u64::MAX, now), Timestamp::MAX);
    }
}
