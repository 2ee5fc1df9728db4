//! Which images nodes have, by what their status lists: names as people write them and as container runtimes list them are compared in full.

use std::collections::{BTreeMap, BTreeSet};

/// So many images a kubelet lists at most (`nodeStatusMaxImages`): whoever lists as many may have others.
const MOST_LISTED: usize = 50;

/// The images of a cluster, as far as somebody has looked at them. Controllers don't: nothing is decided by it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    /// By the name of the node.
    nodes: BTreeMap<String, Listed>,
    /// Of the pods that somebody owns, by the owner's UID.
    owners: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    names: BTreeSet<String>,
    whole: bool,
}

impl Images {
    /// A node lists these, each under some names.
    pub fn note_node<'n>(&mut self, node: &str, images: impl IntoIterator<Item = &'n [String]>) {
        let mut listed = Listed { names: BTreeSet::new(), whole: true };
        let mut number = 0;
        for names in images {
            listed.names.extend(names.iter().map(|name| full(name)));
            number += 1;
        }
        // One that lists none doesn't tell.
        listed.whole = (1..MOST_LISTED).contains(&number);
        self.nodes.insert(node.to_owned(), listed);
    }

    /// A pod of this owner has containers of these images.
    pub fn note_pod<'n>(&mut self, owner: &str, images: impl IntoIterator<Item = &'n str>) {
        let of_owner = match self.owners.get_mut(owner) {
            Some(of_owner) => of_owner,
            None => self.owners.entry(owner.to_owned()).or_default(),
        };
        for image in images.into_iter().filter(|image| !image.is_empty()) {
            if !of_owner.contains(image) {
                of_owner.insert(image.to_owned());
            }
        }
    }

    /// The images of an owner's pods that none of these nodes has, all of which tell. None where some don't.
    #[must_use]
    pub fn nowhere<'n>(&self, owner: &str, nodes: impl IntoIterator<Item = &'n str>) -> Vec<&str> {
        let listed: Option<Vec<&Listed>> = nodes.into_iter().map(|node| self.nodes.get(node)).collect();
        let Some(listed) = listed.filter(|all| !all.is_empty() && all.iter().all(|it| it.whole)) else {
            return Vec::new();
        };
        let is_nowhere = |image: &&String| {
            let image = full(image);
            !listed.iter().any(|it| it.names.contains(&image))
        };
        self.owners.get(owner).into_iter().flatten().filter(is_nowhere).map(String::as_str).collect()
    }
}

/// `docker.io/library/nginx:latest` of `nginx` (github.com/distribution/reference, normalize.go).
fn full(name: &str) -> String {
    let (host, path) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
        Some(_) => ("docker.io", name.to_owned()),
        None => ("docker.io", format!("library/{name}")),
    };
    let tagged = path.contains('@') || path.rsplit('/').next().is_some_and(|last| last.contains(':'));
    format!("{host}/{path}{}", if tagged { "" } else { ":latest" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_full() {
        let rows = [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.25", "docker.io/library/nginx:1.25"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("registry.corp/team/app:2", "registry.corp/team/app:2"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("app@sha256:00", "docker.io/library/app@sha256:00"),
        ];
        for (written, expected) in rows {
            assert_eq!(full(written), expected);
            assert_eq!(full(expected), expected);
        }
    }

    #[test]
    fn an_image_is_nowhere_only_where_every_node_tells_all_that_it_has() {
        let list = |names: &[&str]| vec![names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()];
        let mut images = Images::default();
        images.note_node(
            "a1",
            list(&["docker.io/library/web:1", "docker.io/library/web@sha256:00"]).iter().map(|it| &**it),
        );
        images.note_node("a2", list(&["registry.corp/api:2"]).iter().map(|it| &**it));
        images.note_node("silent", std::iter::empty());
        let many: Vec<Vec<String>> = (0..50).map(|it| vec![format!("registry.corp/{it}:1")]).collect();
        images.note_node("full", many.iter().map(|it| &**it));
        images.note_pod("set", ["web:1", "registry.corp/sidecar:3", ""]);
        assert_eq!(images.nowhere("set", ["a1", "a2"]), ["registry.corp/sidecar:3"]);
        assert_eq!(images.nowhere("set", ["a2"]), ["registry.corp/sidecar:3", "web:1"]);
        for told in [&["a2", "silent"][..], &["a2", "full"], &["a2", "unknown"], &[]] {
            assert_eq!(images.nowhere("set", told.iter().copied()), <[&str; 0]>::default(), "{told:?}");
        }
        assert_eq!(images.nowhere("other", ["a1"]), <[&str; 0]>::default());
    }
}
