//! Nodes in the order in which they are filled: the one with room for most pods first. The order is kept while pods are put onto them in
//! thought, so that a plan of thousands of moves doesn't look at thousands of nodes for each.

use std::{cell::RefCell, cmp::Reverse, collections::BTreeSet, sync::Arc};

use super::{
    Room,
    resources::{Changed, Used},
};
use crate::core::{
    hash::HashMap,
    workload::{Node, Occupants},
};

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
    /// Who is there, of each of the nodes.
    there: Vec<Option<&'n Arc<Occupants>>>,
    /// Whether the room knows better, because somebody was put there or taken away in thought.
    changed: Vec<bool>,
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
    pub(super) fn first<'r, Found>(
        &self,
        room: &'r Room<'n>,
        mut look: impl FnMut(&'n Node, Used<'r>) -> Option<Found>,
    ) -> Option<Found> {
        let mut order = self.order.borrow_mut();
        let order = order.get_or_insert_with(|| Order::of(&self.nodes, room));
        order.go_along(&self.nodes, room);
        order
            .sorted
            .iter()
            .find_map(|(_, number)| look(self.nodes[*number], order.used(*number, self.nodes[*number], room)))
    }
}

impl<'n> Order<'n> {
    fn of(nodes: &[&'n Node], room: &Room<'n>) -> Self {
        let mut order = Self {
            numbers: nodes.iter().enumerate().map(|(number, node)| (&*node.name, number)).collect(),
            there: nodes.iter().map(|node| room.snapshot.groups.by_node.get(&node.name)).collect(),
            changed: nodes.iter().map(|node| room.changed(&node.name).is_some()).collect(),
            sorted: BTreeSet::new(),
            free: Vec::new(),
            told: room.recounted().len(),
        };
        order.free = nodes.iter().enumerate().map(|(number, node)| order.free_pods(number, node, room)).collect();
        order.sorted = order.free.iter().enumerate().map(|(number, free)| (Reverse(*free), number)).collect();
        order
    }

    /// What is used of the node with this number.
    fn used<'r>(&self, number: usize, node: &Node, room: &'r Room<'n>) -> Used<'r>
    where
        'n: 'r,
    {
        let changed = if self.changed[number] { room.changed(&node.name) } else { None };
        changed.map_or_else(|| Used::by(self.there[number]), Changed::used)
    }

    /// How many more pods it takes.
    fn free_pods(&self, number: usize, node: &Node, room: &Room<'n>) -> u64 {
        node.pods.saturating_sub(self.used(number, node, room).pods)
    }

    fn go_along(&mut self, nodes: &[&'n Node], room: &Room<'n>) {
        for name in &room.recounted()[self.told..] {
            let Some(number) = self.numbers.get(name).copied() else { continue };
            self.changed[number] = true;
            let free = self.free_pods(number, nodes[number], room);
            let before = std::mem::replace(&mut self.free[number], free);
            if free != before {
                self.sorted.remove(&(Reverse(before), number));
                self.sorted.insert((Reverse(free), number));
            }
        }
        self.told = room.recounted().len();
    }
}
