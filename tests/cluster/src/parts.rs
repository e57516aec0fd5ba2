//! The programs that a cluster is made of: which Go module each comes from, and the key under which
//! a build of it is kept.
//!
//! Every part is pinned by a `go.mod` and `go.sum` in `tests/cluster/go/`; they are embedded here, so
//! the key of a build, a hash over all that decides its bytes, costs no file access.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// Kubernetes refuses to talk to a server that calls itself v0.0.0, which an unstamped build does.
/// The version is that of `go/kubernetes/go.mod`.
const KUBERNETES_LDFLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.35.4 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=35";
const PLAIN_LDFLAGS: &str = "-s -w";

/// One program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The command line client.
    Kubectl,
    /// The store of the API server.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// The controllers: Deployments, garbage collection, namespaces, service accounts and so on.
    KubeControllerManager,
    /// Assigns pods to nodes.
    KubeScheduler,
    /// Plays the kubelet of nodes that do not exist.
    Kwok,
    /// Runs the pods of a real node.
    Kubelet,
    /// Implements Services on a real node.
    KubeProxy,
    /// Resolves names of Services in pods of real nodes.
    Coredns,
    /// The OpenTelemetry Collector with the components that Weir configures.
    Otelcol,
    /// The log store of the tests.
    VictoriaLogs,
    /// A Prometheus-compatible store, for tests of metrics that come from queries.
    VictoriaMetrics,
    /// The reference OCI registry, for tests of policies that come from one.
    Registry,
    /// Signs artifacts and files.
    Cosign,
}

/// A Go module of `tests/cluster/go/`, as (file name, contents).
pub(crate) struct Module {
    pub(crate) files: &'static [(&'static str, &'static str)],
}

macro_rules! module {
    ($name:literal: $($file:literal),+) => {
        Module {
            files: &[$(($file, include_str!(concat!("../go/", $name, "/", $file)))),+],
        }
    };
}

static KUBERNETES: Module = module!("kubernetes": "go.mod", "go.sum");
static ETCD: Module = module!("etcd": "go.mod", "go.sum");
static KWOK: Module = module!("kwok": "go.mod", "go.sum");
static COREDNS: Module = module!("coredns": "go.mod", "go.sum", "main.go");
static OTELCOL: Module = module!("otelcol": "go.mod", "go.sum", "main.go", "main_others.go", "components.go");
static VICTORIA: Module = module!("victoria": "go.mod", "go.sum");
static REGISTRY: Module = module!("registry": "go.mod", "go.sum");
static COSIGN: Module = module!("cosign": "go.mod", "go.sum");

/// How a part is compiled.
pub(crate) struct Recipe {
    pub(crate) module: &'static Module,
    pub(crate) package: &'static str,
    pub(crate) ldflags: &'static str,
}

impl Part {
    /// All parts, the ones first that are needed first.
    pub const ALL: [Self; 14] = [
        Self::Kubectl,
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kwok,
        Self::Otelcol,
        Self::VictoriaLogs,
        Self::Kubelet,
        Self::KubeProxy,
        Self::Coredns,
        Self::VictoriaMetrics,
        Self::Registry,
        Self::Cosign,
    ];

    /// What a control plane with fake nodes needs.
    pub const CONTROL_PLANE: [Self; 6] = [Self::Kubectl, Self::Etcd, Self::KubeApiserver, Self::KubeControllerManager, Self::KubeScheduler, Self::Kwok];

    /// What a cluster with real nodes needs.
    pub const NODES: [Self; 8] =
        [Self::Kubectl, Self::Etcd, Self::KubeApiserver, Self::KubeControllerManager, Self::KubeScheduler, Self::Kubelet, Self::KubeProxy, Self::Coredns];

    /// The name of the program's file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kubectl => "kubectl",
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kwok => "kwok",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::Coredns => "coredns",
            Self::Otelcol => "otelcol",
            Self::VictoriaLogs => "victoria-logs",
            Self::VictoriaMetrics => "victoria-metrics",
            Self::Registry => "registry",
            Self::Cosign => "cosign",
        }
    }

    pub(crate) fn recipe(self) -> Recipe {
        let (module, package, ldflags) = match self {
            Self::Kubectl => (&KUBERNETES, "k8s.io/kubernetes/cmd/kubectl", KUBERNETES_LDFLAGS),
            Self::KubeApiserver => (&KUBERNETES, "k8s.io/kubernetes/cmd/kube-apiserver", KUBERNETES_LDFLAGS),
            Self::KubeControllerManager => (&KUBERNETES, "k8s.io/kubernetes/cmd/kube-controller-manager", KUBERNETES_LDFLAGS),
            Self::KubeScheduler => (&KUBERNETES, "k8s.io/kubernetes/cmd/kube-scheduler", KUBERNETES_LDFLAGS),
            Self::Kubelet => (&KUBERNETES, "k8s.io/kubernetes/cmd/kubelet", KUBERNETES_LDFLAGS),
            Self::KubeProxy => (&KUBERNETES, "k8s.io/kubernetes/cmd/kube-proxy", KUBERNETES_LDFLAGS),
            Self::Etcd => (&ETCD, "go.etcd.io/etcd/server/v3", PLAIN_LDFLAGS),
            Self::Kwok => (&KWOK, "sigs.k8s.io/kwok/cmd/kwok", PLAIN_LDFLAGS),
            Self::Coredns => (&COREDNS, ".", PLAIN_LDFLAGS),
            Self::Otelcol => (&OTELCOL, ".", PLAIN_LDFLAGS),
            Self::VictoriaLogs => (&VICTORIA, "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-logs", PLAIN_LDFLAGS),
            Self::VictoriaMetrics => (&VICTORIA, "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics", PLAIN_LDFLAGS),
            Self::Registry => (&REGISTRY, "github.com/distribution/distribution/v3/cmd/registry", PLAIN_LDFLAGS),
            Self::Cosign => (&COSIGN, "github.com/sigstore/cosign/v2/cmd/cosign", PLAIN_LDFLAGS),
        };
        Recipe { module, package, ldflags }
    }

    /// A hash over everything that decides the bytes of this program except the Go toolchain: its
    /// module's files, the package, the flags and the platform.
    pub(crate) fn key(self) -> String {
        let recipe = self.recipe();
        let mut hash = Sha256::new();
        let mut add = |field: &str| {
            hash.update(field.len().to_le_bytes());
            hash.update(field.as_bytes());
        };
        for (name, contents) in recipe.module.files {
            add(name);
            add(contents);
        }
        add(recipe.package);
        add(recipe.ldflags);
        add(std::env::consts::OS);
        add(std::env::consts::ARCH);
        hex::encode(hash.finalize()).chars().take(16).collect()
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|part| part.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("no part is called {name:?}; the parts are {known}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_stable_and_differ_between_parts() {
        let keys: std::collections::BTreeSet<_> = Part::ALL.iter().map(|p| p.key()).collect();
        assert_eq!(keys.len(), Part::ALL.len());
        assert_eq!(Part::Etcd.key(), Part::Etcd.key());
    }

    #[test]
    fn names_parse_back() {
        for part in Part::ALL {
            assert_eq!(part.name().parse(), Ok(part));
        }
        assert!("kubeadm".parse::<Part>().unwrap_err().contains("kube-apiserver"));
    }
}
