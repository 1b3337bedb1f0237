//! The socket that shims and clients talk to.

mod connection;
mod gc;
mod requests;
mod server;
mod stats;
mod subscribe;

pub use gc::gate;
pub use server::{bind, serve, watch_socket};
