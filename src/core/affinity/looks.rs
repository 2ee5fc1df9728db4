//! Whether a pod could run on a node, asked of node after node within a budget.

use std::cell::OnceCell;

use super::{
    pod::{Spec, Toleration},
    rules::{self, Node},
};
use crate::core::taints::refusing;

/// The budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent;

/// What keeps one pod from nodes: its own rules, and taints that it doesn't tolerate.
#[derive(Debug)]
pub struct Looks<'s, 'p> {
    spec: &'s Spec<'p>,
    /// Read when the first node with a taint is looked at.
    tolerations: OnceCell<Vec<Toleration<'s>>>,
    left: usize,
}

impl<'s, 'p> Looks<'s, 'p> {
    /// Labels, values and taints that are looked at for one pod: some milliseconds. A pod with three rules is through
    /// with 30,000 nodes by then.
    pub const MOST: usize = 100_000;

    #[must_use]
    pub const fn new(spec: &'s Spec<'p>, most: usize) -> Self {
        Self { spec, tolerations: OnceCell::new(), left: most }
    }

    /// Takes so many looks from the budget.
    ///
    /// # Errors
    /// There are not as many left.
    pub fn charge(&mut self, looks: usize) -> Result<(), Spent> {
        self.left = self.left.checked_sub(looks).ok_or(Spent)?;
        Ok(())
    }

    /// Whether neither the pod's own rules nor the node's taints keep it from there.
    ///
    /// # Errors
    /// The budget was spent before that was found out.
    pub fn allow(&mut self, node: &Node) -> Result<bool, Spent> {
        let spec = self.spec;
        Ok(rules::allow(spec, node, &mut |looks| self.charge(looks))? && self.tolerates(node)?)
    }

    fn tolerates(&mut self, node: &Node) -> Result<bool, Spent> {
        if node.taints().is_empty() {
            return Ok(true);
        }
        let spec = self.spec;
        let tolerations =
            self.tolerations.get_or_init(|| spec.tolerations.as_ref().and_then(|text| text.read()).unwrap_or_default());
        let looks = node.taints().len().saturating_mul(1 + tolerations.len());
        let refused = refusing(node.taints(), || tolerations.iter().filter_map(Toleration::tolerated)).is_some();
        self.charge(looks)?;
        Ok(!refused)
    }
}
