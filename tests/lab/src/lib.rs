//! The test beds.
