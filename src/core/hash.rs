//! Maps and sets for plans and pictures, which are looked up in by the hundred thousand.
//!
//! Their hash is several times faster than that of the standard library, with a seed of its own in each process. Whoever may name objects
//! of the cluster sees nothing of it, so that names that collide can't be chosen.

use std::collections;

use foldhash::fast::RandomState;

/// The standard library's, but for its hash.
pub type HashMap<Key, Value> = collections::HashMap<Key, Value, RandomState>;
/// The same, of a set.
pub type HashSet<Value> = collections::HashSet<Value, RandomState>;
