//! Reconciles two sets with negentropy, in one process without a network, and prints what it took as one line of JSON.
//!
//! Standard input has both sets, first the asker's: the number of its items, then for each the time and the id, in
//! 8, 8 and 32 bytes, the least significant first. What is counted is the talk; the records would follow.

use std::error::Error;
use std::io::{BufReader, Read, stdin};
use std::time::Instant;

use negentropy::{Id, Negentropy, NegentropyStorageVector};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut input = BufReader::with_capacity(1 << 20, stdin().lock());
    let asker = read_set(&mut input)?;
    let answerer = read_set(&mut input)?;
    let began = Instant::now();
    let mut asking = Negentropy::borrowed(&asker, 0)?;
    let mut answering = Negentropy::borrowed(&answerer, 0)?;
    let (mut surplus, mut lacking) = (Vec::new(), Vec::new());
    let (mut questions, mut bytes) = (0_u64, 0_usize);
    let mut question = Some(asking.initiate()?);
    while let Some(asked) = question {
        let answer = answering.reconcile(&asked)?;
        questions += 1;
        bytes += asked.len() + answer.len();
        question = asking.reconcile_with_ids(&answer, &mut surplus, &mut lacking)?;
    }
    let took_ms = began.elapsed().as_secs_f64() * 1000.0;
    println!(
        "{{\"questions\": {questions}, \"overhead_bytes\": {bytes}, \"took_ms\": {took_ms:.3}, \"rss_mib\": {:.1}, \
         \"lacking\": {}, \"surplus\": {}}}",
        rss_mib(),
        lacking.len(),
        surplus.len()
    );
    Ok(())
}

fn read_set(input: &mut impl Read) -> Outcome<NegentropyStorageVector> {
    let count = read_number(input)?;
    let mut set = NegentropyStorageVector::with_capacity(usize::try_from(count)?);
    let mut id = [0_u8; 32];
    for _ in 0..count {
        let time = read_number(input)?;
        input.read_exact(&mut id)?;
        set.insert(time, Id::from_byte_array(id))?;
    }
    set.seal()?;
    Ok(set)
}

fn read_number(input: &mut impl Read) -> Outcome<u64> {
    let mut bytes = [0_u8; 8];
    input.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Resident memory; zero where the system does not tell it this way.
fn rss_mib() -> f64 {
    let told = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}
