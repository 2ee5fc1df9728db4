use serde_json::json;

use super::{
    super::{invented::Invented, pods},
    *,
};

/// As if the database `orders` were there.
fn patched_alone(text: &str) -> Patched {
    let invented =
        Invented::new("orders", "switchover-system", crate::core::schedulers::Schedulers::default()).unwrap();
    patched(text, "shop", |template| pods::explain(template, &invented.view(template))).unwrap()
}

const MANIFEST: &str = "\
# What nobody changes stays as it is written.
kind: Service
metadata: {name: web}   # a comment
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      nodeSelector: {pool: shop}
      containers: [{name: web, env: [{name: A, value: \"yes\"}, {name: B, value: \"1.0\"}, {name: C, value: \"~\"}]}]
---
kind: DaemonSet
metadata: {name: log}
spec: {template: {spec: {containers: []}}}
";

#[test]
fn a_manifest_is_left_as_admission_would_leave_it() {
    let Patched { manifest, notes } = patched_alone(MANIFEST);
    let pieces: Vec<&str> = manifest.split("---\n").collect();
    let before: Vec<&str> = MANIFEST.split("---\n").collect();
    assert_eq!((pieces.len(), pieces[0], pieces[2]), (3, before[0], before[2]));
    let deployment = manifest::read(pieces[1]).unwrap().remove(0);
    let mut expected = manifest::read(before[1]).unwrap().remove(0);
    let term = |weight: u8, tier: &str| json!({"weight": weight, "preference": {"matchExpressions": [{"key": "switchover.dev/orders", "operator": "In", "values": [tier]}]}});
    let injected = json!([{"database": "orders", "mode": "preferred", "epoch": 1}]).to_string();
    let injected: Value = serde_json::from_str(&injected).unwrap();
    let template = &mut expected["spec"]["template"];
    template["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] =
        json!([term(100, "closely"), term(50, "intermediate")]);
    let annotation = deployment["spec"]["template"]["metadata"]["annotations"]["switchover.dev/injected"].clone();
    assert_eq!(serde_json::from_str::<Value>(annotation.as_str().unwrap()).unwrap(), injected);
    template["metadata"] = json!({"annotations": {"switchover.dev/injected": annotation}});
    assert_eq!(deployment, expected);
    let left = "pods of daemonset shop/log: left as it is: a DaemonSet's pod belongs to its node";
    assert_eq!(notes, ["pods of deployment shop/web: injected", left]);
}

#[test]
fn every_kind_that_makes_pods_is_patched_where_its_pods_are() {
    let containers = json!([{"name": "a"}]);
    let objects = json!({"kind": "List", "items": [
        {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": containers}, "status": {"phase": "Pending"}},
        {"kind": "StatefulSet", "metadata": {"name": "b"}, "spec": {"template": {"metadata": {"labels": {"app": "b"}}, "spec": {"containers": containers}}}},
        {"kind": "CronJob", "metadata": {"name": "c"}, "spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": containers}}}}}},
        {"kind": "ConfigMap", "metadata": {"name": "d"}, "data": {"a": "b"}},
    ]});
    let Patched { manifest, .. } = patched_alone(&objects.to_string());
    let patched = manifest::read(&manifest).unwrap().remove(0);
    for (at, place) in [(0, ""), (1, "/spec/template"), (2, "/spec/jobTemplate/spec/template")] {
        let object = patched["items"][at].pointer(place).unwrap();
        assert!(object["spec"]["affinity"]["nodeAffinity"].is_object(), "{object}");
        assert!(object["metadata"]["annotations"]["switchover.dev/injected"].is_string(), "{object}");
        assert!(object["metadata"]["ownerReferences"].is_null(), "{object}");
    }
    assert_eq!(patched["items"][0]["status"], objects["items"][0]["status"]);
    assert_eq!(patched["items"][1]["spec"]["template"]["metadata"]["labels"], json!({"app": "b"}));
    assert_eq!(patched["items"][3], objects["items"][3]);
}

#[test]
fn a_hard_mode_is_decided_as_if_a_near_node_suited_the_pod() {
    let pod = |spec: &str| {
        format!(
            "{{kind: Pod, metadata: {{name: a, annotations: {{switchover.dev/affinity: required}}}}, spec: {{containers: [], {spec}}}}}"
        )
    };
    for spec in [
        "nodeSelector: {zone: dc1}",
        "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: \
         [{key: zone, operator: In, values: [dc1]}, {key: cores, operator: Gt, values: ['7']}, {key: spot, operator: DoesNotExist}]}]}}}",
        "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: \
         [{key: metadata.name, operator: In, values: [n7]}]}]}}}",
    ] {
        assert_eq!(patched_alone(&pod(spec)).notes, ["pod shop/a: injected"], "{spec}");
    }
}

#[test]
fn what_makes_no_pods_is_passed_on_and_what_is_no_manifest_is_refused() {
    let text = "kind: ConfigMap\ndata: {a: \"---\"}\n";
    assert_eq!(
        patched_alone(text),
        Patched { manifest: text.into(), notes: vec!["nothing in it is a pod or makes pods: it is as it was".into()] }
    );
    let invented =
        |name: &str| Invented::new(name, "switchover-system", crate::core::schedulers::Schedulers::default());
    let refused = invented("Not/A/Name").unwrap_err().to_string();
    assert!(refused.starts_with("no DatabaseCluster can be called \"Not/A/Name\": "), "{refused}");
    let explain = |template: &Template| pods::explain(template, &crate::admission::View::default());
    assert!(
        patched("a: [", "shop", explain).unwrap_err().to_string().starts_with("the manifest is neither YAML nor JSON")
    );
}
