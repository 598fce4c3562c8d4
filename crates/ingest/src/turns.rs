//! How many bodies may come fast at the same time.
//!
//! In: the pieces of a response's body. Out: the same. hyper reads ahead as much as a connection gives,
//! up to some 400 KiB, and twice that is on its way to whoever reads: on 64 connections of a fast network
//! that is more than everything else here needs. It starts with a few KiB and doubles while reads are
//! full, and reqwest has no word to bound it. So a body whose pieces grow takes one of a few turns and keeps
//! it until it ends or the server falters; one that comes slowly, and one that comes through TLS, whose
//! pieces are 16 KiB, never needs one. Deliberately absent: a promise. A body that gets no turn in time
//! comes without one: its server must not be kept waiting, and nothing here may wait for ever.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// How many bodies may come fast at once.
const FAST: usize = 8;

/// A larger piece is of a body that comes fast.
const LARGE_PIECE: usize = 16 << 10;

/// A server that sends nothing for so long loses its turn.
const FALTERS: Duration = Duration::from_millis(100);

/// The turns of everything that is received.
#[derive(Debug)]
pub(crate) struct Turns {
    turns: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { turns: Semaphore::new(FAST) }
    }
}

impl Turns {
    /// A body that is about to come. reqwest fails a body that is not asked for a piece for the time
    /// `read_timeout`, so a turn is waited for half as long.
    pub(crate) fn coming(&self, read_timeout: Duration) -> Coming<'_> {
        Coming { turns: &self.turns, turn: None, fast: false, patience: read_timeout / 2 }
    }
}

/// A body that comes.
#[derive(Debug)]
pub(crate) struct Coming<'t> {
    turns: &'t Semaphore,
    turn: Option<SemaphorePermit<'t>>,
    fast: bool,
    patience: Duration,
}

impl Coming<'_> {
    /// Whether it came as fast as it could be taken, at least once.
    pub(crate) fn came_fast(&self) -> bool {
        self.fast
    }

    /// The next piece of a body; none when it ended.
    pub(crate) async fn piece(
        &mut self,
        response: &mut reqwest::Response,
    ) -> reqwest::Result<Option<Bytes>> {
        let mut next = std::pin::pin!(response.chunk());
        let mut piece = None;
        if self.turn.is_some() {
            piece = timeout(FALTERS, next.as_mut()).await.ok();
        }
        let piece = if let Some(piece) = piece {
            piece
        } else {
            self.turn = None;
            next.await
        }?;
        let is_large = piece.as_ref().is_some_and(|piece| piece.len() > LARGE_PIECE);
        self.fast |= is_large;
        if is_large && self.turn.is_none() {
            self.turn =
                timeout(self.patience, self.turns.acquire()).await.ok().and_then(Result::ok);
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use daymark_testkit::rest::{Reply, RestServer};

    use super::*;

    async fn body(turns: &Turns, server: &RestServer) -> (usize, bool) {
        let mut response = reqwest::get(server.url("/large")).await.unwrap();
        let mut coming = turns.coming(Duration::from_millis(50));
        let mut length = 0;
        while let Some(piece) = coming.piece(&mut response).await.unwrap() {
            length += piece.len();
        }
        (length, coming.came_fast())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_body_that_gets_no_turn_comes_all_the_same_and_turns_are_given_back() {
        let server = RestServer::start().await;
        server.on("/large", Reply::json("x".repeat(4 << 20)));
        let turns = Turns::default();
        assert_eq!(body(&turns, &server).await, (4 << 20, true));
        assert_eq!(turns.turns.available_permits(), FAST);
        let all = turns.turns.acquire_many(u32::try_from(FAST).unwrap()).await.unwrap();
        assert_eq!(body(&turns, &server).await, (4 << 20, true));
        drop(all);
        let bodies = (0..3 * FAST).map(|_| body(&turns, &server));
        for (length, _) in futures::future::join_all(bodies).await {
            assert_eq!(length, 4 << 20);
        }
        assert_eq!(turns.turns.available_permits(), FAST);
    }
}
