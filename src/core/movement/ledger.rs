//! What every database has on the move, in one place. Each of them plans by itself, from what the others had under way when it
//! looked; what was entered meanwhile and may touch the same is left out and planned anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    journal::Underway,
    window::{Evidence, Window},
};

/// The moves of all databases, and how many there may be.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Counts the entries of moves.
    version: u64,
    books: BTreeMap<String, Book>,
    window: Window,
}

#[derive(Debug, Default)]
struct Book {
    underway: Vec<Underway>,
    /// The ledger's version when moves were last begun.
    begun: u64,
    /// The node that it is about to empty by a taint: no picture shows that yet.
    emptying: Option<String>,
}

/// What the ledger held of the other databases when one of them looked.
#[derive(Debug, Clone)]
pub struct Others {
    /// What they have on the move.
    pub underway: Vec<Underway>,
    /// How many pods may be on the move, over all databases.
    pub window: Window,
    /// A node that one of them is about to empty by a taint.
    pub emptying: Option<String>,
    /// The ledger's.
    pub version: u64,
}

/// Nobody else moves anything, and nothing but the database's own limit holds.
impl Default for Others {
    fn default() -> Self {
        Self { underway: Vec::new(), window: Window::unlimited(), emptying: None, version: 0 }
    }
}

impl Others {
    /// How many of their moves may still end well.
    #[must_use]
    pub fn in_time(&self) -> usize {
        in_time(&self.underway)
    }

    /// How many pods may be on the move, over all databases, with what a look has shown since: so that whoever plans needn't wait for the
    /// next one. `most` is the limit of the database that looked.
    #[must_use]
    pub fn window_after(&self, evidence: Evidence, most: u32) -> u32 {
        let mut window = self.window.clone();
        window.learn(evidence, most);
        window.size()
    }
}

fn in_time(underway: &[Underway]) -> usize {
    underway.iter().filter(|move_| !move_.trace.failed).count()
}

impl Ledger {
    /// What the others have under way.
    pub fn look(&mut self, database: &str, now: Instant) -> Others {
        self.window.rest(self.books.values().any(|book| in_time(&book.underway) > 0), now);
        // Of hundreds of databases most have nothing.
        let some = self.books.iter().filter(|(_, book)| !book.underway.is_empty() || book.emptying.is_some());
        let others: Vec<&Book> = some.filter(|(name, _)| *name != database).map(|(_, book)| book).collect();
        let underway = others.iter().flat_map(|book| &book.underway).cloned().collect();
        let emptying = others.iter().find_map(|book| book.emptying.clone());
        Others { underway, window: self.window.clone(), emptying, version: self.version }
    }

    /// What another process began for a database is under way from the beginning: it is refused nobody, and every other database knows of it.
    pub fn take_over(&mut self, database: &str, underway: &[Underway]) {
        let book = self.books.entry(database.to_owned()).or_default();
        if !underway.is_empty() {
            self.version += 1;
            book.begun = self.version;
        }
        book.underway = underway.to_vec();
    }

    /// Enters what a database has under way after it `saw` the others, of which it has at most `most`. Returns the UIDs of those pods that
    /// must not be moved now: another database has begun moves since that may touch the same workload, budget or room.
    pub fn enter(
        &mut self,
        database: &str,
        saw: &Others,
        underway: &[Underway],
        evidence: Evidence,
        most: u32,
    ) -> Vec<String> {
        self.window.learn(evidence, most);
        let refused = self.refused(database, saw, underway);
        let before = self.books.get(database).map_or(0, |book| book.begun);
        let known = |book: &Book, uid: &str| book.underway.iter().any(|move_| move_.uid == uid);
        let entered: Vec<Underway> = underway.iter().filter(|move_| !refused.contains(&move_.uid)).cloned().collect();
        let news = entered.iter().any(|move_| !self.books.get(database).is_some_and(|book| known(book, &move_.uid)));
        if news {
            self.version += 1;
        }
        let book = self.books.entry(database.to_owned()).or_default();
        book.underway = entered;
        book.begun = if news { self.version } else { before };
        refused
    }

    /// The node that a database is about to empty by a taint, if any. False if another one is about to empty one: then it isn't now.
    #[must_use]
    pub fn empties(&mut self, database: &str, node: Option<&str>) -> bool {
        let mut others = self.books.iter().filter(|(name, _)| *name != database);
        let free = node.is_none() || others.all(|(_, book)| book.emptying.is_none());
        self.books.entry(database.to_owned()).or_default().emptying = node.filter(|_| free).map(str::to_owned);
        free
    }

    fn refused(&self, database: &str, saw: &Others, underway: &[Underway]) -> Vec<String> {
        let others = || self.books.iter().filter(|(name, _)| *name != database).map(|(_, book)| book);
        let meanwhile: Vec<&Underway> =
            others().filter(|book| book.begun > saw.version).flat_map(|book| &book.underway).collect();
        if meanwhile.is_empty() {
            return Vec::new();
        }
        let own = self.books.get(database).map(|book| &*book.underway).unwrap_or_default();
        let known: BTreeSet<&str> = own.iter().map(|move_| &*move_.uid).collect();
        let elsewhere: usize = others().map(|book| in_time(&book.underway)).sum();
        let mut left = (self.window.size() as usize).saturating_sub(elsewhere + in_time(own));
        let clashes = |move_: &Underway| {
            meanwhile.iter().any(|other| {
                other.workload.namespace == move_.workload.namespace
                    || (!move_.trace.to.is_empty() && other.trace.to == move_.trace.to)
            })
        };
        let mut refused = Vec::new();
        for move_ in underway.iter().filter(|move_| !known.contains(&*move_.uid)) {
            if left == 0 || clashes(move_) {
                refused.push(move_.uid.clone());
            } else {
                left -= 1;
            }
        }
        refused
    }

    /// What a database has under way after some moves were not carried out after all.
    pub fn correct(&mut self, database: &str, underway: &[Underway]) {
        if let Some(book) = self.books.get_mut(database) {
            book.underway = underway.to_vec();
        }
    }

    /// The database isn't followed from here any more.
    pub fn forget(&mut self, database: &str) {
        self.books.remove(database);
    }
}

#[cfg(test)]
mod tests;
