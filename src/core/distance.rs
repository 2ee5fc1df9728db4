//! How far each node is from the primary: readings ([`rtt`]), which of them can't be right ([`doubt`]), what they make of a
//! node ([`tier`]), and what others did to its label meanwhile ([`overwrite`]).

pub mod doubt;
pub mod overwrite;
pub mod rtt;
pub mod tier;
