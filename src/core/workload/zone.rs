//! Which data centre a node stands in: the one place that knows.

use super::Node;

/// The well-known label, the one that it took the place of, and what says it more coarsely.
const LABELS: [&str; 3] =
    ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/region"];

impl Node {
    /// What its labels say of its data centre.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        LABELS.iter().find_map(|key| self.labels.get(*key)).map(String::as_str).filter(|zone| !zone.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_counts_more_than_the_region() {
        let [zone, old, region] = LABELS;
        let rows = [
            (vec![], None),
            (vec![(region, "eu")], Some("eu")),
            (vec![(region, "eu"), (old, "a")], Some("a")),
            (vec![(region, "eu"), (old, "a"), (zone, "dc1")], Some("dc1")),
            (vec![(zone, "")], None),
        ];
        for (labels, expected) in rows {
            let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let node = Node { labels, ..Node::default() };
            assert_eq!(node.zone(), expected);
        }
    }
}
