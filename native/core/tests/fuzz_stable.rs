//! Every decoder, run on mutated inputs, on stable Rust, the same each time.
//!
//! `HOUSE_FUZZ_RUNS` sets how many executions each target gets (100,000 without it) and `HOUSE_FUZZ_SEED` another
//! sequence. A failure names the target, the execution and the input in hex.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use covm_core::fuzzing::{TARGETS, Target};

/// Executions of each target.
const RUNS: u64 = 100_000;
/// The longest input that mutation makes.
const INPUT_BYTES: usize = 4096;
/// What one execution may hold at once: a decoded tree takes up to some 200 bytes for each byte of input.
const HELD_BYTES: usize = 64 * 1024 + 256 * INPUT_BYTES;
/// What a whole run may leave behind: the lazily made tables of libraries.
const KEPT_BYTES: isize = 64 * 1024;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Counts what each thread holds, so that a test sees its own memory alone.
struct Counting;

fn count(bytes: isize) {
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the promises of `GlobalAlloc`, which are passed on as they are.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the promises of `GlobalAlloc`, which are passed on as they are.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller keeps the promises of `GlobalAlloc`, which are passed on as they are.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// SplitMix64 (Steele, Lea and Flood 2014): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Bytes that begin or end things in the formats at hand.
const TELLING: &[&[u8]] = &[
    &[0x00],
    &[0xff],
    &[0x7f],
    &[0x80],
    &[0x1f],
    &[0x18],
    &[0x5f],
    &[0x7f, 0x61],
    &[0x9f],
    &[0xbf],
    &[0xf6],
    &[0xf7],
    &[0xfb],
    &[0xd8, 0x2a],
    &[0x9a, 0xff, 0xff, 0xff, 0xff],
    &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x81, 0x81, 0x81, 0x81],
    &[0xa1, 0x61],
    &[0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x0a, 0x24],
    &[0x12, 0x20],
    b"\n",
    b"seed ",
];

fn mutate(input: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = at + random.below((input.len() - at).min(32) + 1);
    match random.below(8) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.next() as u8,
        2 if at < input.len() => input[at] = input[at].wrapping_add(1).wrapping_sub(2 * random.below(2) as u8),
        3 => drop(input.drain(at..end)),
        4 => drop(input.splice(at..end, TELLING[random.below(TELLING.len())].iter().copied())),
        5 => {
            let copy = input[at..end].to_vec();
            drop(input.splice(at..at, copy));
        }
        6 => {
            let from = random.below(other.len() + 1);
            let to = from + random.below((other.len() - from).min(64) + 1);
            drop(input.splice(at..end, other[from..to].iter().copied()));
        }
        _ => input.truncate(at),
    }
    input.truncate(INPUT_BYTES);
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")),
        Err(_) => default,
    }
}

fn execute(target: &Target, run: u64, input: &[u8]) -> bool {
    PEAK.set(LIVE.get());
    let before = LIVE.get();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let held = (PEAK.get() - before) as usize;
    let hex = || input.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let accepted = outcome.unwrap_or_else(|_| panic!("{} broke a property in run {run} on {}", target.name, hex()));
    assert!(held <= HELD_BYTES, "{} held {held} bytes in run {run} on {}", target.name, hex());
    accepted
}

fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    let runs = number("HOUSE_FUZZ_RUNS", RUNS);
    let mut random = Random(number("HOUSE_FUZZ_SEED", 1));
    let corpus = (target.corpus)();
    for input in &corpus {
        assert!(execute(target, 0, input), "{name}: an input of the corpus is refused");
    }
    let mut input = Vec::with_capacity(2 * INPUT_BYTES);
    let (mut accepted, before) = (0u64, LIVE.get());
    for run in 1..=runs {
        input.clear();
        input.extend_from_slice(&corpus[random.below(corpus.len())]);
        let other = &corpus[random.below(corpus.len())];
        for _ in 0..=random.below(4) {
            mutate(&mut input, other, &mut random);
        }
        accepted += u64::from(execute(target, run, &input));
    }
    let kept = LIVE.get() - before;
    assert!(kept <= KEPT_BYTES, "{name} kept {kept} bytes after {runs} runs");
    println!("{name}: {runs} runs, {accepted} accepted");
}

macro_rules! tests {
    ( $( $target:ident => $test:ident ),+ $(,)? ) => {
        $( #[test] fn $test() { fuzz(stringify!($target)); } )+

        #[test]
        fn every_target_is_fuzzed() {
            let fuzzed: Vec<&str> = vec![ $( stringify!($target) ),+ ];
            let all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(fuzzed, all, "list each target of `fuzzing::TARGETS` in this file, in the same order");
        }
    };
}

tests! {
    dagcbor => no_bytes_break_the_dagcbor_decoder,
    envelope => no_bytes_break_the_envelope_decoder,
    records => no_bytes_break_the_split_of_records,
    keyfile => no_bytes_break_the_key_file_parser,
    frames => no_bytes_break_the_frame_reader,
    join => no_bytes_break_the_join_frames,
    address => no_bytes_break_the_address_parser,
}
