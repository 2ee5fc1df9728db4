//! One word for now.

use std::time::Instant;

use jiff::Timestamp;

/// One moment by both clocks. It is read once, at the edge, and handed to whatever decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By the clock that never jumps: how long something has lasted in this process.
    pub instant: Instant,
    /// By the clock that other machines share, more or less: what is written down, and what was.
    pub wall: Timestamp,
}
