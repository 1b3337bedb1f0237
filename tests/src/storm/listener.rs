//! Subscribers that come back whenever the collector does.

use super::ledger::Ledger;
use rustix::net::Shutdown;
use sexton_common::{
    Layout,
    client::Client,
    wire::{Reply, Request},
};
use std::{
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How a subscriber speaks. Each begins in its own way when it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// JSON, an object a line; asks for a snapshot.
    Json,
    /// Frames of postcard; asks for what came after the last event that it heard.
    Frames,
}

/// Listens in a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Listener {
    /// How it speaks.
    pub language: Language,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    layout: Layout,
    ledger: Mutex<Ledger>,
    socket: Mutex<Option<OwnedFd>>,
    over: AtomicBool,
}

impl Listener {
    /// From now on.
    #[must_use]
    pub fn start(layout: &Layout, language: Language) -> Self {
        let shared = Arc::new(Shared {
            layout: layout.clone(),
            ledger: Mutex::default(),
            socket: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while !own.over.load(Ordering::SeqCst) {
                // Whatever went wrong: the collector was killed, or is not there yet.
                let _ = own.listen(language);
                crate::wait::observe(Duration::from_millis(2));
            }
        });
        Self { language, shared, thread: Some(thread) }
    }

    /// What it knows. It learns nothing while that is held.
    ///
    /// # Panics
    /// If its thread panicked.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger.lock().unwrap()
    }
}

impl Shared {
    fn listen(&self, language: Language) -> io::Result<()> {
        let since = match language {
            Language::Json => None,
            Language::Frames => self.ledger.lock().unwrap().seq,
        };
        let request = Request::Subscribe { since };
        match language {
            Language::Json => {
                let mut stream = UnixStream::connect(self.layout.socket())?;
                self.on(stream.as_fd().try_clone_to_owned()?);
                stream.write_all(format!("{}\n", serde_json::to_string(&request)?).as_bytes())?;
                let mut lines = BufReader::new(stream).lines();
                self.note(|| {
                    serde_json::from_str(&lines.next().ok_or(io::ErrorKind::UnexpectedEof)??).map_err(Into::into)
                })
            }
            Language::Frames => {
                let mut client = Client::connect(&self.layout)?;
                self.on(client.as_fd().try_clone_to_owned()?);
                client.send(&request, &[])?;
                self.note(|| client.receive())
            }
        }
    }

    fn on(&self, socket: OwnedFd) {
        self.ledger.lock().unwrap().connections += 1;
        *self.socket.lock().unwrap() = Some(socket);
    }

    fn note(&self, mut next: impl FnMut() -> io::Result<Reply>) -> io::Result<()> {
        while !self.over.load(Ordering::SeqCst) {
            let reply = next()?;
            self.ledger.lock().unwrap().note(reply);
        }
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(socket) = self.shared.socket.lock().ok().and_then(|mut socket| socket.take()) {
            let _ = rustix::net::shutdown(&socket, Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
