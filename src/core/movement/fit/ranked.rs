//! Nodes in the order in which they are filled: the one with room for most pods first. The order is kept while pods are put onto them in
//! thought, so that a plan of thousands of moves doesn't look at thousands of nodes for each.

use std::{cell::RefCell, cmp::Reverse, collections::BTreeSet};

use super::Room;
use crate::core::{hash::HashMap, workload::Node};

/// Some nodes, of which one room is asked for places.
#[derive(Debug)]
pub struct Ranked<'n> {
    nodes: Vec<&'n Node>,
    /// Made when somebody asks for the first time.
    order: RefCell<Option<Order<'n>>>,
}

#[derive(Debug)]
struct Order<'n> {
    /// Which of the nodes is called so.
    numbers: HashMap<&'n str, usize>,
    /// How many more pods each of the nodes takes.
    free: Vec<u64>,
    /// Those that take most first, and of those that take as many the first one first.
    sorted: BTreeSet<(Reverse<u64>, usize)>,
    /// How much of what the room tells is in it.
    told: usize,
}

impl<'n> Ranked<'n> {
    /// Of nodes with room for as many pods the first one is taken.
    pub fn of(nodes: impl IntoIterator<Item = &'n Node>) -> Self {
        Self { nodes: nodes.into_iter().collect(), order: RefCell::default() }
    }

    #[must_use]
    pub fn nodes(&self) -> &[&'n Node] {
        &self.nodes
    }

    /// The first one that `look` finds something for, which must not ask for their order itself.
    pub(super) fn first<Found>(&self, room: &Room<'_>, look: impl FnMut(&'n Node) -> Option<Found>) -> Option<Found> {
        let mut order = self.order.borrow_mut();
        let order = order.get_or_insert_with(|| Order::of(&self.nodes, room));
        order.go_along(&self.nodes, room);
        order.sorted.iter().map(|(_, number)| self.nodes[*number]).find_map(look)
    }
}

impl<'n> Order<'n> {
    fn of(nodes: &[&'n Node], room: &Room<'_>) -> Self {
        let free: Vec<u64> = nodes.iter().map(|node| room.free_pods(node)).collect();
        Self {
            numbers: nodes.iter().enumerate().map(|(number, node)| (&*node.name, number)).collect(),
            sorted: free.iter().enumerate().map(|(number, free)| (Reverse(*free), number)).collect(),
            free,
            told: room.recounted().len(),
        }
    }

    fn go_along(&mut self, nodes: &[&'n Node], room: &Room<'_>) {
        for name in &room.recounted()[self.told..] {
            let Some(number) = self.numbers.get(name).copied() else { continue };
            let free = room.free_pods(nodes[number]);
            let before = std::mem::replace(&mut self.free[number], free);
            if free != before {
                self.sorted.remove(&(Reverse(before), number));
                self.sorted.insert((Reverse(free), number));
            }
        }
        self.told = room.recounted().len();
    }
}
