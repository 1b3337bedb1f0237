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

/// Takes up what is to be cleaned, or adds to what is, once it is durable.
///
/// # Errors
/// If it is too much for one entry, or cannot be written; nothing of it is cleaned then.
pub async fn tend_durably(cx: &Arc<Context>, ask: Ask) -> Result<(), ApiError> {
    let run = (ask.estate.id.clone(), ask.estate.generation);
    if let Some(ward) = cx.gc.of_run(&run) {
        let _disk = ward.disk.lock().await;
        // It may have become clean meanwhile.
        if cx.gc.of_run(&run).is_some() {
            let mut entry = ward.lock().entry.clone();
            entry.estate.absorb(ask.estate.clone());
            write(cx, entry).await?;
            ward.lock().durable = true;
            drop(tend(cx, ask));
            return Ok(());
        }
    }
    let entry = write(cx, entry(ask.estate.clone(), ask.origin)).await?;
    cx.gc.pending().insert(run, entry);
    drop(tend(cx, ask));
    Ok(())
}

/// What may be put into one entry: what is learned while it is cleaned has to have room in its file too.
pub const MOST: usize = 40 * 1024;

async fn write(cx: &Arc<Context>, entry: Entry) -> Result<Entry, ApiError> {
    let id = entry.estate.id.clone();
    if durable::encode(&entry).map_or(true, |bytes| bytes.len() > MOST) {
        let text = format!(
            "what is to be cleaned of {id} is more than one entry can hold ({MOST} bytes): register a directory that has it \
             all, or add the rest when `sexton gc ls` shows {id} no more"
        );
        return Err(ApiError::new(ErrorCode::Invalid, text));
    }
    let gc = cx.clone();
    let name = format!("note what is to be cleaned of {id}");
    let (written, entry) = cx.tools.blocking.run(name, move || (gc.gc.entries.write(&entry), entry)).await;
    let failed = |e| format!("write the entry in {}: {e}", cx.layout.gc().display());
    written.map_err(|e| ApiError::new(ErrorCode::Internal, failed(e)))?;
    Ok(entry)
}
