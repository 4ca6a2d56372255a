//! Numbers that look random, and are the same again from the same seed.

/// xorshift64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// From `STOWD_SOAK_SEED`, or another seed in each run. It is printed.
    pub(crate) fn seeded() -> Self {
        let seed = match std::env::var("STOWD_SOAK_SEED") {
            Ok(text) => text.parse().expect("STOWD_SOAK_SEED: a number"),
            Err(_) => std::time::UNIX_EPOCH.elapsed().expect("a clock").as_nanos() as u64,
        };
        println!("STOWD_SOAK_SEED={seed}");
        // Seeds of moments close to each other are to have little in common.
        Self((seed | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
