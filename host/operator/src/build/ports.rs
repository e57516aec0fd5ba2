//! Which ports a collector's receivers listen on. Touches nothing; called by [`super::collector`].
//!
//! A receiver listens where it has an `endpoint` or `listen_address` on all addresses (`0.0.0.0`,
//! `[::]`, none) or on one that comes from the environment (`${env:POD_IP}`). An endpoint on another
//! host is one that the receiver asks (`redis`, `kubeletstats`), and one on localhost is for the pod
//! itself.

use super::collector::kind_of;
use super::valid::Notice;
use serde_json::{Map, Value};
use weir_crds::log_processor::Protocol;

/// A port of the collectors that other pods send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name, at most 15 characters, unique.
    pub name: String,
    /// Number, of the pods and of the Service.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// What is spoken, for load balancers and meshes.
    pub app_protocol: Option<&'static str>,
}

/// Where an endpoint is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Here, on all addresses.
    Open(u16),
    /// Here, on localhost.
    Local(u16),
    /// Here, on a port that only the environment knows.
    Unknown,
    /// Elsewhere.
    Remote,
}

fn place(endpoint: &str) -> Place {
    if endpoint.contains("//") || endpoint.starts_with("unix:") {
        return Place::Remote;
    }
    let from_environment = endpoint.contains("${");
    let Some((host, port)) = endpoint.rsplit_once(':').filter(|(_, port)| !port.ends_with('}')) else {
        return if from_environment { Place::Unknown } else { Place::Remote };
    };
    match port.parse::<u16>() {
        Err(_) | Ok(0) => Place::Remote,
        Ok(port) if is_local(host) => Place::Local(port),
        Ok(port) if from_environment || ["", "0.0.0.0", "[::]", "::", "*"].contains(&host) => Place::Open(port),
        Ok(_) => Place::Remote,
    }
}

/// True for a host that only the pod itself reaches.
pub(super) fn is_local(host: &str) -> bool {
    host == "localhost" || host.starts_with("127.") || host == "[::1]" || host == "::1"
}

/// The port of an endpoint that other pods reach.
pub(super) fn open_port(endpoint: &str) -> Option<u16> {
    match place(endpoint) {
        Place::Open(port) => Some(port),
        _ => None,
    }
}

/// The ports of all receivers that a pipeline uses.
pub(super) fn of(config: &Map<String, Value>, notices: &mut Vec<Notice>) -> Vec<Port> {
    let mut ports = Vec::new();
    let receivers = config.get("receivers").and_then(Value::as_object);
    for (id, receiver) in receivers.into_iter().flatten().filter(|(id, _)| used(config, id)) {
        let mut path = vec![id.as_str()];
        find(receiver, &mut path, &mut ports, notices);
    }
    ports
}

fn used(config: &Map<String, Value>, id: &str) -> bool {
    let pipelines = config.get("service").and_then(|service| service.get("pipelines"));
    // Where pipelines are taken from elsewhere, any receiver may be in use.
    let Some(pipelines) = pipelines.and_then(Value::as_object) else { return true };
    pipelines.values().any(|pipeline| match pipeline.get("receivers") {
        Some(Value::Array(receivers)) => receivers.iter().any(|used| used.as_str() == Some(id)),
        Some(Value::String(_)) => true,
        _ => false,
    })
}

fn find<'a>(value: &'a Value, path: &mut Vec<&'a str>, ports: &mut Vec<Port>, notices: &mut Vec<Notice>) {
    let Some(fields) = value.as_object().filter(|_| path.len() <= 4) else { return };
    for (key, value) in fields {
        match value.as_str() {
            Some(endpoint) if key == "endpoint" || key == "listen_address" => {
                add(endpoint, fields, path, ports, notices);
            }
            Some(_) => {}
            None => {
                path.push(key);
                find(value, path, ports, notices);
                path.pop();
            }
        }
    }
}

fn add(endpoint: &str, around: &Map<String, Value>, path: &[&str], ports: &mut Vec<Port>, notices: &mut Vec<Notice>) {
    let kind = kind_of(path.first().copied().unwrap_or_default());
    let whole = path.join(".");
    match place(endpoint) {
        Place::Open(port) => {
            let transport = around.get("transport").and_then(Value::as_str);
            let over_udp = path.contains(&"udp") || ["udplog", "netflow"].contains(&kind);
            let udp = transport.map_or(over_udp || kind == "statsd", |transport| transport.starts_with("udp"));
            let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
            if ports.iter().any(|known| known.port == port && known.protocol == protocol) {
                return;
            }
            let app_protocol = match path.last().copied() {
                Some("grpc") => Some("grpc"),
                Some("http") => Some("http"),
                _ => None,
            };
            ports.push(Port { name: name(path, port, ports), port, protocol, app_protocol });
        }
        Place::Local(port) if kind == "otlp" => notices.push(Notice::new(
            "ReceiverOnLocalhost",
            format!("receivers.{whole} listens on port {port} of localhost, where no other pod reaches it: write 0.0.0.0:{port}, or leave endpoint out"),
        )),
        Place::Unknown => notices.push(Notice::new(
            "ReceiverPortUnknown",
            format!("receivers.{whole} takes its port from the environment, so the Service does not have it: add it to spec.engine.otelCollector.ports"),
        )),
        Place::Local(_) | Place::Remote => {}
    }
}

/// A name from where the port was found, for example `otlp-grpc`.
fn name(path: &[&str], port: u16, taken: &[Port]) -> String {
    let words: Vec<&str> = path.iter().copied().filter(|part| *part != "protocols").collect();
    let cleaned: String = words.join("-").to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let parts: Vec<&str> = cleaned.split('-').filter(|part| !part.is_empty()).collect();
    let name = parts.join("-");
    let fits = name.len() <= 15 && name.contains(|c: char| c.is_ascii_lowercase());
    if fits && taken.iter().all(|known| known.name != name) { name } else { format!("port-{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0.0.0.0:4317", Place::Open(4317))]
    #[case(":4317", Place::Open(4317))]
    #[case("[::]:4317", Place::Open(4317))]
    #[case("${env:POD_IP}:4317", Place::Open(4317))]
    #[case("${env:POD_IP:-0.0.0.0}:4317", Place::Open(4317))]
    #[case("localhost:4317", Place::Local(4317))]
    #[case("127.0.0.1:4317", Place::Local(4317))]
    #[case("0.0.0.0:${env:PORT}", Place::Unknown)]
    #[case("${env:ENDPOINT}", Place::Unknown)]
    #[case("redis:6379", Place::Remote)]
    #[case("https://node:10250", Place::Remote)]
    #[case("unix:///var/run/docker.sock", Place::Remote)]
    #[case("nowhere", Place::Remote)]
    fn an_endpoint_is_placed(#[case] endpoint: &str, #[case] expected: Place) {
        assert_eq!(place(endpoint), expected);
    }
}
