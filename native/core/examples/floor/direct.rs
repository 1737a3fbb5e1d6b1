//! Connecting, and streams between two processes: acknowledged messages and one-way chunks.

use std::time::Instant;

use covm_core::{
    addresses, envelope,
    event::{Event, Outcome},
    streams::StreamId,
};

use crate::owner::{DIRECT, KIND, Owner, cpu, percentile, rss_mib};

const PAYLOAD_BYTES: usize = 200;
const CHUNK_BYTES: usize = 64 * 1024;

/// From dialling until both sides are admitted, in one process.
pub async fn connect(runs: usize) -> String {
    let mut times = Vec::new();
    for _ in 0..runs {
        let (mut a, mut b) = (Owner::new(), Owner::new());
        let address = a.listen().await;
        let (pa, pb) = (a.peer(), b.peer());
        let began = Instant::now();
        let id = b.node.dial(Some(pa), vec![address]).expect("the node runs");
        tokio::join!(a.admitted(pb), async {
            b.result(id).await;
            b.admitted(pa).await;
        });
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    format!(r#"{{"p50_ms":{:.3},"p99_ms":{:.3}}}"#, percentile(&times, 0.5), percentile(&times, 0.99))
}

/// Prints an address, verifies what comes and says how many it has, until nobody is connected any more.
pub async fn serve() -> String {
    let mut owner = Owner::new();
    let address = owner.listen().await;
    println!("{address}/p2p/{}", owner.peer());
    let mut count: u64 = 0;
    let mut spent = cpu();
    loop {
        for event in owner.batch().await {
            match event {
                Event::Admitted { .. } => spent = cpu(),
                Event::Frames { stream, frames, .. } => {
                    let bytes: usize = frames.iter().map(Vec::len).sum();
                    for opened in envelope::open_many(KIND, &frames) {
                        opened.expect("an honest sender");
                    }
                    count += frames.len() as u64;
                    owner.node.release(StreamId(stream), bytes);
                    // A reader that has gone wants no acknowledgement.
                    let _ = owner.node.send(StreamId(stream), &[count.to_be_bytes()]);
                }
                Event::Closed { .. } => {
                    let spent = cpu().saturating_sub(spent).as_secs_f64();
                    return format!(r#"{{"received":{count},"cpu_s":{spent:.6},"rss_mib":{:.0}}}"#, rss_mib());
                }
                _ => {}
            }
        }
    }
}

async fn connected(address: &str) -> (Owner, StreamId) {
    let parsed = addresses::parse(address).expect("the address that serve printed");
    let peer = parsed.peer.expect("the address that serve printed");
    let mut owner = Owner::new();
    let id = owner.node.dial(Some(peer), vec![parsed.transport]).expect("the node runs");
    owner.result(id).await;
    owner.admitted(peer).await;
    let id = owner.node.open_stream(peer, DIRECT.into()).expect("the node runs");
    match owner.result(id).await {
        Outcome::Stream(stream) => (owner, StreamId(stream)),
        other => panic!("{other:?}"),
    }
}

/// How many frames the other side says it has, if this event says so.
fn acknowledged_count(event: &Event) -> Option<u64> {
    match event {
        Event::Frames { frames, .. } => {
            let last = frames.last()?;
            Some(u64::from_be_bytes(last.as_slice().try_into().ok()?))
        }
        _ => None,
    }
}

/// Signed messages with at most `window` unacknowledged.
pub async fn acknowledged(address: &str, messages: usize, window: usize) -> String {
    let (mut owner, stream) = connected(address).await;
    let (mut sent, mut stored) = (0_u64, 0_u64);
    let (messages, window) = (messages as u64, window as u64);
    let mut latencies = Vec::new();
    let (began, spent) = (Instant::now(), cpu());
    while stored < messages {
        let room = (stored + window).min(messages) - sent;
        let bodies = vec![vec![7_u8; PAYLOAD_BYTES]; usize::try_from(room).unwrap_or(0)];
        let at = Instant::now();
        if room > 0 {
            let sealed = envelope::seal_many(&owner.keypair, KIND, &bodies);
            if owner.node.send(stream, &sealed).expect("the stream lives") {
                sent += room;
            }
        }
        let latest = owner.wait(acknowledged_count).await;
        stored = stored.max(latest);
        latencies.push(at.elapsed().as_secs_f64() * 1000.0);
    }
    let elapsed = began.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    let rate = messages as f64 / elapsed;
    format!(
        r#"{{"per_s":{rate:.0},"p50_ms":{:.3},"p99_ms":{:.3},"cpu_s":{:.6},"rss_mib":{:.0}}}"#,
        percentile(&latencies, 0.5),
        percentile(&latencies, 0.99),
        cpu().saturating_sub(spent).as_secs_f64(),
        rss_mib()
    )
}

/// Signed chunks of 64 KiB one way, until the last is acknowledged.
pub async fn chunks(address: &str, count: usize) -> String {
    let (mut owner, stream) = connected(address).await;
    let chunk = vec![7_u8; CHUNK_BYTES];
    let (began, spent) = (Instant::now(), cpu());
    for _ in 0..count {
        let sealed = envelope::seal(&owner.keypair, KIND, &chunk);
        while !owner.node.send(stream, std::slice::from_ref(&sealed)).expect("the stream lives") {
            owner.wait(|event| matches!(event, Event::Writable { .. }).then_some(())).await;
        }
    }
    loop {
        let stored = owner.wait(acknowledged_count).await;
        if stored >= count as u64 {
            break;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    let rate = (count * CHUNK_BYTES) as f64 / began.elapsed().as_secs_f64() / 1e6;
    let spent = cpu().saturating_sub(spent).as_secs_f64();
    format!(r#"{{"mb_per_s":{rate:.0},"cpu_s":{spent:.6},"rss_mib":{:.0}}}"#, rss_mib())
}
