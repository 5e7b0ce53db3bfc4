//! The voice of the journeys: a world with a real server in it, projects with real repositories, pushes with the real
//! git and ssh. Dropping a world stops its server and fails the test when anything is left over.

pub mod hashed;
pub mod leftovers;
pub mod mallory;
pub mod mounts;
pub mod picture;
pub mod postgres;
pub mod project;
pub mod ran;
pub mod rejected;
pub mod routing;
pub mod running;
pub mod travel;
pub mod world;

pub use mallory::Mallory;
pub use picture::picture;
pub use postgres::Postgres;
pub use project::{Project, Pushed};
pub use running::{Gate, Running};
pub use travel::Pair;
pub use world::{Ran, World};
