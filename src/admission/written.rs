//! Patches as they were last written.
//!
//! Most pods of a time get one of a few patches, and to compare two costs far less than to write one as JSON and that as
//! base64.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::core::affinity::{Injection, Operation};

const SLOTS: usize = 64;
/// Longer ones, in base64, are written anew each time: they are rare, and 64 of them are much.
const LARGEST: usize = 8 * 1024;

/// The last patch of each slot. Written by whichever request had another one; bounded by its slots and [`LARGEST`].
#[derive(Debug)]
pub struct WrittenPatches([ArcSwapOption<Written>; SLOTS]);

#[derive(Debug)]
struct Written {
    operations: Vec<Operation>,
    base64: String,
}

impl Default for WrittenPatches {
    fn default() -> Self {
        Self(std::array::from_fn(|_| ArcSwapOption::empty()))
    }
}

impl WrittenPatches {
    /// Appends the patch as base64. `None` if it can't be written.
    pub fn append(&self, injection: &Injection, to: &mut Vec<u8>) -> Option<()> {
        let slot = &self.0[slot(injection)];
        if let Some(last) = &*slot.load()
            && last.operations == injection.operations
        {
            to.extend_from_slice(last.base64.as_bytes());
            return Some(());
        }
        let base64 = STANDARD.encode(serde_json::to_vec(&injection.operations).ok()?);
        to.extend_from_slice(base64.as_bytes());
        if base64.len() > LARGEST {
            return Some(());
        }
        slot.store(Some(Arc::new(Written { operations: injection.operations.clone(), base64 })));
        Some(())
    }
}

/// By what differs between most patches: the databases with mode and epoch, and what the pod had already (FNV-1a).
fn slot(injection: &Injection) -> usize {
    let begin = injection.operations.first().map_or(0, |operation| operation.path.len() as u64);
    let hash = injection
        .summary
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325 ^ begin, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    usize::try_from(hash % SLOTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::{Value, json};

    use super::*;
    use crate::{admission::tests as reviews, core::affinity::Verdict};

    fn injection(spec: &Value) -> Injection {
        let now = Instant::now();
        let text = json!({"metadata": {"annotations": {}}, "spec": spec}).to_string();
        let decision = reviews::view(now).decide("shop", &serde_json::from_str(&text).unwrap(), now);
        let Verdict::Inject(injection) = decision.verdict else { panic!("{decision:?}") };
        injection
    }

    #[test]
    fn a_large_patch_is_written_and_not_kept() {
        let patches = WrittenPatches::default();
        let own = injection(&json!({}));
        let large = Injection { operations: vec![own.operations.clone(); 200].concat(), ..own };
        let mut written = Vec::new();
        patches.append(&large, &mut written).unwrap();
        assert!(written.len() > LARGEST);
        assert!(patches.0.iter().all(|slot| slot.load().is_none()));
    }

    #[test]
    fn a_patch_is_the_same_whether_it_was_written_before_or_not() {
        let patches = WrittenPatches::default();
        let (plain, own) = (injection(&json!({})), injection(&json!({"affinity": {"nodeAffinity": {}}})));
        // One that fights with another for its slot.
        let longer = Injection { operations: [own.operations.clone(), own.operations.clone()].concat(), ..own.clone() };
        assert_eq!(slot(&own), slot(&longer));
        for injection in [&plain, &plain, &own, &longer, &plain, &longer, &own, &own] {
            let mut written = b"before ".to_vec();
            patches.append(injection, &mut written).unwrap();
            let expected = STANDARD.encode(serde_json::to_vec(&injection.operations).unwrap());
            assert_eq!(String::from_utf8(written).unwrap(), format!("before {expected}"));
        }
    }
}
