//! switchover
