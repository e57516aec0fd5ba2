//! Names of the objects of a LogProcessor, and the labels and annotations that only this module and
//! its readers know. Touches nothing.

use super::revision::ConfigHash;
use weir_core::ids::Digest;

/// Label on the pods of a check, and on its Job: the name of the LogProcessor. Not the label that
/// the workload selects by, so no such pod is ever counted as a replica or sent to.
pub const LABEL_CONFIG_CHECK: &str = "weir.dev/config-check";
/// Annotation on the Deployment: hash of the last revision that all replicas ran healthily.
pub const ANNOTATION_LAST_GOOD: &str = "weir.dev/last-good-config";
/// Annotation on the Deployment: hash of a revision that was taken back because it failed.
pub const ANNOTATION_ROLLED_BACK: &str = "weir.dev/rolled-back-config";
/// Annotation on a Deployment whose pods read their configuration anew, instead of being replaced: Unix
/// milliseconds at which the configuration that its annotation names was given to them.
pub const ANNOTATION_GIVEN_AT: &str = "weir.dev/config-given-at";
/// Label on pods that read their configuration anew, and annotation on their Deployment: hash of the pod
/// template without what changes with each configuration.
pub const LABEL_TEMPLATE: &str = "weir.dev/template";
/// Annotation on a ConfigMap that is changed in place: hash of the configuration that it holds now.
pub const ANNOTATION_LIVE: &str = "weir.dev/live-config";
/// Annotation on each object: hash of what Weir last asked for, so that what it no longer asks for
/// is noticed too and removed.
pub const ANNOTATION_APPLIED: &str = "weir.dev/applied-hash";
/// Annotation on the Deployment: version of the operator that wrote it.
pub const ANNOTATION_OPERATOR_VERSION: &str = "weir.dev/operator-version";

/// Longest name that fits a label value and a DNS label.
const LONGEST: usize = 63;

/// The Deployment. The same for both engines that have one, so a change of engine changes it in
/// place and never runs two sets of replicas.
#[must_use]
pub fn workload_name(processor: &str) -> String {
    fit(format!("{processor}-collector"))
}

/// The Service and the PodDisruptionBudget.
#[must_use]
pub fn service_name(processor: &str) -> String {
    fit(processor.to_owned())
}

/// The ConfigMap of a revision.
#[must_use]
pub fn config_map_name(processor: &str, hash: &ConfigHash) -> String {
    fit(format!("{processor}-config-{hash}"))
}

/// The ConfigMap that pods of one template have mounted, and that is changed in place.
#[must_use]
pub fn live_config_map_name(processor: &str, template: &ConfigHash) -> String {
    fit(format!("{processor}-live-{template}"))
}

/// The Job that checks a revision.
#[must_use]
pub fn check_job_name(processor: &str, hash: &ConfigHash) -> String {
    fit(format!("{processor}-check-{hash}"))
}

/// Cuts a name that is too long for any object.
fn fit(name: String) -> String {
    fit_in(name, LONGEST)
}

/// Cuts a name that is longer than `longest`, with eight digits of its digest so that it stays unique.
pub(crate) fn fit_in(name: String, longest: usize) -> String {
    if name.len() <= longest {
        return name;
    }
    let digest = Digest::of(name.as_bytes()).short();
    let kept: String = name.chars().take(longest - 9).collect();
    let tail: String = digest.chars().take(8).collect();
    format!("{}-{tail}", kept.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_say_whose_and_what_they_are() {
        let hash: ConfigHash = "0123456789ab".parse().unwrap();
        assert_eq!(workload_name("logs"), "logs-collector");
        assert_eq!(config_map_name("logs", &hash), "logs-config-0123456789ab");
        assert_eq!(check_job_name("logs", &hash), "logs-check-0123456789ab");
    }

    #[test]
    fn two_revisions_of_the_longest_name_have_two_config_maps() {
        let name = "a".repeat(52);
        let of = |hash: &str| config_map_name(&name, &hash.parse().unwrap());
        assert_ne!(of("0123456789ab"), of("0123456789ac"));
    }

    proptest! {
        #[test]
        fn a_name_is_a_dns_label(name in "[a-z]([-a-z0-9]{0,50}[a-z0-9])?", hash in "[0-9a-f]{12}") {
            let hash: ConfigHash = hash.parse().unwrap();
            for made in [workload_name(&name), service_name(&name), config_map_name(&name, &hash), check_job_name(&name, &hash)] {
                prop_assert!(made.len() <= 63 && !made.ends_with('-') && made.starts_with(|c: char| c.is_ascii_lowercase()));
            }
        }
    }
}
