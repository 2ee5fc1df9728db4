//! The chart: rendered it is what kustomize builds, object by object, and values do what overlays do. No bed is needed; what Helm does
//! with it on a real API server is in `life`.

mod helm;
mod life;

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::{Value, json};

use super::manifests::{base, built, built_by, named, root};
use helm::{differences, hooks, lint, refused, rendered};

/// What the release's own namespace needs Helm not to know, with what kustomize builds.
const WITH_NAMESPACE: &str = "--set=namespace.create=true";

fn ci() -> BTreeSet<String> {
    let files = fs::read_dir(root().join("deploy/chart/ci")).expect("files of values");
    let name = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    files.map(|file| name(file.expect("a file").path())).collect()
}

fn folders(of: &str) -> BTreeSet<String> {
    let folders = fs::read_dir(root().join(of)).expect(of);
    folders.map(|folder| folder.expect("a folder").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn with_its_defaults_it_is_deploy_base() {
    let built = base();
    assert_eq!(differences(&built, &rendered("switchover-system", &[WITH_NAMESPACE])), Vec::<String>::new());
    // Helm makes the release's own namespace before it reads the chart.
    let without: Vec<Value> = built.into_iter().filter(|object| object["kind"] != "Namespace").collect();
    assert_eq!(differences(&without, &rendered("switchover-system", &[])), Vec::<String>::new());
    assert_eq!(differences(&without, &helm::packaged("switchover-system")), Vec::<String>::new(), "without links");
}

#[test]
fn values_do_what_every_component_and_overlay_does() {
    let overlays = folders("deploy/overlays");
    let both = folders("deploy/components").union(&overlays).cloned().collect::<BTreeSet<_>>();
    assert_eq!(ci(), both, "each has a file of values in deploy/chart/ci");
    for name in both {
        let built = if overlays.contains(&name) {
            built(&root().join("deploy/overlays").join(&name))
        } else {
            built_by(|root| {
                format!("resources: [\"{root}/deploy/base\"]\ncomponents: [\"{root}/deploy/components/{name}\"]\n")
            })
        };
        let values = format!("--values={}", root().join(format!("deploy/chart/ci/{name}.yaml")).display());
        let rendered = rendered("switchover-system", &[WITH_NAMESPACE, &values]);
        assert_eq!(differences(&built, &rendered), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_release_says_the_namespace_and_one_value_the_prefix() {
    let built =
        built_by(|root| format!("namespace: db-follow\nnamePrefix: acme-\nresources: [\"{root}/deploy/base\"]\n"));
    let prefix = "--set=namePrefix=acme-";
    assert_eq!(differences(&built, &rendered("db-follow", &[WITH_NAMESPACE, prefix])), Vec::<String>::new());
    let elsewhere = rendered("releases", &[WITH_NAMESPACE, prefix, "--set=namespace.name=db-follow"]);
    assert_eq!(differences(&built, &elsewhere), Vec::<String>::new(), "a release may lie in another namespace");
    for object in elsewhere.iter().chain(&hooks("db-follow", &[])) {
        assert!(!object.to_string().contains("switchover-system"), "{object}");
    }
}

#[test]
fn what_the_controller_writes_is_never_rendered() {
    let files = ci().into_iter().map(|name| format!("--values={}/deploy/chart/ci/{name}.yaml", root().display()));
    for values in files.chain(["--set=namePrefix=acme-".to_owned()]) {
        for object in helm::all("switchover-system", &[&values]) {
            assert_ne!(object["kind"], "Secret", "{values}");
            assert!(!object.to_string().contains("\"caBundle\":"), "{values}: {object}");
        }
    }
}

#[test]
fn every_role_s_knobs_are_turned_by_values() {
    let turned = json!({
        "replicas": 5, "strategy": {"type": "RollingUpdate"}, "revisionHistoryLimit": 7,
        "resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "2", "memory": "1Gi"}},
        "nodeSelector": {"kubernetes.io/os": "linux", "disk": "ssd"}, "tolerations": [{"key": "mine", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}}, "priorityClassName": "mine", "runtimeClassName": "gvisor",
        "terminationGracePeriodSeconds": 45, "dnsPolicy": "Default", "dnsConfig": {"searches": ["corp"]},
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["pg1"]}], "extraArgs": ["--tick=2s"],
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
        "annotations": {"of": "workload"}, "podLabels": {"team": "db"}, "podAnnotations": {"of": "pod"},
        "serviceAccount": {"annotations": {"of": "account"}}, "log": "debug", "logFormat": "json",
        "topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}],
        "podSecurityContext": {"supplementalGroups": [7]}, "pdb": {"maxUnavailable": null, "minAvailable": "50%"},
    });
    let mut of_agent = turned.clone();
    for no_knob in ["replicas", "topologySpreadConstraints", "pdb"] {
        of_agent.as_object_mut().expect("a map").remove(no_knob);
    }
    let values = json!({"controller": turned, "webhook": turned, "agent": of_agent});
    let objects = helm::rendered_with(&values);
    for (kind, role) in [("Deployment", "controller"), ("Deployment", "webhook"), ("DaemonSet", "agent")] {
        let name = format!("switchover-{role}");
        let workload = named(&objects, kind, &name).expect(role);
        let (spec, template) = (&workload["spec"], &workload["spec"]["template"]);
        let (pod, container) = (&template["spec"], &template["spec"]["containers"][0]);
        let given = &values[role];
        for field in ["nodeSelector", "tolerations", "priorityClassName", "runtimeClassName", "dnsPolicy", "dnsConfig"]
        {
            assert_eq!(pod[field], given[field], "{role}: {field}");
        }
        for (what, found, expected) in [
            ("history", &spec["revisionHistoryLimit"], json!(7)),
            ("grace", &pod["terminationGracePeriodSeconds"], json!(45)),
            ("hosts", &pod["hostAliases"], given["hostAliases"].clone()),
            ("affinity", &pod["affinity"]["podAntiAffinity"], json!({})),
            ("groups", &pod["securityContext"]["supplementalGroups"], json!([7])),
            ("resources", &container["resources"], given["resources"].clone()),
            ("arguments", &container["args"], json!([role, "--tick=2s"])),
            ("its own annotation", &workload["metadata"]["annotations"]["of"], json!("workload")),
            ("its pods' annotation", &template["metadata"]["annotations"]["of"], json!("pod")),
            ("its pods' label", &template["metadata"]["labels"]["team"], json!("db")),
            ("which is in no selector", &spec["selector"]["matchLabels"]["team"], Value::Null),
        ] {
            assert_eq!(found, &expected, "{role}: {what}");
        }
        let account = named(&objects, "ServiceAccount", &name).expect(role);
        assert_eq!(account["metadata"]["annotations"], json!({"of": "account"}), "{role}");
        let has = |list: &Value, wanted: &Value| list.as_array().is_some_and(|list| list.contains(wanted));
        assert!(has(&pod["volumes"], &given["extraVolumes"][0]), "{role}: {pod}");
        assert!(has(&container["volumeMounts"], &given["extraVolumeMounts"][0]), "{role}: {pod}");
        for (name, value) in
            [("HTTPS_PROXY", "http://proxy"), ("SWITCHOVER_LOG", "debug"), ("SWITCHOVER_LOG_FORMAT", "json")]
        {
            assert!(has(&container["env"], &json!({"name": name, "value": value})), "{role}: {container}");
        }
        if kind == "Deployment" {
            assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(5), &json!("RollingUpdate")), "{role}");
            let constraints = pod["topologySpreadConstraints"].as_array().expect("constraints");
            assert_eq!(constraints[0]["labelSelector"]["matchLabels"], spec["selector"]["matchLabels"], "{role}");
            assert_eq!((constraints.len(), &constraints[0]["topologyKey"]), (1, &json!("rack")), "{role}");
            let budget = named(&objects, "PodDisruptionBudget", &name).expect(role);
            let bounds = (&budget["spec"]["minAvailable"], &budget["spec"]["maxUnavailable"]);
            assert_eq!(bounds, (&json!("50%"), &Value::Null), "{role}");
        }
    }
}

#[test]
fn what_is_said_for_all_reaches_all() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let values = json!({
        "commonLabels": {"cost": "42", "app.kubernetes.io/component": "no"}, "commonAnnotations": {"owner": "db"},
        "image": {"registry": "mirror.corp", "digest": digest, "pullPolicy": "Always", "pullSecrets": [{"name": "corp"}]},
        "scrapeAnnotations": false, "schedulers": ["default-scheduler", "corp"], "certificates": {"by": "job"},
        "agent": {"hostNetwork": false, "port": 9000}, "podMonitors": {"enabled": true, "interval": "15s"},
    });
    let objects = helm::rendered_with(&values);
    for object in &objects {
        let metadata = &object["metadata"];
        assert_eq!(
            (&metadata["labels"]["cost"], &metadata["annotations"]["owner"]),
            (&json!("42"), &json!("db")),
            "{object}"
        );
        let (kind, name) = (&object["kind"], &metadata["name"]);
        let template = match kind.as_str() {
            Some("Deployment" | "DaemonSet") => &object["spec"]["template"],
            Some("CronJob") => &object["spec"]["jobTemplate"]["spec"]["template"],
            _ => continue,
        };
        let container = &template["spec"]["containers"][0];
        let image = format!("mirror.corp/switchover/switchover@{digest}");
        assert_eq!((&container["image"], &container["imagePullPolicy"]), (&json!(image), &json!("Always")), "{name}");
        assert_eq!(template["spec"]["imagePullSecrets"], json!([{"name": "corp"}]), "{name}");
        assert_eq!(template["metadata"]["annotations"], Value::Null, "{name}: nothing asks for it to be scraped");
        assert_eq!(template["metadata"]["labels"]["cost"], "42", "{name}");
        assert_ne!(template["metadata"]["labels"]["app.kubernetes.io/component"], "no", "{name}");
        let schedulers = json!({"name": "SWITCHOVER_SCHEDULERS", "value": "default-scheduler,corp"});
        let told = container["env"].as_array().expect("variables").contains(&schedulers);
        assert_eq!(told, kind == "Deployment", "{name}");
    }
    let agent = &named(&objects, "DaemonSet", "switchover-agent").expect("agents")["spec"]["template"]["spec"];
    let container = &agent["containers"][0];
    assert_eq!((&agent["hostNetwork"], &container["livenessProbe"]["httpGet"]["host"]), (&Value::Null, &Value::Null));
    assert_eq!(container["ports"], json!([{"name": "health", "containerPort": 9000}]));
    assert!(container["env"].to_string().contains(r#"[::]:9000"#), "{container}");
    for role in ["agent", "controller", "webhook"] {
        let monitor = named(&objects, "PodMonitor", &format!("switchover-{role}")).expect(role);
        let endpoint = json!([{"port": "health", "path": "/metrics", "interval": "15s"}]);
        assert_eq!(monitor["spec"]["podMetricsEndpoints"], endpoint, "{role}");
        assert_eq!(monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"], role);
    }
}

#[test]
fn rules_and_dashboards_are_those_of_deploy_where_they_are_wanted() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect(path);
    let of_metrics = |objects: &[Value]| {
        let kinds = ["PrometheusRule", "ConfigMap"];
        objects.iter().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind)).count()
    };
    assert_eq!(of_metrics(&rendered("switchover-system", &[])), 0);
    let objects = helm::rendered_with(&json!({"metrics": {
        "rules": {"enabled": true, "labels": {"release": "prom"}, "annotations": {"owner": "db"}},
        "dashboards": {"enabled": true, "labels": {"grafana_dashboard": "yes"}, "annotations": {"grafana_folder": "db"}, "namespace": "grafana"},
    }}));
    let rules = named(&objects, "PrometheusRule", "switchover").expect("rules");
    let shipped: Value = serde_saphyr::from_str(&read("deploy/alerts/switchover.yaml")).expect("rules");
    assert_eq!(rules["spec"], shipped);
    let metadata = &rules["metadata"];
    assert_eq!(
        (&metadata["labels"]["release"], &metadata["annotations"], &metadata["namespace"]),
        (&json!("prom"), &json!({"owner": "db"}), &json!("switchover-system"))
    );
    let names = ["overview", "failover", "nodes", "admission"];
    assert_eq!(of_metrics(&objects), 1 + names.len());
    for name in names {
        let map = named(&objects, "ConfigMap", &format!("switchover-dashboard-{name}")).expect(name);
        let text = read(&format!("deploy/dashboards/{name}.json"));
        assert_eq!(map["data"], json!({format!("switchover-{name}.json"): text}), "{name}");
        let metadata = &map["metadata"];
        assert_eq!(
            (&metadata["labels"]["grafana_dashboard"], &metadata["annotations"], &metadata["namespace"]),
            (&json!("yes"), &json!({"grafana_folder": "db"}), &json!("grafana")),
            "{name}"
        );
    }
    // Whose runbooks lie elsewhere, and who routes by labels.
    let rules = json!({"enabled": true, "runbooks": "https://wiki.corp/switchover/", "alertLabels": {"severity": "page", "team": "db"}});
    let objects = helm::rendered_with(&json!({"metrics": {"rules": rules}}));
    let rules = named(&objects, "PrometheusRule", "switchover").expect("rules");
    let alert = &rules["spec"]["groups"][1]["rules"][0];
    assert_eq!(alert["annotations"]["runbook_url"], "https://wiki.corp/switchover/webhook-down.md");
    assert_eq!(alert["labels"], json!({"severity": "page", "team": "db"}));
}

#[test]
fn what_nobody_wants_is_left_out() {
    let with = rendered("switchover-system", &[]);
    for (value, kind, name) in [
        ("policies.enabled", "ValidatingAdmissionPolicy", "switchover-agent"),
        ("flowSchemas.enabled", "FlowSchema", "switchover"),
        ("quota.enabled", "ResourceQuota", "switchover-critical"),
        ("viewer.enabled", "ClusterRole", "switchover-viewer"),
        ("crds.enabled", "CustomResourceDefinition", "databaseclusters.switchover.dev"),
        ("controller.pdb.enabled", "PodDisruptionBudget", "switchover-controller"),
        ("restarts.enabled", "ClusterRole", "switchover-restarts"),
    ] {
        assert!(named(&with, kind, name).is_some(), "{value}");
        let without = rendered("switchover-system", &[&format!("--set={value}=false")]);
        assert!(named(&without, kind, name).is_none(), "{value}");
    }
    // An empty list of names would be a right to every Secret.
    let without = rendered("switchover-system", &["--set=credentials.secrets=null"]);
    assert!(named(&without, "Role", "switchover-credentials").is_none());
    assert!(hooks("switchover-system", &["--set=uninstall.enabled=false"]).is_empty());
    let crds = |values: &[&str]| {
        let objects = helm::all("switchover-system", values);
        let crds = objects.iter().filter(|object| object["kind"] == "CustomResourceDefinition");
        crds.map(|crd| crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep").collect::<Vec<_>>()
    };
    assert_eq!(crds(&[]), [true, true]);
    assert_eq!(crds(&["--set=crds.keep=false"]), [false, false]);
}

#[test]
fn a_wrong_value_is_refused_by_its_name() {
    for (value, word) in [
        ("webhook.replica=3", "replica"),
        ("controler.replicas=3", "controler"),
        ("image.digest=latest", "digest"),
        ("certificates.by=hand", "certificates"),
        ("agent.port=0", "port"),
        ("webhook.replicas=many", "replicas"),
        ("credentials.secrets={switchover-webhook-ca}", "secrets"),
    ] {
        let said = refused(&[&format!("--set={value}")]);
        assert!(said.contains(word) && said.contains("values don't meet the specifications"), "{value}: {said}");
    }
    rendered("switchover-system", &["--set=global.anything=goes"]);
}

#[test]
fn lint_finds_nothing() {
    let file = |name: &str| root().join("deploy/chart").join(name).display().to_string();
    let (ha, two) = (file("values-ha.yaml"), file("values-two-data-centres.yaml"));
    for values in [&[][..], &["--values", &ha], &["--values", &two]] {
        let said = lint(values);
        assert!(said.contains("0 chart(s) failed") && !said.contains("WARNING"), "{said}");
    }
    let objects = rendered("switchover-system", &["--values", &ha]);
    let webhook = named(&objects, "Deployment", "switchover-webhook").expect("a webhook");
    assert_eq!(webhook["spec"]["replicas"], 9);
    let objects = rendered("switchover-system", &["--values", &two]);
    for role in ["switchover-controller", "switchover-webhook"] {
        let spec = &named(&objects, "Deployment", role).expect("a role")["spec"];
        let zones = &spec["template"]["spec"]["topologySpreadConstraints"][0];
        let (replicas, forced) = (spec["replicas"].as_u64(), zones["whenUnsatisfiable"].as_str());
        assert_eq!((replicas, forced), (Some(4), Some("DoNotSchedule")), "{role}");
        assert_eq!(zones["topologyKey"], "topology.kubernetes.io/zone", "{role}");
    }
}
