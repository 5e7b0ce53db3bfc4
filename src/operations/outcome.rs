//! The one map from a failure to the outside: exit code of a verb, HTTP status, status word of the record. Pure.

use crate::model::Code;
use crate::store::Status;

/// Exit code of `commis VERB` and `ssh commis@host VERB`; sysexits but for 3 and 4, which are ours.
pub fn exit_code(code: Code) -> u8 {
    match code {
        Code::BuildFailed
        | Code::ReleaseFailed
        | Code::Unhealthy
        | Code::Stale
        | Code::Superseded
        | Code::Refused
        | Code::DiskFull
        | Code::VerifyFailed
        | Code::NoRecipe
        | Code::Exists => 1,
        Code::RolledBack => 3,
        Code::RollbackFailed => 4,
        Code::Usage | Code::BadOption => 64,
        Code::BadConfig => 65,
        Code::NotFound => 66,
        Code::Unreachable => 69,
        Code::Internal => 70,
        Code::Busy | Code::NeedsAdmin => 75,
        Code::Denied => 77,
        Code::ServerConfig => 78,
        Code::Cancelled => 130,
    }
}

/// HTTP status of the control API.
pub fn http_status(code: Code) -> u16 {
    match code {
        Code::Usage | Code::BadOption | Code::BadConfig => 400,
        Code::Denied => 403,
        Code::NotFound => 404,
        Code::Exists | Code::Busy | Code::NeedsAdmin | Code::Stale | Code::Superseded | Code::Cancelled => 409,
        Code::BuildFailed
        | Code::ReleaseFailed
        | Code::Unhealthy
        | Code::RolledBack
        | Code::Refused
        | Code::VerifyFailed
        | Code::NoRecipe => 422,
        Code::RollbackFailed | Code::Internal | Code::ServerConfig => 500,
        Code::Unreachable => 503,
        Code::DiskFull => 507,
    }
}

/// Whether a failed deployment is the project's own (`failure`) or ours (`error`).
pub fn status(code: Code) -> Status {
    match code {
        Code::Internal | Code::RollbackFailed | Code::ServerConfig | Code::Unreachable => Status::Error,
        Code::BuildFailed
        | Code::ReleaseFailed
        | Code::Unhealthy
        | Code::RolledBack
        | Code::Busy
        | Code::NeedsAdmin
        | Code::Stale
        | Code::Superseded
        | Code::Cancelled
        | Code::Refused
        | Code::DiskFull
        | Code::BadOption
        | Code::VerifyFailed
        | Code::BadConfig
        | Code::NoRecipe
        | Code::NotFound
        | Code::Denied
        | Code::Usage
        | Code::Exists => Status::Failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_looks_like_success() {
        for code in Code::ALL {
            assert_ne!(exit_code(code), 0, "{code:?}");
            assert!(http_status(code) >= 400, "{code:?}");
            assert!(status(code).is_finished());
        }
    }

    #[test]
    fn the_codes_that_scripts_rely_on_stay() {
        let codes = [Code::RolledBack, Code::RollbackFailed, Code::Usage, Code::NotFound, Code::Busy, Code::Denied];
        assert_eq!(codes.map(exit_code), [3, 4, 64, 66, 75, 77]);
    }
}
