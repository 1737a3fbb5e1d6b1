//! Gossip among n nodes of one process, node i wired to i-1, i/2 and 0, published round robin at a steady rate.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use covm_core::{
    envelope,
    event::{Event, Outcome},
    node::Verdict,
};
use tokio::sync::{Notify, mpsc};

use crate::owner::{KIND, Owner, TOPIC, cpu, percentile, rss_mib};

const PAYLOAD_BYTES: usize = 200;

struct Tally {
    expected: usize,
    delivered: AtomicUsize,
    latencies_ms: Mutex<Vec<f64>>,
    complete: Notify,
    began: Instant,
}

pub async fn gossip(nodes: usize, messages: usize, rate: usize) -> String {
    let mut owners = wired(nodes).await;
    let tally = Arc::new(Tally {
        expected: messages * (nodes - 1),
        delivered: AtomicUsize::new(0),
        latencies_ms: Mutex::default(),
        complete: Notify::new(),
        began: Instant::now(),
    });
    let mut publishers = Vec::new();
    for owner in owners.drain(..) {
        let (publish, wanted) = mpsc::unbounded_channel();
        publishers.push(publish);
        tokio::spawn(drive(owner, wanted, Arc::clone(&tally)));
    }
    // Meshes form in the first second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (spent, began) = (cpu(), Instant::now());
    for number in 0..messages {
        #[expect(clippy::cast_precision_loss, reason = "a schedule")]
        let due = Duration::from_secs_f64(number as f64 / rate as f64);
        let early = due.saturating_sub(began.elapsed());
        if early > Duration::from_millis(1) {
            tokio::time::sleep(early).await;
        }
        let _ = publishers[number % nodes].send(());
    }
    let _ = tokio::time::timeout(Duration::from_secs(20), tally.complete.notified()).await;
    let spent = cpu().saturating_sub(spent);
    report(nodes, &tally, spent)
}

fn report(nodes: usize, tally: &Tally, spent: Duration) -> String {
    let mut latencies = std::mem::take(&mut *tally.latencies_ms.lock().expect("no panics"));
    latencies.sort_by(f64::total_cmp);
    let delivered = tally.delivered.load(Ordering::SeqCst);
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    let each = spent.as_secs_f64() * 1000.0 / delivered.max(1) as f64;
    format!(
        r#"{{"nodes":{nodes},"expected":{},"delivered":{delivered},"p50_ms":{:.3},"p99_ms":{:.3},"cpu_ms":{each:.4},"rss_mib":{:.0}}}"#,
        tally.expected,
        percentile(&latencies, 0.5),
        percentile(&latencies, 0.99),
        rss_mib(),
    )
}

async fn wired(nodes: usize) -> Vec<Owner> {
    let mut owners: Vec<Owner> = (0..nodes).map(|_| Owner::new()).collect();
    let mut addresses = Vec::new();
    for owner in &mut owners {
        addresses.push(owner.listen().await);
        let id = owner.node.subscribe(TOPIC.into()).expect("the node runs");
        owner.result(id).await;
    }
    for i in 1..nodes {
        for j in BTreeSet::from([i - 1, i / 2, 0]) {
            if j == i {
                continue;
            }
            let (peer, address) = (owners[j].peer(), addresses[j].clone());
            let (left, right) = owners.split_at_mut(i);
            let (near, far) = (&mut right[0], &mut left[j]);
            let id = near.node.dial(Some(peer), vec![address]).expect("the node runs");
            let own = near.peer();
            tokio::join!(
                async {
                    assert!(matches!(near.result(id).await, Outcome::Peer(_)));
                    near.admitted(peer).await;
                },
                far.admitted(own),
            );
        }
    }
    owners
}

async fn drive(mut owner: Owner, mut wanted: mpsc::UnboundedReceiver<()>, tally: Arc<Tally>) {
    loop {
        tokio::select! {
            one = wanted.recv() => {
                if one.is_none() { return }
                let mut payload = vec![0_u8; PAYLOAD_BYTES];
                let now = u64::try_from(tally.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                payload[..8].copy_from_slice(&now.to_be_bytes());
                let sealed = envelope::seal(&owner.keypair, KIND, &payload);
                owner.node.publish(TOPIC.into(), vec![sealed]).expect("the node runs");
            }
            events = owner.batch() => receive(&owner, events, &tally),
        }
    }
}

fn receive(owner: &Owner, events: Vec<Event>, tally: &Tally) {
    let now = u64::try_from(tally.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut verdicts = Vec::new();
    let mut latencies = Vec::new();
    for event in events {
        if let Event::Gossip(message) = event {
            verdicts.push((message.handle, Verdict::Accept));
            let sent = u64::from_be_bytes(message.body[..8].try_into().expect("eight bytes"));
            #[expect(clippy::cast_precision_loss, reason = "a figure")]
            latencies.push(now.saturating_sub(sent) as f64 / 1e6);
        }
    }
    if verdicts.is_empty() {
        return;
    }
    let count = verdicts.len();
    owner.node.judge(verdicts).expect("the node runs");
    tally.latencies_ms.lock().expect("no panics").extend(latencies);
    if tally.delivered.fetch_add(count, Ordering::SeqCst) + count >= tally.expected {
        tally.complete.notify_one();
    }
}
