//! The one binary of integration tests: journeys through the real thing. It links once. A file that is not listed
//! here fails `tidy`.

// Tests start programs as people do.
#![allow(clippy::disallowed_methods)]

mod ancestor;
mod ancestor_locks;
mod ancestor_rights;
mod ancestor_rollbacks;
mod answers_of_releases;
mod bench;
mod beside;
mod beside_terminals;
mod building;
mod clients;
mod destroying;
mod editing;
mod editing_builds;
mod editing_interrupted;
mod editing_mounts;
mod editing_odd;
mod editing_points;
mod fixing;
mod golden;
mod hooks;
mod housekeeping;
mod interrupted;
mod job_ends;
mod kept;
mod measuring;
mod mounts_below;
mod outliving;
mod promoting;
mod promoting_refused;
mod pushing;
mod queueing;
mod recovering;
mod refs;
mod rejecting;
mod rejecting_apps;
mod rejecting_builds;
mod rejecting_trees;
mod rejecting_when_full;
mod releasing;
mod remote_less;
mod rescuing;
mod router_process;
mod running;
mod sandboxing;
mod scaling;
mod serving;
mod shapes;
mod shapes_database;
mod shapes_service;
mod smuggling;
mod storing;
mod supervising;
mod support;
mod tasking;
mod tidy;
mod travelling;
mod travelling_at_once;
mod undoing_data;
mod uptime;
mod verbs;
