//! The address of a target. Pure. Parsed from arguments, used by `dial` and the clients.
use std::fmt;
use std::str::FromStr;

/// `host:port` with an optional path. The host is a name or an address; the path is used by
/// OTLP/HTTP only and is `/v1/logs` unless given. Plaintext only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
    path: Option<String>,
}

impl Endpoint {
    /// The name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where OTLP/HTTP posts logs.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/v1/logs")
    }

    /// `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }
}

/// An address that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EndpointError {
    /// TLS is not built in.
    #[error("{0:?}: only http:// (plaintext) is supported")]
    Scheme(String),
    /// No host, or a port that is none.
    #[error("{0:?}: expected [http://]host:port[/path]")]
    Form(String),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let form = || EndpointError::Form(text.to_owned());
        let rest = match text.split_once("://") {
            None => text,
            Some(("http", rest)) => rest,
            Some(_) => return Err(EndpointError::Scheme(text.to_owned())),
        };
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) if !path.is_empty() => (authority, Some(format!("/{path}"))),
            Some((authority, _)) => (authority, None),
            None => (rest, None),
        };
        let (host, port) = authority.rsplit_once(':').ok_or_else(form)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(form());
        }
        Ok(Self { host: host.to_owned(), port: port.parse().map_err(|_| form())?, path })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())?;
        self.path.iter().try_for_each(|path| f.write_str(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_paths_are_read() {
        let e: Endpoint = "collector.logs.svc:4317".parse().unwrap();
        assert_eq!((e.host(), e.port(), e.path()), ("collector.logs.svc", 4317, "/v1/logs"));
        let e: Endpoint = "http://[::1]:9428/insert/opentelemetry/v1/logs".parse().unwrap();
        assert_eq!((e.host(), e.path()), ("::1", "/insert/opentelemetry/v1/logs"));
        assert_eq!(e.to_string(), "http://[::1]:9428/insert/opentelemetry/v1/logs");
        for wrong in ["collector", "https://a:1", "a:70000", ":1", ""] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
