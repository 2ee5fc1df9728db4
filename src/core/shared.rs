//! Values that many have alike, kept once.

use std::{
    collections::HashSet,
    hash::{Hash, Hasher},
    ops::{Deref, DerefMut},
    sync::Arc,
};

/// A value that may be others', too. It reads as the value; whoever writes to it has one of his own from then on.
#[derive(Debug, Default, Eq)]
pub struct Shared<Value>(Arc<Value>);

impl<Value> Clone for Shared<Value> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Value: PartialEq> PartialEq for Shared<Value> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || *self.0 == *other.0
    }
}

impl<Value: Hash> Hash for Shared<Value> {
    fn hash<State: Hasher>(&self, state: &mut State) {
        self.0.hash(state);
    }
}

impl<Value> Deref for Shared<Value> {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl<Value: Clone> DerefMut for Shared<Value> {
    fn deref_mut(&mut self) -> &mut Value {
        Arc::make_mut(&mut self.0)
    }
}

impl<Value> From<Value> for Shared<Value> {
    fn from(value: Value) -> Self {
        Self(Arc::new(value))
    }
}

impl<Item> FromIterator<Item> for Shared<Vec<Item>> {
    fn from_iter<Items: IntoIterator<Item = Item>>(items: Items) -> Self {
        items.into_iter().collect::<Vec<Item>>().into()
    }
}

impl<'a, Item> IntoIterator for &'a Shared<Vec<Item>> {
    type Item = &'a Item;
    type IntoIter = std::slice::Iter<'a, Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Every value of a kind that is kept at the moment, so that the next one like it is kept with it.
#[derive(Debug)]
pub struct Pool<Value> {
    known: HashSet<Shared<Value>>,
    /// From so many on those are looked for that nobody has any more.
    most: usize,
}

impl<Value> Default for Pool<Value> {
    fn default() -> Self {
        Self { known: HashSet::new(), most: 1024 }
    }
}

impl<Value: Eq + Hash> Pool<Value> {
    /// The value, or the one like it that is kept already.
    pub fn share(&mut self, value: &mut Shared<Value>) {
        match self.known.get(value) {
            Some(known) => value.clone_from(known),
            None => {
                if self.known.len() >= self.most {
                    self.known.retain(|known| Arc::strong_count(&known.0) > 1);
                    self.most = 1024.max(self.known.len() * 2);
                }
                self.known.insert(value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_kept_once_until_nobody_has_it() {
        let mut pool = Pool::default();
        let mut kept: Vec<Shared<String>> = ["a", "b", "a"].map(|text| Shared::from(text.to_owned())).into();
        kept.iter_mut().for_each(|value| pool.share(value));
        assert!(Arc::ptr_eq(&kept[0].0, &kept[2].0) && !Arc::ptr_eq(&kept[0].0, &kept[1].0));
        kept[2].push('!');
        assert_eq!((kept[0].as_str(), kept[2].as_str()), ("a", "a!"), "whoever writes has one of his own");
        for number in 0..10_000 {
            pool.share(&mut Shared::from(number.to_string()));
        }
        assert!(pool.known.len() <= 1024, "{}", pool.known.len());
        let mut again = Shared::from("b".to_owned());
        pool.share(&mut again);
        assert!(Arc::ptr_eq(&kept[1].0, &again.0), "what somebody has stays");
    }
}
