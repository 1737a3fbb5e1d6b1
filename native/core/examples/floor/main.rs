//! The floor: what the core does without Python, row by row, as `make bench` prints it beside each figure.
//!
//! `floor connect RUNS`, `floor gossip NODES MESSAGES RATE`, `floor codec COUNT`; `floor serve`, which prints its
//! address first, with `floor direct ADDRESS MESSAGES WINDOW` or `floor chunks ADDRESS COUNT` in another process.
//! Each prints one line of JSON. Topology, limits and signing are those of the service: envelopes are sealed and
//! opened, streams are framed, gossip is judged.

mod codec;
mod direct;
mod gossip;
mod owner;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<usize>().unwrap_or(0);
    let line = match words.as_slice() {
        ["connect", runs] => direct::connect(number(runs)).await,
        ["gossip", nodes, messages, rate] => gossip::gossip(number(nodes), number(messages), number(rate)).await,
        ["codec", count] => codec::codec(number(count)),
        ["serve"] => direct::serve().await,
        ["direct", address, messages, window] => direct::acknowledged(address, number(messages), number(window)).await,
        ["chunks", address, count] => direct::chunks(address, number(count)).await,
        _ => {
            eprintln!("usage: floor connect RUNS | gossip NODES MESSAGES RATE | codec COUNT | serve");
            eprintln!("       floor direct ADDRESS MESSAGES WINDOW | chunks ADDRESS COUNT");
            return ExitCode::from(2);
        }
    };
    println!("{line}");
    ExitCode::SUCCESS
}
