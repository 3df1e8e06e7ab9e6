//! Bytes that can be checked long after they were written, and seeds that a failure prints.

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

/// Rounds of a test that repeats itself: `ROUNDS` of the environment, or `default`.
pub fn rounds(default: usize) -> usize {
    match std::env::var("ROUNDS") {
        Ok(rounds) => rounds.parse().expect("ROUNDS is a number"),
        Err(_) => default,
    }
}
