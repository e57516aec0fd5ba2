//! Whether a collector's configuration has the form of one, and what in it is likely a mistake.
//! Touches nothing; called by [`super::collector`].
//!
//! The collector's own `validate` knows better and runs later. What is found here is told at once,
//! and by its place in the manifest. Parts that are taken from elsewhere (`${env:…}`, `${file:…}`)
//! are not looked into.

use super::collector::kind_of;
use super::routing::is_own;
use super::valid::{Invalid, Notice};
use serde_json::{Map, Value};
use weir_crds::log_processor::OtelCollector;

const PATH: &str = "spec.engine.otelCollector.config";

/// Refuses what no collector would take.
pub(super) fn check(config: &Map<String, Value>) -> Result<(), Invalid> {
    if config.is_empty() {
        return Err(Invalid::new(PATH, "it is empty: write at least one receiver, one exporter and service.pipelines"));
    }
    for name in ["receivers", "processors", "exporters", "connectors", "extensions"] {
        if let Some(section) = config.get(name)
            && !(section.is_object() || section.is_null() || reference(section))
        {
            return Err(Invalid::new(format!("{PATH}.{name}"), "it must map names of components to their settings"));
        }
    }
    if components(config, &["receivers"]).is_some_and(|known| known.is_empty()) {
        return Err(Invalid::new(format!("{PATH}.receivers"), "there is none: write at least one receiver, for example otlp"));
    }
    let service = config.get("service").unwrap_or(&Value::Null);
    if reference(service) {
        return Ok(());
    }
    let pipelines = service.get("pipelines").unwrap_or(&Value::Null);
    let at = format!("{PATH}.service.pipelines");
    match pipelines {
        reference_or_text if reference(reference_or_text) => {}
        Value::Object(pipelines) if !pipelines.is_empty() => {
            for (id, pipeline) in pipelines {
                check_pipeline(config, pipeline, &format!("{at}.{id}"))?;
            }
        }
        _ => {
            return Err(Invalid::new(at, "there is none: write for example logs: {receivers: [otlp], exporters: [debug]}"));
        }
    }
    if let Some(enabled) = service.get("extensions").and_then(Value::as_array) {
        defined(config, enabled, &["extensions"], &format!("{PATH}.service.extensions"))?;
    }
    Ok(())
}

fn check_pipeline(config: &Map<String, Value>, pipeline: &Value, at: &str) -> Result<(), Invalid> {
    if reference(pipeline) {
        return Ok(());
    }
    for (part, sections) in [
        ("receivers", ["receivers", "connectors"].as_slice()),
        ("processors", ["processors"].as_slice()),
        ("exporters", ["exporters", "connectors"].as_slice()),
    ] {
        let at = format!("{at}.{part}");
        match pipeline.get(part) {
            Some(Value::Array(ids)) if !ids.is_empty() || part == "processors" => defined(config, ids, sections, &at)?,
            None | Some(Value::Null) if part == "processors" => {}
            Some(text) if reference(text) => {}
            _ => {
                return Err(Invalid::new(at, format!("it must be a list with at least one of the {part} that are defined")));
            }
        }
    }
    Ok(())
}

/// Refuses a name that no section defines.
fn defined(config: &Map<String, Value>, ids: &[Value], sections: &[&str], at: &str) -> Result<(), Invalid> {
    let Some(known) = components(config, sections) else { return Ok(()) };
    match ids.iter().filter_map(Value::as_str).find(|id| !id.contains("${") && !known.contains(id)) {
        None => Ok(()),
        Some(id) => {
            let there = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(Invalid::new(at, format!("{id} is not defined in {}: define it, or use one of those that are ({there})", sections.join(" or "))))
        }
    }
}

/// Names of all components of some sections; `None` when one of them is taken from elsewhere.
fn components<'a>(config: &'a Map<String, Value>, sections: &[&str]) -> Option<Vec<&'a str>> {
    let mut names = Vec::new();
    for section in sections {
        match config.get(*section) {
            Some(Value::Object(known)) => names.extend(known.keys().map(String::as_str)),
            None | Some(Value::Null) => {}
            Some(_) => return None,
        }
    }
    Some(names)
}

/// True for text that the collector replaces by something else.
fn reference(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains("${"))
}

/// What would surprise its user later.
pub(super) fn notices(config: &Map<String, Value>, spec: &OtelCollector, notices: &mut Vec<Notice>) {
    let exporters = config.get("exporters").and_then(Value::as_object);
    for (id, exporter) in exporters.into_iter().flatten().filter(|(id, _)| !is_own(id)) {
        let queue = exporter.get("sending_queue").filter(|queue| !queue.is_null());
        let off = queue.is_some_and(|queue| queue.get("enabled") == Some(&Value::Bool(false)));
        let stored = queue.is_some_and(|queue| queue.get("storage").is_some());
        if ["otlp", "otlp_grpc", "otlphttp", "otlp_http", "loki", "kafka", "elasticsearch"].contains(&kind_of(id)) && !off && !stored {
            notices.push(Notice::new(
                "QueueInMemory",
                format!("exporters.{id} keeps its queue in memory, so what waits in it is lost when its replica crashes: set sending_queue.storage to a file_storage extension, and queueVolume"),
            ));
        }
    }
    let storages = config.get("extensions").and_then(Value::as_object);
    for (id, storage) in storages.into_iter().flatten().filter(|(id, _)| kind_of(id) == "file_storage" && !is_own(id)) {
        let directory = storage.get("directory").and_then(Value::as_str).unwrap_or("/var/lib/otelcol/file_storage");
        let mount = spec.queue_volume.as_ref().map(|volume| volume.mount_path.trim_end_matches('/'));
        let inside = mount.is_some_and(|mount| directory == mount || directory.starts_with(&format!("{mount}/")));
        if !inside && !directory.contains("${") && !directory.starts_with("/tmp") {
            notices.push(Notice::new(
                "QueueOutsideVolume",
                format!("extensions.{id} writes to {directory}, which is on no volume that can be written: set queueVolume.mountPath to {directory}, or directory to a folder below mountPath"),
            ));
        }
    }
}
