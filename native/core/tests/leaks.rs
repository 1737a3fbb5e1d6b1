//! Nodes that come and go leave nothing behind. Alone in its process, so that it counts only its own.

#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "this binary needs only a part of it")]
mod owner;

use std::time::Duration;

use owner::Owner;
use tokio::time::timeout;

/// Open descriptors and threads of this process.
fn held() -> (usize, usize) {
    let count = |path| std::fs::read_dir(path).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

async fn run_through(count: u32, stop: bool) {
    for _ in 0..count {
        let mut a = Owner::with(1, |config| config.kademlia = Some("/covm/kad/test".into()));
        a.listen("/ip4/127.0.0.1/tcp/0").await;
        if stop {
            a.stop().await;
        }
    }
}

/// Waits until no more is held than at first: dropped nodes end by themselves, a moment later.
async fn settles((descriptors, threads): (usize, usize)) {
    timeout(Duration::from_secs(30), async {
        while held().0 > descriptors || held().1 > threads {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{:?} held, {descriptors} and {threads} before", held()));
}

#[tokio::test]
async fn a_thousand_nodes_leave_as_much_as_ten_did() {
    // The runtime's own threads and descriptors come with the first node.
    run_through(1, true).await;
    let nothing = held();
    for stop in [true, false] {
        run_through(10, stop).await;
        settles(nothing).await;
        run_through(1000, stop).await;
        settles(nothing).await;
    }
}
