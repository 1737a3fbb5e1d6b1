//! Some nodes that one test drives together.

use std::{
    future::Future,
    ops::{Index, IndexMut},
    pin::pin,
    time::Duration,
};

use futures::{
    StreamExt,
    future::{Either, select, select_all},
};
use libp2p::PeerId;

use super::Node;

/// How long a test waits for what must happen; nothing waits for this to pass.
const PATIENCE: Duration = Duration::from_secs(20);

/// Some nodes, and the test that drives them.
pub struct World(pub Vec<Node>);

impl Index<usize> for World {
    type Output = Node;
    fn index(&self, index: usize) -> &Node {
        &self.0[index]
    }
}

impl IndexMut<usize> for World {
    fn index_mut(&mut self, index: usize) -> &mut Node {
        &mut self.0[index]
    }
}

impl World {
    pub async fn of(count: usize) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(Node::start().await);
        }
        Self(nodes)
    }

    pub async fn admitting_all(count: usize) -> Self {
        let mut world = Self::of(count).await;
        world.0.iter_mut().for_each(|node| node.admits_all = true);
        world
    }

    pub fn dial(&mut self, from: usize, to: usize) {
        let (peer, address) = (self[to].id(), self[to].address.clone());
        self[from].dial(peer, &address);
    }

    /// Lets one event happen.
    pub async fn step(&mut self) {
        let next = self.0.iter_mut().map(|node| Box::pin(node.swarm.select_next_some()));
        let (event, index, _) = select_all(next).await;
        self[index].see(event);
    }

    /// Drives everything until a condition holds.
    pub async fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let driven = async {
            while !condition(self) {
                self.step().await;
            }
        };
        tokio::time::timeout(PATIENCE, driven).await.unwrap_or_else(|_| panic!("never happened: {what}"));
    }

    /// Drives everything while something else goes on.
    pub async fn during<T>(&mut self, what: &str, other: impl Future<Output = T>) -> T {
        let driven = async {
            let mut other = pin!(other);
            loop {
                match select(other, pin!(self.step())).await {
                    Either::Left((result, _)) => return result,
                    Either::Right(((), rest)) => other = rest,
                }
            }
        };
        tokio::time::timeout(PATIENCE, driven).await.unwrap_or_else(|_| panic!("never finished: {what}"))
    }

    /// Drives two nodes that are connected until each has heard the other's HELLO.
    pub async fn until_greeted(&mut self, a: usize, b: usize) {
        let (pa, pb) = (self[a].id(), self[b].id());
        self.until("HELLO and identify from both", |w| {
            let heard = |node: &Node, peer: PeerId| {
                let mut connections = node.seen.connections.iter().filter(|(_, c)| c.0 == peer).peekable();
                node.seen.identified.contains_key(&peer)
                    && connections.peek().is_some()
                    && connections.all(|(id, _)| node.seen.hello.contains_key(id))
            };
            heard(&w[a], pb) && heard(&w[b], pa)
        })
        .await;
    }
}
