//! What is taken up that no container's facts would bring back: durable before anybody is told so, and never more than an
//! entry can hold.

use super::{Ask, tend, ward::entry};
use crate::context::Context;
use sexton_common::{
    durable,
    gc::Entry,
    wire::{ApiError, ErrorCode},
};
use std::sync::Arc;

/// Takes up what is to be cleaned, or adds to what is, once it is durable. Only for who holds [`super::Gc::adding`].
///
/// # Errors
/// If it is too much for one entry, or cannot be written.
pub async fn tend_durably(cx: &Arc<Context>, ask: Ask) -> Result<(), ApiError> {
    let run = ask.estate.run();
    if let Some(ward) = cx.gc.of_run(&run) {
        let mut grown = ward.lock().entry.clone();
        grown.estate.absorb(ask.estate.clone());
        fits(&grown)?;
        drop(tend(cx, ask));
        // Another one, if the first has just become clean.
        let Some(ward) = cx.gc.of_run(&run) else { return Ok(()) };
        return cx.gc.persist(cx, &ward).await.map_err(|e| ApiError::new(ErrorCode::Internal, e));
    }
    let entry = entry(ask.estate.clone(), ask.origin);
    fits(&entry)?;
    let gc = cx.clone();
    let name = format!("note what is to be cleaned of {}", run.0);
    let (written, entry) = cx.tools.blocking.run(name, move || (gc.gc.entries.write(&entry), entry)).await;
    let failed = |e| format!("write the entry in {}: {e}", cx.layout.gc().display());
    written.map_err(|e| ApiError::new(ErrorCode::Internal, failed(e)))?;
    cx.gc.pending().insert(run, entry);
    drop(tend(cx, ask));
    Ok(())
}

/// What may be put into one entry: what is learned while it is cleaned has to have room in its file too.
pub const MOST: usize = 40 * 1024;

fn fits(entry: &Entry) -> Result<(), ApiError> {
    if durable::encode(entry).is_ok_and(|bytes| bytes.len() <= MOST) {
        return Ok(());
    }
    let id = &entry.estate.id;
    let text = format!(
        "what is to be cleaned of {id} is more than one entry can hold ({MOST} bytes): register a directory that has it \
         all, or add the rest when `sexton gc ls` shows {id} no more"
    );
    Err(ApiError::new(ErrorCode::Invalid, text))
}
