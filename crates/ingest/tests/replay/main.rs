//! Every recorded response of `../shared/fixtures` through a fetch: a local server replays them, and what
//! became of each is compared with `outcomes.txt`.
//!
//! The sources are files as people write them (`sources/`, and those of the reference pipeline); only the
//! host in their address is changed to the server's, and a failed request is tried again at once. A line
//! of the table says which responses are asked for by which source, how they are served, and what comes of
//! it: accepted or refused, the kind, what follows, how many requests were made, how many rows there were.
//! Rows are counted a second time by `counted.rs`. What FORMATS.md only quotes is in `literals.rs`.
//!
//! When a line differs, the table as it is now is written below the target folder, ready to be looked
//! through and copied.

// The attribute, always true here, says to clippy that helpers may unwrap.
#[cfg(test)]
mod counted;
#[cfg(test)]
mod literals;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod served;
#[cfg(test)]
mod table;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use futures::{StreamExt, stream};
    use tokio::runtime::Handle;

    use crate::table::{FIXTURES, Line};
    use crate::{literals, replay, table};

    /// Files that are no responses, each with the reason.
    const NOT_REPLAYED: [(&str, &str); 1] = [("INDEX.md", "says where the others come from")];

    /// How many parts of the table are worked on at once.
    const AT_ONCE: usize = 6;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    #[cfg_attr(
        not(has_shared),
        ignore = "../shared is absent: recorded responses are not in the repository"
    )]
    async fn what_became_of_every_recorded_response_is_what_the_table_says() {
        let lines = table::lines();
        let parts: Vec<Line> = lines.iter().flat_map(Line::parts).collect();
        let found: Vec<_> = stream::iter(parts)
            .map(|part| {
                let number = part.number;
                // The future of a fetch of entities cannot be sent to another thread.
                let here = Handle::current();
                let work = move || here.block_on(replay::of(&part));
                async move { (number, tokio::task::spawn_blocking(work).await.unwrap()) }
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        table::compare(&lines, found);
    }

    #[test]
    #[cfg_attr(
        not(has_shared),
        ignore = "../shared is absent: recorded responses are not in the repository"
    )]
    fn every_recorded_response_is_in_the_table() {
        let replayed: BTreeSet<String> = table::lines()
            .iter()
            .flat_map(|line| {
                let files = line.files();
                assert!(!files.is_empty(), "line {}: no file is `{}`", line.number, line.responses);
                files.into_iter().flatten()
            })
            .map(|file| file.split('#').next().unwrap().to_owned())
            .collect();
        let forgotten: Vec<String> = table::fixtures()
            .into_iter()
            .filter(|file| !replayed.contains(file))
            .filter(|file| NOT_REPLAYED.iter().all(|(name, _)| name != file))
            .collect();
        assert!(
            forgotten.is_empty(),
            "{} recorded responses are in no line of outcomes.txt: {forgotten:?}",
            forgotten.len()
        );
        for (name, reason) in NOT_REPLAYED {
            assert!(Path::new(FIXTURES).join(name).is_file(), "{name}, which {reason}, is gone");
        }
        for name in literals::names() {
            assert!(replayed.contains(&format!("={name}")), "nothing asks for the literal {name}");
        }
    }
}
