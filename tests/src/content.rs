//! Bytes that can be checked long after they were written, and seeds that a failure prints.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

/// The bytes that belong to `seed`.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// A generator whose seed is `SEED` of the environment, or new; a failure shows it.
pub fn rng() -> StdRng {
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("SEED={seed} gives this run again");
    StdRng::seed_from_u64(seed)
}

/// A number of the environment, or `default`.
pub fn number(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        Err(_) => default,
    }
}

/// Rounds of a test that repeats itself: as many as `ROUNDS` of the environment says, or `default`,
/// and more until `MINUTES` have passed.
pub fn rounds(default: usize) -> impl Iterator<Item = usize> {
    let least = number("ROUNDS", default);
    let minutes = Duration::from_secs(60 * number("MINUTES", 0) as u64);
    let start = Instant::now();
    (0..).take_while(move |round| *round < least || start.elapsed() < minutes)
}
