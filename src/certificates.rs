//! The webhook's certificates: made here, kept in the cluster by the leader or by `switchover certs --apply`.

pub mod authority;
pub mod install;
pub mod keeper;
pub mod served;
#[cfg(test)]
pub(crate) mod testing;
