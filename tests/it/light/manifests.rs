//! What is shipped to be applied, as kustomize builds it: deploy/base, each overlay and each component. No bed is needed.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The objects of a text with manifests.
pub(crate) fn parsed(text: &str) -> Vec<Value> {
    let texts = text.trim_start_matches("---\n").split("\n---\n");
    let objects = texts.map(|object| serde_saphyr::from_str::<Value>(object).expect("a manifest"));
    objects.filter(|object| !object.is_null()).collect()
}

pub(crate) fn built(folder: &Path) -> Vec<Value> {
    let kubectl = lab::tools::kubectl().expect("kubectl");
    let output = Command::new(kubectl).arg("kustomize").arg(folder).output().expect("kustomize runs");
    assert!(output.status.success(), "{}: {}", folder.display(), String::from_utf8_lossy(&output.stderr));
    parsed(&String::from_utf8(output.stdout).expect("manifests are text"))
}

pub(crate) fn base() -> Vec<Value> {
    built(&root().join("deploy/base"))
}

/// By a kustomization that says where this repository lies.
pub(crate) fn built_by(kustomization: impl Fn(&str) -> String) -> Vec<Value> {
    // Tests that build the same one at the same time don't write the same file.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("overlays/{}-{number}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    // kustomize takes no absolute paths.
    let up = "../".repeat(directory.canonicalize().expect("a path").components().count() - 1);
    let here = format!("{up}{}", root().canonicalize().expect("a path").display().to_string().trim_start_matches('/'));
    fs::write(directory.join("kustomization.yaml"), kustomization(&here)).expect("an overlay");
    let objects = built(&directory);
    let _ = fs::remove_dir_all(&directory);
    objects
}

/// deploy/base with one component, in a namespace of another name, as people write it.
fn with(component: &str) -> Vec<Value> {
    built_by(|root| {
        format!(
            "namespace: db-follow\nresources: [\"{root}/deploy/base\"]\ncomponents: [\"{root}/deploy/components/{component}\"]\n"
        )
    })
}

fn components() -> BTreeSet<String> {
    let folders = fs::read_dir(root().join("deploy/components")).expect("components");
    folders.map(|folder| folder.expect("a folder").file_name().to_string_lossy().into_owned()).collect()
}

fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

pub(crate) fn named<'o>(objects: &'o [Value], kind: &str, name: &str) -> Option<&'o Value> {
    of_kind(objects, kind).into_iter().find(|object| object["metadata"]["name"] == name)
}

/// Specs of pods, by the workload's name.
fn pods(objects: &[Value]) -> Vec<(String, &Value)> {
    let spec = |object: &'_ Value| match object["kind"].as_str() {
        Some("Deployment" | "DaemonSet") => Some("/spec/template/spec"),
        Some("CronJob") => Some("/spec/jobTemplate/spec/template/spec"),
        _ => None,
    };
    let pod = |object| {
        let spec: &Value = Value::pointer(object, spec(object)?)?;
        Some((object["metadata"]["name"].as_str()?.to_owned(), spec))
    };
    objects.iter().filter_map(pod).collect()
}

#[test]
fn every_pod_is_given_the_least_that_it_needs() {
    let [base, apart] = [base(), with("certificates-apart")];
    let every: Vec<_> = pods(&base).into_iter().chain(pods(&apart)).collect();
    let names: BTreeSet<&str> = every.iter().map(|(name, _)| &**name).collect();
    let expected = ["switchover-agent", "switchover-certificates", "switchover-controller", "switchover-webhook"];
    assert_eq!(names, expected.into());
    for (name, pod) in every {
        let container = &pod["containers"][0];
        for (what, found, expected) in [
            ("its token is asked for", &pod["automountServiceAccountToken"], json!(true)),
            ("no variables of Services", &pod["enableServiceLinks"], json!(false)),
            ("no Windows", &pod["nodeSelector"], json!({"kubernetes.io/os": "linux"})),
            ("calls of the system", &pod["securityContext"]["seccompProfile"]["type"], json!("RuntimeDefault")),
            ("no more rights", &container["securityContext"]["allowPrivilegeEscalation"], json!(false)),
            ("files", &container["securityContext"]["readOnlyRootFilesystem"], json!(true)),
            ("capabilities", &container["securityContext"]["capabilities"]["drop"], json!(["ALL"])),
        ] {
            assert_eq!(found, &expected, "{name}: {what}");
        }
        for bound in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
            assert!(container["resources"].pointer(bound).is_some(), "{name}: {bound}");
        }
        let root = name == "switchover-agent";
        assert_eq!(pod["securityContext"]["runAsNonRoot"] == true, !root, "{name}");
        assert_eq!(pod["hostNetwork"] == true, root, "{name}");
        for constraint in pod["topologySpreadConstraints"].as_array().into_iter().flatten() {
            assert_eq!(
                constraint["matchLabelKeys"],
                json!(["pod-template-hash"]),
                "{name}: a rollout is spread by itself"
            );
        }
    }
    for account in of_kind(&apart, "ServiceAccount") {
        assert_eq!(account["automountServiceAccountToken"], false, "{account}");
    }
    for budget in of_kind(&base, "PodDisruptionBudget") {
        assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow", "{budget}");
    }
}

#[test]
fn a_quota_lets_every_priority_class_in_that_is_asked_for() {
    let objects = base();
    let quota = named(&objects, "ResourceQuota", "switchover-critical").expect("a quota");
    let scope = &quota["spec"]["scopeSelector"]["matchExpressions"][0];
    assert_eq!((&scope["scopeName"], &scope["operator"]), (&json!("PriorityClass"), &json!("In")));
    let admitted: BTreeSet<&str> = scope["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let pods = pods(&objects);
    let wanted: BTreeSet<&str> = pods.iter().filter_map(|(_, pod)| pod["priorityClassName"].as_str()).collect();
    assert_eq!(admitted, wanted);
}

#[test]
fn one_line_says_the_namespace_whatever_else_is_chosen() {
    for component in components() {
        let objects = with(&component);
        let left: Vec<&Value> =
            objects.iter().filter(|object| object.to_string().contains("switchover-system")).collect();
        assert!(left.is_empty(), "{component}: {left:?}");
        for binding in ["ClusterRoleBinding", "RoleBinding"] {
            for binding in of_kind(&objects, binding) {
                let [subject] = &binding["subjects"].as_array().expect("subjects")[..] else { panic!("{binding}") };
                let account = subject["name"].as_str().expect("a name");
                assert!(named(&objects, "ServiceAccount", account).is_some(), "{component}: nobody is {account}");
                assert_eq!(subject["namespace"], "db-follow", "{component}: {binding}");
            }
        }
    }
}

#[test]
fn a_policy_knows_an_account_in_whatever_namespace() {
    let objects = base();
    let mut bound = Vec::new();
    for policy in of_kind(&objects, "ValidatingAdmissionPolicy") {
        let name = policy["metadata"]["name"].as_str().expect("a name");
        let binding = named(&objects, "ValidatingAdmissionPolicyBinding", name).expect(name);
        assert_eq!(binding["spec"]["policyName"], name, "a policy without a binding refuses nothing");
        for condition in policy["spec"]["matchConditions"].as_array().into_iter().flatten() {
            let expression = condition["expression"].as_str().expect("an expression");
            if expression.contains("userInfo") {
                assert!(
                    expression.starts_with(
                        "request.userInfo.username.matches('^system:serviceaccount:[^:]+:([-a-z0-9.]+-)?switchover-"
                    ),
                    "{name}: {expression}"
                );
                bound.push(name);
            }
        }
    }
    let of_controllers =
        ["", "-evictions", "-nodes", "-restarts", "-webhook"].map(|what| format!("switchover-controller{what}"));
    let expected: Vec<&str> =
        ["switchover-agent"].into_iter().chain(of_controllers.iter().map(|name| &**name)).collect();
    bound.sort_unstable();
    assert_eq!(bound, expected);
}

#[test]
fn each_component_does_what_it_says() {
    let expected = [
        "argo-rollouts",
        "certificates-apart",
        "cloudnativepg",
        "network-policies",
        "on-control-plane",
        "openshift",
        "policies",
        "unprivileged-agent",
        "without-restart",
    ];
    assert_eq!(components(), expected.map(str::to_owned).into(), "each has its lines below");

    let may_patch_workloads = |objects: &[Value]| {
        let rules =
            of_kind(objects, "ClusterRole").into_iter().flat_map(|role| role["rules"].as_array().expect("rules"));
        rules
            .filter(|rule| rule["apiGroups"] == json!(["apps"]))
            .any(|rule| rule["verbs"].to_string().contains("patch"))
    };
    assert!(may_patch_workloads(&base()), "restarts work without anything else");
    assert!(!may_patch_workloads(&with("without-restart")));

    let objects = with("policies");
    let policy = named(&objects, "MutatingAdmissionPolicy", "switchover-affinity").expect("a policy");
    assert_eq!(policy["spec"]["failurePolicy"], "Ignore", "no pod is refused for it");
    let bindings = of_kind(&objects, "MutatingAdmissionPolicyBinding");
    assert!(!bindings.is_empty(), "without one it injects nothing");
    for binding in bindings {
        assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
        assert_eq!(
            binding["spec"]["paramRef"]["parameterNotFoundAction"], "Allow",
            "a deleted database refuses nobody"
        );
    }

    let objects = with("argo-rollouts");
    let rules = &named(&objects, "ClusterRole", "switchover-argo-rollouts").expect("a role")["rules"];
    let rule = json!([{"apiGroups": ["argoproj.io"], "resources": ["rollouts"], "verbs": ["get", "patch"]}]);
    assert_eq!(rules, &rule);
    let policy = "switchover-controller-rollouts";
    assert!(named(&objects, "ValidatingAdmissionPolicy", policy).is_some(), "what it may patch is narrowed");
    let binding = named(&objects, "ValidatingAdmissionPolicyBinding", policy).expect("a binding");
    assert_eq!(binding["spec"]["policyName"], policy);

    let objects = with("certificates-apart");
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        let binding = named(&objects, kind, "switchover-certificates").expect(kind);
        assert_eq!(binding["subjects"][0]["name"], "switchover-certificates");
    }
    let controller = named(&objects, "Deployment", "switchover-controller").expect("a controller").to_string();
    assert!(controller.contains(r#"{"name":"SWITCHOVER_CERTIFICATES","value":"external"}"#), "{controller}");
    let job = named(&objects, "CronJob", "switchover-certificates").expect("a job");
    let container = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    let of_base = &pods(&base())[0].1["containers"][0]["image"].clone();
    assert_eq!(&container["image"], of_base, "the same program as everywhere");

    let objects = with("on-control-plane");
    let controller = named(&objects, "Deployment", "switchover-controller").expect("a controller");
    let selector = json!({"kubernetes.io/os": "linux", "node-role.kubernetes.io/control-plane": ""});
    assert_eq!(controller["spec"]["template"]["spec"]["nodeSelector"], selector);

    let objects = with("unprivileged-agent");
    let agent = named(&objects, "DaemonSet", "switchover-agent").expect("agents");
    let context = &agent["spec"]["template"]["spec"]["containers"][0]["securityContext"];
    assert_eq!((&context["runAsNonRoot"], &context["capabilities"]), (&json!(true), &json!({"drop": ["ALL"]})));

    let objects = with("openshift");
    for deployment in of_kind(&objects, "Deployment") {
        let context = deployment["spec"]["template"]["spec"]["securityContext"].to_string();
        assert!(!context.contains("65532") && context.contains(r#""runAsNonRoot":true"#), "{context}");
    }
    let constraints = named(&objects, "SecurityContextConstraints", "switchover-agent").expect("constraints");
    assert_eq!(constraints["allowedCapabilities"], json!(["NET_RAW"]));

    let objects = with("network-policies");
    let guarded: Vec<&Value> =
        of_kind(&objects, "NetworkPolicy").iter().map(|it| &it["spec"]["podSelector"]["matchLabels"]).collect();
    for deployment in of_kind(&objects, "Deployment") {
        assert!(guarded.contains(&&deployment["spec"]["selector"]["matchLabels"]), "{deployment}");
    }
}
