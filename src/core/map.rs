//! Maps for pictures of a cluster: a clone costs nothing, and whoever writes while there is one copies a small part.

use std::{
    borrow::Borrow,
    collections::hash_map,
    hash::{BuildHasher, Hash},
    iter::FlatMap,
    ops::Index,
    slice,
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::hash::HashMap;

/// A part holds about so many entries before there are twice as many parts.
const FILLED: usize = 128;

/// A hash map in parts, each of which is shared by all clones that have the same entries there.
///
/// Persistent maps of the usual kind (a tree of small nodes) take twice the memory and are several times slower to walk; here
/// a picture is held for milliseconds, and walked and looked up in more often than it is written to.
#[derive(Debug, Clone)]
pub struct Map<Key, Value> {
    parts: Arc<Vec<Part<Key, Value>>>,
    /// Says which part a key is in.
    hasher: RandomState,
    len: usize,
}

type Part<Key, Value> = Arc<HashMap<Key, Value>>;

/// Every entry of a [`Map`], in no order.
pub type Iter<'a, Key, Value> = FlatMap<
    slice::Iter<'a, Part<Key, Value>>,
    hash_map::Iter<'a, Key, Value>,
    fn(&'a Part<Key, Value>) -> hash_map::Iter<'a, Key, Value>,
>;

impl<Key, Value> Default for Map<Key, Value> {
    fn default() -> Self {
        Self { parts: Arc::new(vec![Arc::default()]), hasher: RandomState::default(), len: 0 }
    }
}

impl<Key, Value> Map<Key, Value> {
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether nothing was written to either since one was cloned from the other. (Two maps may be equal all the same.)
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.parts, &other.parts)
    }

    pub fn iter(&self) -> Iter<'_, Key, Value> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.iter().map(|(_, value)| value)
    }
}

impl<Key: Eq + Hash, Value> Map<Key, Value> {
    fn part<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        match self.parts.len() {
            1 => 0,
            // A power of two.
            parts => usize::try_from(self.hasher.hash_one(key) & (parts as u64 - 1)).unwrap_or_default(),
        }
    }

    #[must_use]
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&Value>
    where
        Key: Borrow<Q>,
    {
        self.parts[self.part(key)].get(key)
    }

    #[must_use]
    pub fn contains_key<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> bool
    where
        Key: Borrow<Q>,
    {
        self.get(key).is_some()
    }
}

impl<Key: Eq + Hash, Value> Map<Key, Arc<Value>> {
    /// Each value that took another one's place since `before` was cloned from this map, behind that one. `None` where keys have come or
    /// gone since, or the maps have nothing to do with each other. Only parts that were written to are looked at.
    #[must_use]
    pub fn replaced_since<'m>(&'m self, before: &'m Self) -> Option<Vec<(&'m Value, &'m Value)>> {
        if (self.parts.len(), self.len) != (before.parts.len(), before.len) {
            return None;
        }
        let mut replaced = Vec::new();
        let parts = self.parts.iter().zip(before.parts.iter()).filter(|(now, before)| !Arc::ptr_eq(now, before));
        for (key, now, before) in
            parts.flat_map(|(now, before)| now.iter().map(move |(key, value)| (key, value, before)))
        {
            let before = before.get(key)?;
            if !Arc::ptr_eq(now, before) {
                replaced.push((&**before, &**now));
            }
        }
        Some(replaced)
    }
}

impl<Key: Eq + Hash + Clone, Value: Clone> Map<Key, Value> {
    /// Returns what was there before.
    pub fn insert(&mut self, key: Key, value: Value) -> Option<Value> {
        if self.len >= FILLED * self.parts.len() {
            self.divide();
        }
        let part = self.part(&key);
        let before = self.part_mut(part).insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// Returns what was there. Nothing is copied where nothing was.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<Value>
    where
        Key: Borrow<Q>,
    {
        if !self.contains_key(key) {
            return None;
        }
        let part = self.part(key);
        let before = self.part_mut(part).remove(key);
        self.len -= usize::from(before.is_some());
        before
    }

    #[must_use]
    pub fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut Value>
    where
        Key: Borrow<Q>,
    {
        if !self.contains_key(key) {
            return None;
        }
        let part = self.part(key);
        self.part_mut(part).get_mut(key)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        Arc::make_mut(&mut self.parts).iter_mut().flat_map(|part| Arc::make_mut(part).values_mut())
    }

    fn part_mut(&mut self, part: usize) -> &mut HashMap<Key, Value> {
        Arc::make_mut(&mut Arc::make_mut(&mut self.parts)[part])
    }

    fn divide(&mut self) {
        let before = Arc::unwrap_or_clone(std::mem::take(&mut self.parts));
        let mut parts: Vec<HashMap<Key, Value>> = Vec::new();
        parts.resize_with(before.len() * 2, HashMap::default);
        let mask = parts.len() as u64 - 1;
        for (key, value) in before.into_iter().flat_map(Arc::unwrap_or_clone) {
            let part = usize::try_from(self.hasher.hash_one(&key) & mask).unwrap_or_default();
            parts[part].insert(key, value);
        }
        self.parts = Arc::new(parts.into_iter().map(Arc::new).collect());
    }
}

impl<Key: Eq + Hash + Clone, Value: Clone> Extend<(Key, Value)> for Map<Key, Value> {
    fn extend<T: IntoIterator<Item = (Key, Value)>>(&mut self, entries: T) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<Key: Eq + Hash + Clone, Value: Clone> FromIterator<(Key, Value)> for Map<Key, Value> {
    fn from_iter<T: IntoIterator<Item = (Key, Value)>>(entries: T) -> Self {
        let mut map = Self::default();
        map.extend(entries);
        map
    }
}

impl<'a, Key, Value> IntoIterator for &'a Map<Key, Value> {
    type Item = (&'a Key, &'a Value);
    type IntoIter = Iter<'a, Key, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<Key: Eq + Hash, Value: PartialEq> PartialEq for Map<Key, Value> {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.len == other.len && self.iter().all(|(key, value)| other.get(key) == Some(value))
    }
}

impl<Key: Eq + Hash, Value: Eq> Eq for Map<Key, Value> {}

impl<Q: Eq + Hash + ?Sized, Key: Eq + Hash + Borrow<Q>, Value> Index<&Q> for Map<Key, Value> {
    type Output = Value;

    /// # Panics
    /// If nothing is there.
    fn index(&self, key: &Q) -> &Value {
        self.get(key).expect("an entry of this key")
    }
}

/// What is known of all values of a table together, kept current value by value.
pub trait Grouping<Value>: Clone + Default {
    /// `before` is gone, and `now` is there.
    fn replace(&mut self, before: Option<&Arc<Value>>, now: Option<&Arc<Value>>);
}

impl<Value> Grouping<Value> for () {
    fn replace(&mut self, _: Option<&Arc<Value>>, _: Option<&Arc<Value>>) {}
}

/// Values that have something in common, by that.
pub type Groups<Value> = Map<String, Arc<Vec<Arc<Value>>>>;

/// Puts a value into its group.
pub fn put<Value>(groups: &mut Groups<Value>, of: &str, value: &Arc<Value>) {
    match groups.get_mut(of) {
        Some(group) => Arc::make_mut(group).push(Arc::clone(value)),
        None => drop(groups.insert(of.to_owned(), Arc::new(vec![Arc::clone(value)]))),
    }
}

/// Takes a value out of its group.
pub fn take<Value>(groups: &mut Groups<Value>, of: &str, value: &Arc<Value>) {
    let Some(group) = groups.get_mut(of) else { return };
    let group = Arc::make_mut(group);
    if let Some(at) = group.iter().position(|it| Arc::ptr_eq(it, value)) {
        group.swap_remove(at);
    }
    if group.is_empty() {
        groups.remove(of);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_write_copies_one_part_while_there_is_a_clone_and_none_otherwise() {
        let mut map: Map<usize, usize> = (0..10_000).map(|n| (n, n)).collect();
        let shared = |map: &Map<usize, usize>, before: &Map<usize, usize>| {
            map.parts.iter().zip(before.parts.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count()
        };
        let before = map.clone();
        map.insert(77, 0);
        map.insert(77, 1);
        assert_eq!((before[&77], map[&77]), (77, 1));
        assert_eq!(shared(&map, &before), map.parts.len() - 1);
        assert!(map.parts.len() >= 64 && !map.is_same(&before), "{}", map.parts.len());
        let before = map.clone();
        assert_eq!((map.remove(&10_000), map.get_mut(&10_000)), (None, None));
        assert!(map.is_same(&before), "nothing was there");
    }

    #[test]
    fn what_was_replaced_since_a_clone_is_found_and_what_came_or_went_is_not_passed_over() {
        let mut map: Map<usize, Arc<usize>> = (0..1_000).map(|n| (n, Arc::new(n))).collect();
        let before = map.clone();
        assert_eq!(map.replaced_since(&before), Some(vec![]));
        map.insert(77, Arc::new(0));
        assert_eq!(map.replaced_since(&before), Some(vec![(&77, &0)]));
        let moved_on = map.clone();
        map.remove(&5);
        assert_eq!(map.replaced_since(&moved_on), None);
        map.insert(2_000, Arc::new(1));
        assert_eq!(map.replaced_since(&moved_on), None, "as many as before, and others");
        let made_anew = moved_on.iter().map(|(key, value)| (*key, Arc::clone(value))).collect();
        assert_eq!(moved_on.replaced_since(&made_anew), None, "parts are others");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u16, u8),
        Remove(u16),
        Keep,
    }

    proptest! {
        /// It is a map, and what was cloned stays as it was.
        #[test]
        fn it_does_what_a_hash_map_does(steps in prop::collection::vec(prop_oneof![
            4 => (0u16..400, any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
            2 => (0u16..400).prop_map(Step::Remove),
            1 => Just(Step::Keep),
        ], 0..800)) {
            let (mut map, mut model) = (Map::default(), HashMap::default());
            let mut kept = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(key, value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    Step::Keep => kept.push((map.clone(), model.clone())),
                }
            }
            kept.push((map, model));
            for (map, model) in kept {
                prop_assert_eq!(map.len(), model.len());
                let all: HashMap<u16, u8> = map.iter().map(|(key, value)| (*key, *value)).collect();
                prop_assert_eq!(&all, &model);
                prop_assert_eq!(&map, &model.into_iter().collect::<Map<_, _>>());
            }
        }
    }
}
