//! What injects without a webhook: a MutatingAdmissionPolicy, and a binding for each database.
//!
//! Its expressions say what [`decide`](crate::core::affinity::decide) does, as far as CEL can; tests/it/light/policy_admission.rs asks a real
//! API server about both. docs/policies.md says what it can't do.

use serde_json::Value;

const POLICY: &str = include_str!("../../deploy/components/policies/policy.yaml");
const BINDING: &str = include_str!("../../deploy/components/policies/binding.yaml");

/// The name of the policy, where nothing is put before it.
pub const NAME: &str = "switchover-affinity";
/// The schedulers that the policy knows, as they stand in it.
const KNOWN_SCHEDULERS: &str = "['', 'default-scheduler']";

/// The policy, for pods of these schedulers.
#[must_use]
pub fn policy(schedulers: &[String]) -> Value {
    let mut policy: Value = serde_saphyr::from_str(POLICY).unwrap_or_default();
    // CEL reads JSON's strings and lists as its own.
    let known: Vec<&str> = [""].into_iter().chain(schedulers.iter().map(String::as_str)).collect();
    let known = Value::from(known).to_string();
    for condition in policy["spec"]["matchConditions"].as_array_mut().into_iter().flatten() {
        if let Some(text) = condition["expression"].as_str().filter(|text| text.contains(KNOWN_SCHEDULERS)) {
            condition["expression"] = text.replace(KNOWN_SCHEDULERS, &known).into();
        }
    }
    policy
}

/// What makes the policy inject into pods of namespaces that follow this database by their label.
#[must_use]
pub fn binding(database: &str) -> Value {
    let mut binding: Value = serde_saphyr::from_str(BINDING).unwrap_or_default();
    binding["metadata"]["name"] = format!("switchover-{database}").into();
    binding["spec"]["paramRef"]["name"] = database.into();
    binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"][crate::core::keys::FOLLOW] = database.into();
    binding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{affinity::patch, follow, keys, label_key::LabelKey};

    /// The only database that has a binding in deploy/.
    const DATABASE: &str = "default";

    fn expression(of: &Value, name: &str) -> String {
        let lists = ["matchConditions", "variables"].map(|list| of["spec"][list].as_array().unwrap());
        let found = lists.into_iter().flatten().find(|it| it["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        found["expression"].as_str().unwrap().to_owned()
    }

    /// What the code has in constants stands there in letters.
    #[test]
    fn the_policy_says_what_the_code_says() {
        let policy = policy(&["default-scheduler".to_owned()]);
        assert_eq!(policy["metadata"]["name"], NAME);
        for (variable, keys) in [
            ("follow", vec![keys::FOLLOW, keys::FOLLOW_NONE]),
            ("asked", vec![keys::AFFINITY]),
            ("weight", vec![keys::WEIGHT]),
            ("label", vec![keys::DEFAULT_DATABASE, keys::DEFAULT_NODE_LABEL, keys::NODE_LABEL_PREFIX]),
            ("records", vec![keys::INJECTED]),
        ] {
            let text = expression(&policy, variable);
            assert!(keys.iter().all(|key| text.contains(&format!("'{key}'"))), "{text}");
        }
        // What is escaped there differs in letters alone.
        let injects = expression(&policy, "injects").replace("[.]", r"\.");
        assert!(injects.contains(LabelKey::PATTERN), "{injects}");
        assert!(injects.contains(&format!("indexOf('/') <= {}", LabelKey::PREFIX_MOST)), "{injects}");
        let most = follow::MOST_DATABASES;
        assert!(expression(&policy, "follow").contains(&format!("size(names) > {most} ? names.slice(0, {most})")));
        assert!(expression(&policy, "records").contains(&format!("<= {}", patch::MOST_ANNOTATIONS)));
    }

    /// The API server knows both by the same namespaces and the same pods.
    #[test]
    fn the_policy_is_asked_about_the_pods_that_the_webhook_is_asked_about() {
        let text = include_str!("../../webhook-config/mutatingwebhookconfiguration.yaml");
        let configuration: Value = serde_saphyr::from_str(text).unwrap();
        let (webhook, policy) = (&configuration["webhooks"][0], policy(&["default-scheduler".to_owned()]));
        assert_eq!(policy["spec"]["matchConstraints"]["namespaceSelector"], webhook["namespaceSelector"]);
        assert_eq!(policy["spec"]["matchConstraints"]["resourceRules"], webhook["rules"]);
        let conditions = webhook["matchConditions"].as_array().unwrap();
        assert_eq!(&policy["spec"]["matchConditions"].as_array().unwrap()[..conditions.len()], conditions);
        for field in ["failurePolicy", "reinvocationPolicy"] {
            assert_eq!(policy["spec"][field], webhook[field]);
        }
    }

    #[test]
    fn a_binding_names_its_database_everywhere() {
        let shipped: Value = serde_saphyr::from_str(BINDING).unwrap();
        assert_eq!(binding(DATABASE), shipped);
        let orders = binding("orders").to_string();
        assert!(!orders.contains(DATABASE) && orders.matches("orders").count() == 3, "{orders}");
        assert_eq!(binding("orders")["spec"]["policyName"], NAME);
    }

    #[test]
    fn schedulers_that_go_by_affinity_are_named() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            expression(&policy(&names), "of-a-known-scheduler").split(" ||").next().unwrap().to_owned()
        };
        let at = "object.spec.?schedulerName.orValue('') in ";
        assert_eq!(of(&["default-scheduler"]), format!(r#"{at}["","default-scheduler"]"#));
        assert_eq!(of(&["packer", "x\"y"]), format!(r#"{at}["","packer","x\"y"]"#));
    }
}
