//! Configuration files of a node's programs. Pure: text out of values.

use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::{Value, json};

use crate::images::Image;

/// Where containerd listens, in the node's own `/run`.
pub(crate) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

pub(crate) fn containerd(plugin_folder: &Path, network_folder: &Path) -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Inside another container a lower score than one's own is refused.
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{network}"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"#,
        pause = Image::Pause.name(),
        plugins = plugin_folder.display(),
        network = network_folder.display(),
    )
}

/// Every pod has a link of its own to the node. A bridge would need the kernel's br_netfilter for
/// answers of Services between two pods of one node; routed links do not.
pub(crate) fn pod_network(pods: &str) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": pods}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

pub(crate) fn kubelet(client_ca: &Path, dir: &Path, cgroup: &str, name_server: Ipv4Addr) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": client_ca},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "cgroupsPerQOS": true,
        "enforceNodeAllocatable": ["pods"],
        "clusterDNS": [name_server],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        // Machines with cgroup v1 or swap, and folders on odd file systems, are good enough for a test.
        "failCgroupV1": false,
        "failSwapOn": false,
        "localStorageCapacityIsolation": false,
        // Images come from nowhere else, so they are never collected, and pods are not evicted
        // because the machine's disk is fuller than that of a server should be.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "50Mi"},
        // With the controllers' grace period of 20 s a lost node is seen, and a slow one is not lost.
        "nodeStatusUpdateFrequency": "2s",
        "nodeLeaseDurationSeconds": 20,
        "volumePluginDir": dir.join("volume-plugins"),
        "logging": {"verbosity": 1},
    })
}

pub(crate) fn kube_proxy(kubeconfig: &Path, node: &str, all_pods: &str) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig},
        "hostnameOverride": node,
        "mode": "iptables",
        "clusterCIDR": all_pods,
        // Zero: the limits of the machine are left as they are.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        // Tests wait for a Service to follow its pods; one second is the default pace.
        "iptables": {"minSyncPeriod": "100ms"},
    })
}

pub(crate) fn corefile(address: Ipv4Addr, kubeconfig: &Path) -> String {
    format!(
        ".:53 {{\n    bind {address}\n    errors\n    kubernetes cluster.local in-addr.arpa {{\n        \
         kubeconfig {}\n        ttl 1\n    }}\n    cache 1\n}}\n",
        kubeconfig.display()
    )
}
