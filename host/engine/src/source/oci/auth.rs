//! Credentials of registries, from a Secret of type kubernetes.io/dockerconfigjson, and the challenges
//! that they answer. Touches nothing.

use super::error::OciError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// User and password for one registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Name of the user.
    pub user: String,
    /// Password or token.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({}, …)", self.user)
    }
}

/// Logins by registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials(BTreeMap<String, Login>);

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// Reads the value of `.dockerconfigjson`.
    ///
    /// # Errors
    /// [`OciError::InvalidRequest`]; never with anything of what it holds.
    pub fn from_docker_config(json: &[u8]) -> Result<Self, OciError> {
        let invalid = |detail: &str| {
            OciError::InvalidRequest(format!(
                "the pull Secret's .dockerconfigjson {detail}: make it with `kubectl create secret docker-registry NAME --docker-server=HOST --docker-username=… --docker-password=…`"
            ))
        };
        let config: DockerConfig = serde_json::from_slice(json).map_err(|_| invalid("is not the JSON of a Docker configuration with `auths`"))?;
        let mut logins = BTreeMap::new();
        for (registry, entry) in config.auths {
            let login = match entry {
                Entry { username: Some(user), password: Some(password), .. } => Login { user, password },
                Entry { auth: Some(auth), .. } => {
                    let text = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                    let (user, password) =
                        text.as_ref().and_then(|text| text.split_once(':')).ok_or_else(|| invalid("has an `auth` that is not base64 of user:password"))?;
                    Login { user: user.to_owned(), password: password.trim_end_matches('\0').to_owned() }
                }
                _ => continue,
            };
            logins.insert(normal(&registry), login);
        }
        Ok(Self(logins))
    }

    /// One login for one registry, `host[:port]`.
    #[must_use]
    pub fn of(registry: &str, login: Login) -> Self {
        Self(BTreeMap::from([(normal(registry), login)]))
    }

    /// The login for a repository: the entry with the longest path that it lies under.
    #[must_use]
    pub fn get(&self, registry: &str, repository: &str) -> Option<&Login> {
        let whole = format!("{}/{repository}", normal(registry));
        let under = |entry: &str| whole.strip_prefix(entry).is_some_and(|rest| rest.starts_with('/'));
        self.0.iter().filter(|(entry, _)| under(entry)).max_by_key(|(entry, _)| entry.len()).map(|(_, login)| login)
    }
}

/// `https://index.docker.io/v1/` and `docker.io` are one.
fn normal(registry: &str) -> String {
    let bare = registry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare);
    let (host, path) = bare.split_once('/').map_or((bare, ""), |(host, path)| (host, path));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_ascii_lowercase(),
    };
    if path.is_empty() { host } else { format!("{host}/{path}") }
}

/// What a registry wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from this place.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// User and password with each request.
    Basic,
}

impl Challenge {
    /// Reads the WWW-Authenticate headers of an answer.
    pub(super) fn read<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for header in headers {
            for challenge in http_auth::parse_challenges(header).unwrap_or_default() {
                let param = |name: &str| challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_unescaped());
                if challenge.scheme.eq_ignore_ascii_case("bearer")
                    && let Some(realm) = param("realm")
                {
                    return Some(Self::Bearer { realm, service: param("service"), scope: param("scope") });
                }
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Self::Basic);
                }
            }
        }
        basic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_docker_config_is_read_in_both_of_its_forms() {
        let json = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"dTE6cDE6eA=="},
            "ghcr.io":{"username":"u2","password":"p2","auth":"ignored"},
            "ghcr.io/team":{"username":"u3","password":"p3"},
            "127.0.0.1:5000":{"auth":"dTQ6cDQ="},
            "helper.example.com":{}
        }}"#;
        let credentials = Credentials::from_docker_config(json.as_bytes()).unwrap();
        let user = |registry, repository| credentials.get(registry, repository).map(|login| login.user.as_str());
        assert_eq!(user("index.docker.io", "library/a"), Some("u1"));
        assert_eq!(credentials.get("docker.io", "a").unwrap().password, "p1:x");
        assert_eq!(user("ghcr.io", "other/a"), Some("u2"));
        assert_eq!(user("ghcr.io", "team/a"), Some("u3"));
        assert_eq!(user("ghcr.io", "team-b/a"), Some("u2"));
        assert_eq!(user("127.0.0.1:5000", "a"), Some("u4"));
        assert_eq!(user("127.0.0.1:5001", "a"), None);
        assert_eq!(user("helper.example.com", "a"), None);
        assert!(!format!("{credentials:?}").contains("p2"));
    }

    #[test]
    fn a_broken_docker_config_is_an_error_that_tells_nothing_of_it() {
        for json in ["", "{}", "[]", r#"{"auths":{"a":{"auth":"c2VjcmV0"}}}"#] {
            let error = Credentials::from_docker_config(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("kubectl create secret docker-registry") && !error.contains("c2VjcmV0"), "{error}");
        }
    }

    #[test]
    fn a_challenge_is_found_among_others() {
        let bearer = r#"Bearer realm="https://auth.example.com/token",service="registry",scope="repository:a:pull""#;
        let wanted = Challenge::Bearer {
            realm: "https://auth.example.com/token".to_owned(),
            service: Some("registry".to_owned()),
            scope: Some("repository:a:pull".to_owned()),
        };
        assert_eq!(Challenge::read([r#"Basic realm="x""#, bearer].into_iter()), Some(wanted));
        assert_eq!(Challenge::read([r#"Basic realm="x""#].into_iter()), Some(Challenge::Basic));
        assert_eq!(Challenge::read(["Bearer", "\u{1}", ""].into_iter()), None);
    }
}
