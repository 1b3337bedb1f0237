//! Containers that come back.

mod policy;
#[cfg(test)]
mod policy_properties;
#[cfg(test)]
mod policy_tests;

pub use policy::*;
