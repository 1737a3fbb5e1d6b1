//! The join protocol, between honest nodes and against peers that send what they like.

mod exchange;
mod limits;
mod talk;

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::{Node, World};

pub const A: usize = 0;
pub const B: usize = 1;
/// Short enough to see it pass.
pub const SOON: Duration = Duration::from_millis(400);
/// Longer than any test.
pub const NEVER: Duration = Duration::from_secs(600);

pub async fn one(deadline: Duration) -> World {
    World(vec![Node::with(|join| join.with_deadline(deadline)).await])
}

pub async fn add_honest(world: &mut World) -> usize {
    let mut node = Node::start().await;
    node.admits_all = true;
    world.0.push(node);
    world.0.len() - 1
}

pub fn only_failure(node: &Node) -> Option<&'static str> {
    assert!(node.seen.failed.len() <= 1);
    node.seen.failed.values().next().copied()
}
