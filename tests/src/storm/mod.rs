//! Storms: many containers die in one instant, and every exit must be known: exact, told once, and none lost.
//!
//! [`fleet`] starts them, real ones or single processes below real shims; [`strike`] kills; [`ledger`] is what
//! subscribers have heard, who come back whenever the collector does; [`weather`] is a storm from its beginning to its
//! end; [`report`] what came of it.

pub mod fits;
pub mod fleet;
pub mod ledger;
pub mod listener;
pub mod options;
pub mod report;
pub mod strike;
pub mod weather;
