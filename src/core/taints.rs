//! Which taints keep a pod from a node. Admission and the movement both ask here.

/// A taint of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    pub key: String,
    pub value: String,
    /// As Kubernetes spells it: `NoSchedule`, `PreferNoSchedule`, `NoExecute`.
    pub effect: String,
}

/// One toleration of a pod, wherever its text lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tolerated<'a> {
    /// `None` with [`Tolerated::exists`] tolerates every key.
    pub key: Option<&'a str>,
    /// The operator is Exists, not Equal.
    pub exists: bool,
    pub value: &'a str,
    /// `None` tolerates every effect.
    pub effect: Option<&'a str>,
}

impl Tolerated<'_> {
    /// k8s.io/component-helpers/scheduling/corev1, `ToleratesTaint`.
    #[must_use]
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|effect| effect == taint.effect)
            && match self.key {
                None => self.exists,
                Some(key) => key == taint.key && (self.exists || self.value == taint.value),
            }
    }
}

/// The first taint that keeps a pod with these tolerations from being scheduled.
#[must_use]
pub fn refusing<'t, 'p, I: Iterator<Item = Tolerated<'p>>>(
    taints: &'t [Taint],
    tolerations: impl Fn() -> I,
) -> Option<&'t Taint> {
    let hard = |taint: &&Taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute";
    taints.iter().filter(hard).find(|taint| !tolerations().any(|toleration| toleration.tolerates(taint)))
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    #[test]
    fn tolerations_match_as_in_kubernetes() {
        let taint = Taint { key: "switchover".into(), value: "far".into(), effect: "NoSchedule".into() };
        let toleration = |key, exists, value, effect| Tolerated { key, exists, value, effect };
        let rows = [
            (toleration(Some("switchover"), false, "far", Some("NoSchedule")), true),
            (toleration(Some("switchover"), false, "far", None), true),
            (toleration(Some("switchover"), true, "", None), true),
            (toleration(None, true, "", None), true),
            (toleration(None, false, "", None), false),
            (toleration(Some("switchover"), false, "near", None), false),
            (toleration(Some("other"), true, "", None), false),
            (toleration(Some("switchover"), true, "", Some("NoExecute")), false),
        ];
        check_rows(rows, |(toleration, expected)| {
            assert_eq!(toleration.tolerates(&taint), expected, "{toleration:?}");
        });
    }

    #[test]
    fn a_taint_that_only_prefers_refuses_nobody() {
        let taint = |key: &str, effect: &str| Taint { key: key.into(), value: String::new(), effect: effect.into() };
        let taints = [taint("soft", "PreferNoSchedule"), taint("gpu", "NoSchedule"), taint("out", "NoExecute")];
        let of = |keys: &'static [&'static str]| {
            let tolerations =
                move || keys.iter().map(|key| Tolerated { key: Some(key), exists: true, ..Tolerated::default() });
            refusing(&taints, tolerations).map(|taint| taint.key.as_str())
        };
        assert_eq!([of(&[]), of(&["gpu"]), of(&["gpu", "out"])], [Some("gpu"), Some("out"), None]);
    }
}
