//! Helm's programs, and what they render of deploy/chart.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::Path,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::light::manifests::{parsed, root};

/// The release that everything is rendered as; no object bears its name.
const RELEASE: &str = "follow";

pub(crate) fn chart() -> String {
    root().join("deploy/chart").display().to_string()
}

/// Runs Helm, with this on its standard input.
fn run(arguments: &[&str], values: &[&str], input: &str) -> Output {
    let helm = lab::tools::helm().expect("helm");
    let mut command = lab::tools::helm_at_home(&helm, Path::new(env!("CARGO_TARGET_TMPDIR")));
    command.args(arguments).args(values);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("helm runs");
    child.stdin.take().expect("an input").write_all(input.as_bytes()).expect("helm reads");
    child.wait_with_output().expect("helm ends")
}

/// The release of Kubernetes that the beds run: built from its module, Helm takes another one for the cluster's.
fn kubernetes() -> String {
    format!("--kube-version={}", lab::tools::KUBE.kubernetes_version().expect("a release"))
}

fn template(chart: &str, namespace: &str, values: &[&str], input: &str) -> Output {
    run(&["template", RELEASE, chart, &kubernetes(), "--namespace", namespace], values, input)
}

fn templated(chart: &str, namespace: &str, values: &[&str], input: &str) -> Vec<Value> {
    let output = template(chart, namespace, values, input);
    assert!(output.status.success(), "{values:?}: {}", String::from_utf8_lossy(&output.stderr));
    parsed(&String::from_utf8(output.stdout).expect("manifests are text"))
}

/// Everything, hooks included.
pub(crate) fn all(namespace: &str, values: &[&str]) -> Vec<Value> {
    templated(&chart(), namespace, values, "")
}

fn is_hook(object: &Value) -> bool {
    !object["metadata"]["annotations"]["helm.sh/hook"].is_null()
}

/// What an installation makes.
pub(crate) fn rendered(namespace: &str, values: &[&str]) -> Vec<Value> {
    all(namespace, values).into_iter().filter(|object| !is_hook(object)).collect()
}

/// What an uninstallation makes.
pub(crate) fn hooks(namespace: &str, values: &[&str]) -> Vec<Value> {
    all(namespace, values).into_iter().filter(is_hook).collect()
}

/// What an installation with these values makes.
pub(crate) fn rendered_with(values: &Value) -> Vec<Value> {
    let objects = templated(&chart(), "switchover-system", &["--values=-"], &values.to_string());
    objects.into_iter().filter(|object| !is_hook(object)).collect()
}

/// What an installation from a package makes, which holds no links.
pub(crate) fn packaged(namespace: &str) -> Vec<Value> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("package-{}", std::process::id()));
    let output =
        run(&["package", &chart(), "--version=9.9.9", "--destination", &directory.display().to_string()], &[], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let objects = templated(&directory.join("switchover-9.9.9.tgz").display().to_string(), namespace, &[], "");
    let _ = fs::remove_dir_all(&directory);
    objects.into_iter().filter(|object| !is_hook(object)).collect()
}

/// What it is refused with.
pub(crate) fn refused(values: &[&str]) -> String {
    let output = template(&chart(), "switchover-system", values, "");
    assert!(!output.status.success(), "{values:?} is taken");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What Helm finds in the chart.
pub(crate) fn lint(values: &[&str]) -> String {
    let output = run(&["lint", "--strict", &chart(), &kubernetes()], values, "");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Kinds without a namespace, on which kustomize writes one nevertheless because it doesn't know them. The API server drops it.
const CLUSTERS: [&str; 3] = ["FlowSchema", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];

/// Where objects of the one list differ from those of the other: as values, by kind, namespace and name. Helm's own word, whether an
/// object stays when a release goes, counts for nothing; neither does the order of a container's variables.
pub(crate) fn differences(built: &[Value], rendered: &[Value]) -> Vec<String> {
    let by_name = |objects: &[Value]| {
        let mut found = BTreeMap::new();
        for object in objects.iter().map(comparable) {
            let metadata = &object["metadata"];
            let [kind, namespace, name] =
                [&object["kind"], &metadata["namespace"], &metadata["name"]].map(|word| word.as_str().unwrap_or("-"));
            let key = format!("{kind} {namespace}/{name}");
            assert!(found.insert(key.clone(), object).is_none(), "{key} twice");
        }
        found
    };
    let [built, rendered] = [built, rendered].map(by_name);
    let keys: BTreeSet<&String> = built.keys().chain(rendered.keys()).collect();
    let mut found = Vec::new();
    for key in keys {
        match (built.get(key), rendered.get(key)) {
            (Some(built), Some(rendered)) => differ(key, built, rendered, &mut found),
            (Some(_), None) => found.push(format!("{key}: isn't rendered")),
            (None, _) => found.push(format!("{key}: only rendered")),
        }
    }
    found
}

fn comparable(object: &Value) -> Value {
    let mut object = object.clone();
    if CLUSTERS.iter().any(|kind| object["kind"] == *kind) {
        object["metadata"].as_object_mut().expect("a map").remove("namespace");
    }
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove("helm.sh/resource-policy");
        if annotations.is_empty() {
            object["metadata"].as_object_mut().expect("a map").remove("annotations");
        }
    }
    if let Some(containers) = object.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut) {
        for env in containers.iter_mut().filter_map(|container| container["env"].as_array_mut()) {
            env.sort_by_key(|variable| variable["name"].to_string());
        }
    }
    object
}

fn differ(path: &str, built: &Value, rendered: &Value, found: &mut Vec<String>) {
    match (built, rendered) {
        (Value::Object(left), Value::Object(right)) => {
            for key in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                differ(&format!("{path}.{key}"), &of(left), &of(right), found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differ(&format!("{path}[{index}]"), left, right, found);
            }
        }
        _ if built == rendered || same_number(built, rendered) => {}
        _ => found.push(format!("{path}: {built} is rendered as {rendered}")),
    }
}

/// Helm's numbers went through JSON's.
fn same_number(built: &Value, rendered: &Value) -> bool {
    built.as_f64().is_some() && built.as_f64() == rendered.as_f64()
}
