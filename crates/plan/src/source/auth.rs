//! `[auth]`: who asks.
//!
//! In: the TOML table. Out: an [`Auth`] whose secrets are templates. Deliberately absent: asking for
//! tokens, which is ingest's.

use super::request::{address, is_header_name, secret, template};
use super::template::Template;
use crate::problem::Problem;
use crate::section::{Section, choose};

/// How a request says who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// It does not.
    None,
    /// `Authorization: Bearer TOKEN` (RFC 6750).
    Bearer {
        /// The token.
        token: Template,
    },
    /// `Authorization: Basic ...` (RFC 7617).
    Basic {
        /// The user; often no secret.
        user: Template,
        /// The password.
        password: Template,
    },
    /// A key under a name of the API's own.
    ApiKey {
        /// The header's or parameter's name.
        name: String,
        /// The key.
        value: Template,
        /// Where it goes.
        place: KeyPlace,
    },
    /// A token that is asked for with the credentials of a client (RFC 6749 section 4.4).
    ClientCredentials(Box<ClientCredentials>),
}

/// Where an API key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace {
    /// Into a header.
    Header,
    /// Into the query.
    Query,
}

/// How a token is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCredentials {
    /// Where.
    pub token_url: Template,
    /// The client.
    pub client_id: Template,
    /// Its secret.
    pub client_secret: Template,
    /// What the token is to allow.
    pub scope: Option<String>,
    /// Whom the token is for, which some servers want.
    pub audience: Option<String>,
    /// Whether the credentials go into the form instead of a header (RFC 6749 section 2.3.1).
    pub in_form: bool,
}

impl Auth {
    /// The header it is told in; none where it goes into the query or nowhere.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Bearer { .. } | Self::Basic { .. } | Self::ClientCredentials(_) => {
                Some("Authorization")
            }
            Self::ApiKey { name, place: KeyPlace::Header, .. } => Some(name),
            Self::ApiKey { place: KeyPlace::Query, .. } | Self::None => None,
        }
    }

    /// The parameter it is told in, when it goes into the query.
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Self::ApiKey { name, place: KeyPlace::Query, .. } => Some(name),
            _ => None,
        }
    }

    /// Every template of it.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let all = match self {
            Self::None => vec![],
            Self::Bearer { token } => vec![token],
            Self::Basic { user, password } => vec![user, password],
            Self::ApiKey { value, .. } => vec![value],
            Self::ClientCredentials(client) => {
                vec![&client.token_url, &client.client_id, &client.client_secret]
            }
        };
        all.into_iter()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Bearer,
    Basic,
    ApiKey,
    OAuth2,
}

/// Reads `[auth]`.
pub(super) fn read(section: Option<Section<'_>>, problems: &mut Vec<Problem>) -> Option<Auth> {
    let Some(mut section) = section else { return Some(Auth::None) };
    let kinds = [
        ("bearer", Kind::Bearer),
        ("basic", Kind::Basic),
        ("api_key", Kind::ApiKey),
        ("oauth2", Kind::OAuth2),
    ];
    let kind = choose(&mut section, "type", &kinds, None, problems)?;
    let open = |section: &mut Section<'_>, key: &str, problems: &mut Vec<Problem>| {
        let text = section.required_string(key, problems)?;
        template(section, key, &text, problems)
    };
    let auth = match kind {
        Kind::Bearer => secret(&mut section, "token", problems).map(|token| Auth::Bearer { token }),
        Kind::Basic => {
            let user = open(&mut section, "user", problems);
            let password = secret(&mut section, "password", problems);
            user.zip(password).map(|(user, password)| Auth::Basic { user, password })
        }
        Kind::ApiKey => {
            let name = section.required_string("name", problems);
            let value = secret(&mut section, "value", problems);
            let places = [("header", KeyPlace::Header), ("query", KeyPlace::Query)];
            let place = choose(&mut section, "in", &places, Some(KeyPlace::Header), problems);
            if let (Some(name), Some(KeyPlace::Header)) = (&name, place)
                && !is_header_name(name)
            {
                let problem = section.problem("name", format!("`{name}` is no header's name"));
                problems.push(problem.hint("accepted: letters, digits and `-`"));
            }
            name.zip(value).zip(place).map(|((name, value), place)| Auth::ApiKey {
                name,
                value,
                place,
            })
        }
        Kind::OAuth2 => {
            let token_url = open(&mut section, "token_url", problems)
                .filter(|url| address(&section, "token_url", url, problems));
            let client_id = open(&mut section, "client_id", problems);
            let client_secret = secret(&mut section, "client_secret", problems);
            let scope = section.optional_string("scope", problems);
            let audience = section.optional_string("audience", problems);
            let sent = [("header", false), ("form", true)];
            let in_form = choose(&mut section, "credentials_in", &sent, Some(false), problems);
            token_url.zip(client_id).zip(client_secret).zip(in_form).map(
                |(((token_url, client_id), client_secret), in_form)| {
                    Auth::ClientCredentials(Box::new(ClientCredentials {
                        token_url,
                        client_id,
                        client_secret,
                        scope,
                        audience,
                        in_form,
                    }))
                },
            )
        }
    };
    section.finish(problems);
    auth
}
