//! Mail by SMTP.
//!
//! In: a server, a sender, receivers, a document. Out: what the server said. The connection turns private before
//! anything is said on it, but on this machine's own loopback where the folder says so. Deliberately absent: trying
//! again.

use std::time::Duration;

use daymark_plan::{Email, Secrets, SmtpTls};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::Refusal;
use super::message::Document;
use super::webhook::innermost;

/// Sends a document.
pub(super) async fn send(
    mail: &Email,
    timeout: Duration,
    document: &Document<'_>,
    secrets: &Secrets,
) -> Result<String, Refusal> {
    let message = message(mail, document)?;
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.host)
        .port(mail.port)
        .timeout(Some(timeout))
        .tls(tls(mail)?);
    if let Some((user, password)) = &mail.login {
        let reveal = |template: &daymark_plan::Template| {
            template.revealed(secrets).map_err(|error| Refusal::of(error, false))
        };
        transport = transport.credentials(Credentials::new(reveal(user)?, reveal(password)?));
    }
    let answer = transport.build().send(message).await.map_err(|error| {
        let said = daymark_plan::one_line(&error);
        let said = if said.is_empty() { innermost(&error) } else { said };
        // What is wrong with the certificate or the login does not mend itself.
        let may_pass = !(error.is_permanent() || error.is_client() || error.is_tls());
        Refusal::of(crate::output::cut(&said, 300), may_pass)
    })?;
    let words: Vec<&str> = answer.message().collect();
    Ok(format!("SMTP {}: {}", answer.code(), words.join(" ")))
}

fn message(mail: &Email, document: &Document<'_>) -> Result<Message, Refusal> {
    let mailbox = |text: &str| {
        let parsed = text.parse::<Mailbox>();
        parsed.map_err(|error| Refusal::of(format!("`{text}` is no mail address: {error}"), false))
    };
    let from = mailbox(&mail.from)?;
    let domain = from.email.domain().to_owned();
    let mut builder = Message::builder()
        .from(from)
        .subject(document.subject())
        .message_id(Some(format!("<{}@{domain}>", document.identity())))
        .header(ContentType::TEXT_PLAIN);
    for to in &mail.to {
        builder = builder.to(mailbox(to)?);
    }
    // So that nobody's absence is answered to us (RFC 3834).
    let name = HeaderName::new_from_ascii_str("Auto-Submitted");
    builder = builder.raw_header(HeaderValue::new(name, "auto-generated".to_owned()));
    builder
        .header(header::ContentTransferEncoding::QuotedPrintable)
        .body(document.text())
        .map_err(|error| Refusal::of(format!("the mail cannot be written: {error}"), false))
}

fn tls(mail: &Email) -> Result<Tls, Refusal> {
    if mail.tls == SmtpTls::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(mail.host.clone());
    if let Some(file) = &mail.ca_file {
        let shown = file.display();
        let bad = |error: String| Refusal::of(format!("`ca_file` `{shown}`: {error}"), false);
        let pem = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| bad(innermost(&error)))?;
        parameters = parameters.add_root_certificate(certificate);
    }
    let parameters = parameters
        .certificate_store(CertificateStore::Default)
        .build()
        .map_err(|error| Refusal::of(format!("no TLS: {}", innermost(&error)), false))?;
    Ok(match mail.tls {
        SmtpTls::Implicit => Tls::Wrapper(parameters),
        SmtpTls::StartTls | SmtpTls::None => Tls::Required(parameters),
    })
}
