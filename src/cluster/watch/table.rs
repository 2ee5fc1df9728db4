//! The tables that watches keep current.

use std::{borrow::Borrow, hash::Hash, sync::Arc};

use kube::runtime::watcher::Event;

use crate::core::map::{Grouping, Map};

/// What [`Table::apply`] changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed<Key> {
    Nothing,
    One(Key),
    /// A new list replaced the whole table.
    All,
}

/// Lean copies of the watched objects by key. A re-list fills a second table and swaps it in when it is complete, so
/// that readers never see a half-filled one.
///
/// A clone costs nothing and stays as it is ([`Map`]). What is grouped of the values is kept current with them.
#[derive(Debug)]
pub struct Table<Key, Value, Groups = ()> {
    live: Map<Key, Arc<Value>>,
    groups: Groups,
    listing: Option<Map<Key, Arc<Value>>>,
}

impl<Key, Value, Groups: Default> Default for Table<Key, Value, Groups> {
    fn default() -> Self {
        Self { live: Map::default(), groups: Groups::default(), listing: None }
    }
}

impl<Key: Clone, Value, Groups: Clone> Clone for Table<Key, Value, Groups> {
    fn clone(&self) -> Self {
        Self { live: self.live.clone(), groups: self.groups.clone(), listing: None }
    }
}

impl<Key: Eq + Hash + Clone, Value: PartialEq, Groups: Grouping<Value>> Table<Key, Value, Groups> {
    /// Applies one watch event. `convert` turns an object into its key and what is kept of it; `None` in place of the
    /// value means that the object is of no interest (any more).
    pub fn apply<K>(&mut self, event: Event<K>, mut convert: impl FnMut(K) -> (Key, Option<Value>)) -> Changed<Key> {
        match event {
            Event::Init => {
                self.listing = Some(Map::default());
                Changed::Nothing
            }
            Event::InitApply(object) => {
                if let ((key, Some(value)), Some(listing)) = (convert(object), self.listing.as_mut()) {
                    // A new list takes no memory for what is there already.
                    let known = self.live.get(&key).filter(|known| ***known == value).map(Arc::clone);
                    listing.insert(key, known.unwrap_or_else(|| Arc::new(value)));
                }
                Changed::Nothing
            }
            Event::InitDone => {
                let Some(listed) = self.listing.take() else { return Changed::Nothing };
                self.regroup(&listed);
                self.live = listed;
                Changed::All
            }
            Event::Apply(object) => match convert(object) {
                (key, Some(value)) => {
                    if self.get(&key) == Some(&value) {
                        return Changed::Nothing;
                    }
                    self.put(key.clone(), Arc::new(value));
                    Changed::One(key)
                }
                (key, None) => self.remove(key),
            },
            Event::Delete(object) => {
                let (key, _) = convert(object);
                self.remove(key)
            }
        }
    }

    /// A value that may be kept elsewhere, too.
    pub fn put(&mut self, key: Key, value: Arc<Value>) {
        let before = self.live.insert(key, Arc::clone(&value));
        self.groups.replace(before.as_ref(), Some(&value));
    }

    fn remove(&mut self, key: Key) -> Changed<Key> {
        let Some(before) = self.live.remove(&key) else { return Changed::Nothing };
        self.groups.replace(Some(&before), None);
        Changed::One(key)
    }

    fn regroup(&mut self, listed: &Map<Key, Arc<Value>>) {
        for (_, before) in self.live.iter().filter(|(key, _)| !listed.contains_key(*key)) {
            self.groups.replace(Some(before), None);
        }
        for (key, value) in listed {
            let before = self.live.get(key);
            if !before.is_some_and(|before| Arc::ptr_eq(before, value)) {
                self.groups.replace(before, Some(value));
            }
        }
    }

    #[must_use]
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&Value>
    where
        Key: Borrow<Q>,
    {
        self.live.get(key).map(Arc::as_ref)
    }

    /// The whole table.
    #[must_use]
    pub fn live(&self) -> &Map<Key, Arc<Value>> {
        &self.live
    }

    /// What is grouped of its values.
    #[must_use]
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.live.iter().map(|(key, value)| (key, value.as_ref()))
    }

    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.live.values().map(Arc::as_ref)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(object: (&'static str, u8)) -> (&'static str, Option<u8>) {
        (object.0, (object.1 != 0).then_some(object.1))
    }

    #[test]
    fn a_new_list_replaces_the_table_only_when_it_is_complete() {
        let mut table = Table::<_, _>::default();
        for event in [Event::Init, Event::InitApply(("a", 1)), Event::InitApply(("b", 2))] {
            assert_eq!(table.apply(event, pair), Changed::Nothing);
        }
        assert!(table.is_empty());
        assert_eq!(table.apply(Event::InitDone, pair), Changed::All);
        assert_eq!(table.len(), 2);

        table.apply(Event::Init, pair);
        table.apply(Event::InitApply(("b", 3)), pair);
        assert_eq!(table.get("a"), Some(&1));
        table.apply(Event::InitDone, pair);
        assert_eq!((table.get("a"), table.get("b")), (None, Some(&3)));
    }

    #[test]
    fn a_clone_stays_as_it_is() {
        let mut table = Table::<_, _>::default();
        table.apply(Event::Apply(("a", 1)), pair);
        table.apply(Event::Init, pair);
        table.apply(Event::InitApply(("b", 2)), pair);
        let before = table.clone();
        table.apply(Event::Apply(("a", 3)), pair);
        table.apply(Event::InitDone, pair);
        assert_eq!((before.get("a"), before.get("b")), (Some(&1), None));
        assert_eq!((table.get("a"), table.get("b")), (None, Some(&2)));
    }

    #[test]
    fn only_real_changes_are_changes() {
        let mut table = Table::<_, _>::default();
        assert_eq!(table.apply(Event::Apply(("a", 1)), pair), Changed::One("a"));
        assert_eq!(table.apply(Event::Apply(("a", 1)), pair), Changed::Nothing);
        assert_eq!(table.apply(Event::Apply(("a", 0)), pair), Changed::One("a"));
        assert_eq!(table.apply(Event::Delete(("a", 1)), pair), Changed::Nothing);
    }

    /// The values of a table, and how often each was said to have come or gone.
    #[derive(Debug, Clone, Default)]
    struct Told(Vec<String>);

    impl Grouping<u8> for Told {
        fn replace(&mut self, before: Option<&Arc<u8>>, now: Option<&Arc<u8>>) {
            let said = |value: Option<&Arc<u8>>| value.map_or("-".to_owned(), ToString::to_string);
            self.0.push(format!("{}→{}", said(before), said(now)));
        }
    }

    #[test]
    fn what_is_grouped_is_told_of_each_change_and_of_nothing_else() {
        let mut table = Table::<_, _, Told>::default();
        let listed = [Event::Init, Event::InitApply(("a", 1)), Event::InitApply(("b", 2)), Event::InitDone];
        for event in listed {
            table.apply(event, pair);
        }
        table.groups.0.sort();
        for event in [Event::Apply(("a", 1)), Event::Apply(("a", 3)), Event::Delete(("c", 1)), Event::Delete(("b", 1))]
        {
            table.apply(event, pair);
        }
        assert_eq!(table.groups.0, ["-→1", "-→2", "1→3", "2→-"]);
        let again = [Event::Init, Event::InitApply(("a", 3)), Event::InitApply(("d", 4)), Event::InitDone];
        let known = Arc::clone(&table.live["a"]);
        for event in again {
            table.apply(event, pair);
        }
        assert_eq!(table.groups.0[4..], ["-→4"]);
        assert!(Arc::ptr_eq(&known, &table.live["a"]), "a new list takes no memory for what is there already");
    }
}
