//! Exit codes: 0 done, 1 failed, 2 usage, 3 refused by a safety rule, 4 not found.

use domain::Refusal;
use registry::AudienceError;
use scheduler::DeskError;
use std::process::ExitCode;
use store::StoreError;

const FAILED: u8 = 1;
const REFUSED: u8 = 3;
const NOT_FOUND: u8 = 4;

/// The safety rule that refused, where one did: with its name and the way on.
pub(crate) fn refusal_of(error: &anyhow::Error) -> Option<Refusal> {
    error.chain().find_map(|cause| {
        match (cause.downcast_ref::<DeskError>(), cause.downcast_ref::<StoreError>()) {
            (Some(desk), _) => desk.refusal(),
            (None, Some(StoreError::BroadcastStep(step))) => {
                DeskError::Store(StoreError::BroadcastStep(step.clone())).refusal()
            }
            (None, _) => cause.downcast_ref::<Refusal>().cloned(),
        }
    })
}

/// The code for what went wrong.
pub(crate) fn code_of(error: &anyhow::Error) -> ExitCode {
    let code = error
        .chain()
        .find_map(|cause| {
            if let Some(desk) = cause.downcast_ref::<DeskError>() {
                if desk.refusal().is_some() {
                    return Some(REFUSED);
                }
                if let DeskError::Store(store) = desk {
                    return store_code(store);
                }
            }
            if let Some(AudienceError::Store(store)) = cause.downcast_ref::<AudienceError>() {
                return store_code(store);
            }
            if cause.downcast_ref::<Refusal>().is_some() {
                return Some(REFUSED);
            }
            cause.downcast_ref::<StoreError>().and_then(store_code)
        })
        .unwrap_or(FAILED);
    ExitCode::from(code)
}

fn store_code(error: &StoreError) -> Option<u8> {
    match error {
        StoreError::Refused(_) | StoreError::BroadcastStep(_) => Some(REFUSED),
        StoreError::NotFound { .. } => Some(NOT_FOUND),
        StoreError::Open { .. }
        | StoreError::Query { .. }
        | StoreError::Corrupt { .. }
        | StoreError::LedgerStep(_)
        | StoreError::Exists { .. } => None,
    }
}
