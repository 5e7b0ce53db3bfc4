//! The paths of the router's own process, as methods of [`Places`]. Pure.
//!
//! ```text
//! <state>/router/routes.json     the routes, written by the server, read by the router
//! <state>/acme/                  account.json, <host>.pem: keys and certificates; root's alone
//! <runtime>/router.sock          where a server finds its router; root's alone
//! <logs>/_router/                access.log, router.log; the router's. No project can have the name
//! ```

use super::places::Places;
use std::path::PathBuf;

impl Places {
    /// Root's, readable by the router.
    pub fn router_state(&self) -> PathBuf {
        self.state.join("router")
    }

    pub fn router_snapshot(&self) -> PathBuf {
        self.router_state().join("routes.json")
    }

    /// Account and certificates that an authority gave; root's alone.
    pub fn acme(&self) -> PathBuf {
        self.state.join("acme")
    }

    pub fn router_socket(&self) -> PathBuf {
        self.runtime.join("router.sock")
    }

    /// The router's user writes here and nowhere else.
    pub fn router_logs(&self) -> PathBuf {
        self.logs.join("_router")
    }

    pub fn access_log(&self) -> PathBuf {
        self.router_logs().join("access.log")
    }

    /// What the router has to say itself.
    pub fn router_log(&self) -> PathBuf {
        self.router_logs().join("router.log")
    }
}
