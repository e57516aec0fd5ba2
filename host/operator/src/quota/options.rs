//! `--namespace-quota` and `--namespace-quota-for` as text. Touches nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use weir_core::quota::Quota;
use weir_crds::{Bytes, Duration};

/// What a namespace may have where nobody said otherwise: more than a team needs (10,000 decisions a second of a
/// built-in policy), and no more than one core.
pub const DEFAULT: Quota = Quota { policies: 100, compiled_bytes: 256 << 20, decision_us: 1_000_000 };

/// Parts of a quota as somebody wrote them: `policies=100,compiled=256Mi,decision=500ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    policies: Option<u32>,
    compiled_bytes: Option<u64>,
    decision_us: Option<u32>,
}

impl Parts {
    /// These parts, and the others of `rest`.
    #[must_use]
    pub fn or(self, rest: Quota) -> Quota {
        Quota {
            policies: self.policies.unwrap_or(rest.policies),
            compiled_bytes: self.compiled_bytes.unwrap_or(rest.compiled_bytes),
            decision_us: self.decision_us.unwrap_or(rest.decision_us),
        }
    }
}

impl FromStr for Parts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Self::default();
        for part in text.split(',') {
            let form = || {
                format!(
                    "`{part}` is no part of a quota: write policies=NUMBER, compiled=BYTES or decision=TIME (of each second), for example policies=100,compiled=256Mi,decision=500ms"
                )
            };
            let (name, value) = part.split_once('=').ok_or_else(form)?;
            match name {
                "policies" => parts.policies = Some(value.parse().map_err(|_| form())?),
                "compiled" => parts.compiled_bytes = Some(value.parse::<Bytes>().map_err(|error| format!("compiled: {error}"))?.get()),
                "decision" => {
                    let time = value.parse::<Duration>().map_err(|error| format!("decision: {error}"))?;
                    let us = u32::try_from(time.as_millis().saturating_mul(1000)).ok().filter(|us| *us > 0);
                    parts.decision_us = Some(us.ok_or("decision must be from 1ms to 1h: it is processor time of each second, so 2s are two cores")?);
                }
                _ => return Err(form()),
            }
        }
        Ok(parts)
    }
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.policies.map(|policies| format!("policies={policies}")),
            self.compiled_bytes.map(|bytes| format!("compiled={}", Bytes::new(bytes))),
            self.decision_us.map(|us| format!("decision={}", Duration::from_millis(u64::from(us / 1000)))),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(","))
    }
}

/// Parts for one namespace: `team-a=policies=10,decision=1s`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartsFor {
    /// The namespace.
    pub namespace: String,
    /// Its parts.
    pub parts: Parts,
}

impl FromStr for PartsFor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once('=').filter(|(namespace, rest)| !namespace.is_empty() && rest.contains('='));
        let (namespace, parts) = named.ok_or_else(|| format!("`{text}` names no namespace: write for example team-a=policies=10,decision=1s"))?;
        Ok(Self { namespace: namespace.to_owned(), parts: parts.parse()? })
    }
}

/// The quotas of all namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaOptions {
    everywhere: Quota,
    of: BTreeMap<String, Quota>,
}

impl Default for QuotaOptions {
    fn default() -> Self {
        Self { everywhere: DEFAULT, of: BTreeMap::new() }
    }
}

impl QuotaOptions {
    /// What was said of all namespaces and of some; of one that is named twice the last word counts.
    #[must_use]
    pub fn new(everywhere: Parts, some: Vec<PartsFor>) -> Self {
        let everywhere = everywhere.or(DEFAULT);
        Self { everywhere, of: some.into_iter().map(|PartsFor { namespace, parts }| (namespace, parts.or(everywhere))).collect() }
    }

    /// That of one namespace.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Quota {
        self.of.get(namespace).copied().unwrap_or(self.everywhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn what_is_not_said_of_a_namespace_is_what_is_said_of_all() {
        let options = QuotaOptions::new("policies=7".parse().unwrap(), vec!["team-a=decision=2s,compiled=1Gi".parse().unwrap()]);
        assert_eq!(options.of("other"), Quota { policies: 7, ..DEFAULT });
        assert_eq!(options.of("team-a"), Quota { policies: 7, compiled_bytes: 1 << 30, decision_us: 2_000_000 });
        assert_eq!("policies=100,compiled=256Mi,decision=1s".parse::<Parts>().unwrap().or(DEFAULT), DEFAULT);
    }

    #[rstest]
    #[case("policies=1,compiled=1Mi,decision=1500ms", "policies=1,compiled=1Mi,decision=1s500ms")]
    #[case("decision=1s", "decision=1s")]
    fn an_option_is_read_as_it_is_shown(#[case] text: &str, #[case] shown: &str) {
        let parts: Parts = text.parse().unwrap();
        assert_eq!((parts.to_string().as_str(), shown.parse::<Parts>().unwrap()), (shown, parts));
    }

    #[rstest]
    #[case("policies", "policies=NUMBER")]
    #[case("policies=-1", "policies=NUMBER")]
    #[case("pods=3", "policies=NUMBER")]
    #[case("compiled=much", "compiled:")]
    #[case("decision=0s", "1ms to 1h")]
    #[case("decision=50h", "1ms to 1h")]
    fn what_is_no_quota_is_refused_with_what_to_write(#[case] text: &str, #[case] says: &str) {
        let error = text.parse::<Parts>().unwrap_err();
        assert!(error.contains(says), "{error}");
        assert!("policies=3".parse::<PartsFor>().unwrap_err().contains("team-a="));
    }
}
